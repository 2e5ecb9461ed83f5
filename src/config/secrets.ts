import type { Findings } from './section.js'
import { parseBoolean } from './section.js'

/** Environment variables by name. */
export type Env = Readonly<Record<string, string | undefined>>

/**
 * Reads a secret file: its text and its permission bits (`stat.mode`).
 * Throws the file system's errors; the operator is told their `code` (ENOENT, EACCES ...).
 */
export type ReadSecretFile = (path: string) => { text: string; mode: number }

/** Prefixes of environment variables; the first one that sets a variable wins. */
const PREFIXES = ['CARPORT_', 'GARAGE_'] as const

/** The value of CARPORT_`name`, else of GARAGE_`name`; an empty value counts as absent. */
export function readEnv(env: Env, name: string): { variable: string; value: string } | undefined {
  for (const prefix of PREFIXES) {
    const value = env[prefix + name]
    if (value !== undefined && value !== '') return { variable: prefix + name, value }
  }
  return undefined
}

/** A secret of the configuration and its possible sources. */
export interface SecretSource {
  /** Its key in the file, and the one of the path of a file that holds it: `key` + "_file". */
  key: string
  /** Its environment variable without prefix. */
  envName: string
  inline: string | null | undefined
  file: string | null | undefined
}

export interface SecretContext {
  env: Env
  readSecretFile: ReadSecretFile
  allowWorldReadable: boolean
}

/**
 * The value of a secret, or null if none is set anywhere. CARPORT_X or CARPORT_X_FILE comes first, then GARAGE_X or
 * GARAGE_X_FILE, then the configuration file's key or key_file. Both at one place are a problem. Values of
 * files lose trailing white space.
 */
export function resolveSecret(
  source: SecretSource,
  context: SecretContext,
  findings: Findings,
): string | null {
  for (const prefix of PREFIXES) {
    const variable = prefix + source.envName
    const inline = context.env[variable] || null
    const file = context.env[`${variable}_FILE`] || null
    if (inline !== null || file !== null) {
      return pick(variable, `${variable}_FILE`, inline, file, context, findings)
    }
  }
  return pick(source.key, `${source.key}_file`, source.inline ?? null, source.file ?? null, context, findings)
}

function pick(
  inlineKey: string,
  fileKey: string,
  inline: string | null,
  file: string | null,
  context: SecretContext,
  findings: Findings,
): string | null {
  if (inline !== null && file !== null) {
    findings.problem(inlineKey, `is set together with ${fileKey}, expected one of the two`)
    return null
  }
  return file === null ? inline : readSecret(fileKey, file, context, findings)
}

function readSecret(key: string, path: string, context: SecretContext, findings: Findings): string | null {
  let content: { text: string; mode: number }
  try {
    content = context.readSecretFile(path)
  } catch (error) {
    const code = (error as { code?: unknown }).code
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code ?? 'unknown error'})`
    findings.problem(key, `names the file ${path}, which ${reason}, expected a readable file`)
    return null
  }
  const mode = content.mode & 0o777
  if ((mode & 0o077) !== 0 && !context.allowWorldReadable) {
    findings.problem(
      key,
      `names the file ${path}, which others may read (mode 0${mode.toString(8)}), expected mode 0600: ` +
        `run "chmod 600 ${path}", or set allow_world_readable_secrets = true`,
    )
    return null
  }
  const text = content.text.trimEnd()
  if (text === '') {
    findings.problem(key, `names the file ${path}, which is empty, expected the secret in it`)
    return null
  }
  return text
}

/** allow_world_readable_secrets: the environment first, then the file's value. */
export function worldReadableAllowed(env: Env, fromFile: boolean | undefined, findings: Findings): boolean {
  const set = readEnv(env, 'ALLOW_WORLD_READABLE_SECRETS')
  if (set === undefined) return fromFile ?? false
  const words: Record<string, boolean> = { true: true, '1': true, false: false, '0': false }
  return (
    findings.attempt(set.variable, (text) => parseBoolean(words[String(text)] ?? text), set.value) ?? false
  )
}

/**
 * The RPC secret as 64 lower-case hexadecimal digits, or undefined after noting its problem.
 * The secret itself is never part of a message.
 */
export function checkRpcSecret(key: string, secret: string | null, findings: Findings): string | undefined {
  const expected = '32 bytes as 64 hexadecimal digits: make one with "openssl rand -hex 32"'
  if (secret === null) {
    findings.problem(
      key,
      `is missing (rpc_secret, rpc_secret_file or CARPORT_RPC_SECRET), expected ${expected}`,
    )
  } else if (!/^[0-9a-f]*$/i.test(secret)) {
    findings.problem(key, `has characters that are no hexadecimal digits, expected ${expected}`)
  } else if (secret.length !== 64) {
    findings.problem(key, `has ${secret.length} digits, expected ${expected}`)
  } else return secret.toLowerCase()
  return undefined
}

/**
 * The master keys of server-side encryption, one a line, newest first, in lower case; problems are noted. The keys
 * themselves are never part of a message.
 */
export function checkMasterKeys(key: string, secret: string, findings: Findings): string[] {
  const expected =
    '32 bytes as 64 hexadecimal digits a line, the newest key first: make one with "openssl rand -hex 32"'
  const lines = secret
    .split('\n')
    .map((line) => line.trim().toLowerCase())
    .filter((line) => line !== '')
  if (lines.length === 0) findings.problem(key, `is empty, expected ${expected}`)
  for (const [i, line] of lines.entries()) {
    if (!/^[0-9a-f]{64}$/.test(line)) {
      findings.problem(key, `has no 64 hexadecimal digits in line ${i + 1}, expected ${expected}`)
    } else if (lines.indexOf(line) < i) {
      findings.problem(
        key,
        `has the same key in lines ${lines.indexOf(line) + 1} and ${i + 1}, expected ${expected}`,
      )
    }
  }
  return lines
}
