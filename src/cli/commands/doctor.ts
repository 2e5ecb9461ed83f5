import { isSick } from '../../api/admin/diagnosis/findings.js'
import type { Finding } from '../../api/admin/types.js'
import { ConfigError, type Settings } from '../../config/config.js'
import { plural } from '../../util/text.js'
import { type AdminClient, CliError, type Output } from '../admin-client.js'
import { printOutput } from '../command-line.js'
import { findTarget, type GlobalFlags, readSettings } from '../config-source.js'
import { printable, shortId } from '../format.js'
import type { CliIo } from '../io.js'

interface Diagnosis {
  findings: readonly Finding[]
  checks: readonly string[]
  /** Whether the server answered; else the findings are what can be seen from outside. */
  serverAnswers: boolean
  nodesAsked: number
  nodesAnswered: number
}

/** What is looked at when no server answers. */
const STOPPED_CHECKS = [
  'configuration',
  'server running',
  'addresses free',
  'database whole',
  'secrets readable by nobody else',
  'disks: space and speed',
]

/**
 * `doctor`: looks for everything that is wrong. Without a running server it looks at what the configuration names.
 * @throws CliError after printing, if something should be put right
 */
export async function runDoctor(io: CliIo, flags: GlobalFlags): Promise<void> {
  // Secrets that others may read are a finding, and must not keep the doctor from looking at the rest.
  const bold: CliIo = { ...io, env: { ...io.env, CARPORT_ALLOW_WORLD_READABLE_SECRETS: 'true' } }
  const diagnosis = await examine(bold, flags)
  const { findings } = diagnosis
  const output: Output = { json: diagnosis, text: diagnosisText(diagnosis) }
  const count = (severity: Finding['severity']) =>
    findings.filter((found) => found.severity === severity).length
  const [errors, warnings] = [count('error'), count('warning')]
  if (errors + warnings > 0) {
    printOutput(io, flags, output)
    throw new CliError(`${plural(errors, 'error')} and ${plural(warnings, 'warning')} were found, see above`)
  }
  printOutput(io, flags, output)
}

async function examine(io: CliIo, flags: GlobalFlags): Promise<Diagnosis> {
  const { diagnoseStopped } = await import('../../api/admin/diagnosis/diagnose.js')
  let admin: AdminClient
  let settings: Settings | undefined
  try {
    settings = localSettings(io, flags)
    admin = await io.connect(findTarget(io, flags))
  } catch (error) {
    if (error instanceof ConfigError) return ofStopped(configFindings(error))
    if (!(error instanceof CliError) || settings === undefined) throw error
    return ofStopped(diagnoseStopped(await io.lookAtStopped(settings, io.env, error.message)))
  }
  try {
    return { serverAnswers: true, ...(await admin.call('cluster.diagnose', {})) }
  } finally {
    await admin.close()
  }
}

/** The settings of the node on this machine; undefined if the command names another node. */
function localSettings(io: CliIo, flags: GlobalFlags): Settings | undefined {
  return flags.rpcHost === undefined ? readSettings(io, flags) : undefined
}

function configFindings({ source, problems }: ConfigError): Finding[] {
  return problems.map(({ key, message }) => ({
    severity: 'error',
    check: 'configuration-wrong',
    node: null,
    message: `${source}: ${key === '' ? message : `${key} ${message}`}`,
    help: 'correct it: docs/configuration.md has all keys',
  }))
}

function ofStopped(findings: readonly Finding[]): Diagnosis {
  return { findings, checks: STOPPED_CHECKS, serverAnswers: false, nodesAsked: 1, nodesAnswered: 0 }
}

/** The findings as text, each with what helps. */
export function diagnosisText({
  findings,
  checks,
  serverAnswers,
  nodesAsked,
  nodesAnswered,
}: Diagnosis): string {
  const paragraphs = findings.map(({ severity, check, node, message, help }) => {
    const about = node === null ? '' : `  node ${shortId(node)}`
    return [
      `${severity.toUpperCase()}  ${check}${about}`,
      `  ${printable(message)}`,
      `  What helps: ${printable(help)}`,
      '',
    ].join('\n')
  })
  const looked = serverAnswers ? `${nodesAnswered} of ${nodesAsked} nodes answered` : 'no server answered'
  const verdict = isSick(findings) ? '' : 'Nothing is wrong. '
  return [...paragraphs, `${verdict}Looked at: ${checks.join('; ')} (${looked}).`].join('\n')
}
