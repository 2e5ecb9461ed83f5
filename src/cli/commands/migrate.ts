import { StoreError } from '../../api/client/s3-client.js'
import { JOURNAL_TREES, Journal } from '../../migrate/journal.js'
import type { MigrationOptions, OtherStore } from '../../migrate/options.js'
import { Report } from '../../migrate/report.js'
import { type Phase, runMigration } from '../../migrate/run.js'
import { CarportError } from '../../util/errors.js'
import { type AdminClient, CliError, type Output, UsageError } from '../admin-client.js'
import { formatSize } from '../format.js'
import type { CliIo } from '../io.js'
import { timeText } from '../progress/lines.js'
import { Meter } from '../progress/meter.js'
import { secretOf } from '../secret-of.js'

/** The flags of `migrate` and `export`. */
export interface MigrateFlags {
  bucket: string[]
  region: string
  admin?: string
  endpoint?: string
  jsonApi?: string
  minio?: true
  k2v?: string
  k2vEndpoint?: string
  relaxed?: true
  journal: string
  parallel: number
  dryRun?: true
  verify?: true
  delete?: true
}

/** Time between two drawings of the progress, and between two lines of it where there is no terminal, in ms. */
const DRAW_MS = 1000
const LINE_MS = 30_000
const PARALLEL_MAX = 256
const WORDS: Record<Phase, string> = { look: 'looking', copy: 'copying', verify: 'comparing' }

/** This cluster's endpoints, as the configuration of a node on this machine says. */
type LocalEndpoints = Readonly<Record<'s3' | 'k2v', string | undefined>>

/** `migrate` (in) and `export` (out). */
export async function migrate(
  admin: AdminClient,
  io: CliIo,
  direction: 'in' | 'out',
  place: string,
  flags: MigrateFlags,
  local: LocalEndpoints,
): Promise<Output> {
  const options = await readOptions(admin, io, direction, place, flags, local)
  const world = await io.migrationWorld()
  const db = await world.openStore(flags.journal, JOURNAL_TREES)
  const journal = new Journal(db)
  const report = new Report()
  const progress = new Progress(io, report)
  try {
    checkPair(journal, options.pair, flags.journal)
    await progress.during(
      runMigration(world, admin, journal, options, report, (phase) => progress.begin(phase)),
    )
  } catch (error) {
    if (error instanceof StoreError) throw new CliError(error.message, outputOf(report, options))
    const { code, message } = error as { code?: unknown; message: string }
    if (error instanceof CliError || error instanceof CarportError || typeof code !== 'string') throw error
    // The system's: no connection, no such name, no room in a folder.
    const hint = /CERT/.test(code) ? '; NODE_EXTRA_CA_CERTS names a file of certificates to be trusted' : ''
    throw new CliError(`cannot go on: ${message}${hint}`, outputOf(report, options))
  } finally {
    await journal.close()
  }
  const output = outputOf(report, options)
  if (report.failed.count > 0)
    throw new CliError(`${report.failed.count} were not copied: they are named above; run it again`, output)
  if (report.differences.count > 0)
    throw new CliError(`${report.differences.count} differences: they are named above`, output)
  return output
}

async function readOptions(
  admin: AdminClient,
  io: CliIo,
  direction: 'in' | 'out',
  place: string,
  flags: MigrateFlags,
  local: LocalEndpoints,
): Promise<MigrationOptions> {
  if (flags.dryRun && flags.verify) throw new UsageError('give --dry-run or --verify, not both')
  if (flags.parallel < 1 || flags.parallel > PARALLEL_MAX)
    throw new UsageError(`--parallel is from 1 to ${PARALLEL_MAX}`)
  const other = readOther(io, direction, place, flags)
  const { success } = await admin.call('node.info', { node: 'self' })
  const [info] = Object.values(success)
  const endpoint = flags.endpoint ?? info?.connectionParameters.s3Endpoint ?? local.s3
  const k2vEndpoint = flags.k2vEndpoint ?? info?.connectionParameters.k2vEndpoint ?? local.k2v
  if (!info || !endpoint) {
    throw new CliError(
      'this node does not tell its S3 endpoint: name it with --endpoint, or set public_endpoint in [s3_api]',
    )
  }
  if (
    other.kind === 's3' &&
    new URL(other.endpoint).host === new URL(checkedUrl('--endpoint', endpoint)).host
  )
    throw new UsageError(`${place} is this cluster itself: name the other store`)
  return {
    ...{ direction, other, buckets: flags.bucket, parallel: flags.parallel, pair: `${direction} ${place}` },
    own: {
      endpoint: checkedUrl('--endpoint', endpoint),
      region: info.connectionParameters.region,
      hasK2v: k2vEndpoint !== undefined,
    },
    ...k2vOf(direction, place, flags.k2v, k2vEndpoint),
    relaxed: flags.relaxed === true,
    removes: flags.delete === true,
    mode: flags.dryRun ? 'plan' : flags.verify ? 'verify' : 'copy',
  }
}

/** Both ends of K2V, where its items are to be carried. @throws UsageError, CliError */
function k2vOf(
  direction: 'in' | 'out',
  place: string,
  k2v: string | undefined,
  endpoint: string | undefined,
): Pick<MigrationOptions, 'k2v'> {
  if (k2v === undefined) return {}
  if (place.startsWith('/')) throw new UsageError('--k2v is for a store at an address, not for a folder')
  if (endpoint === undefined)
    throw new CliError(
      'this node does not tell its K2V endpoint: name it with --k2v-endpoint, or set public_endpoint in [k2v_api]',
    )
  const [other, own] = [checkedUrl('--k2v', k2v), checkedUrl('--k2v-endpoint', endpoint)]
  return { k2v: direction === 'in' ? { from: other, to: own } : { from: own, to: other } }
}

function readOther(io: CliIo, direction: 'in' | 'out', place: string, flags: MigrateFlags): OtherStore {
  if (!/^https?:\/\//.test(place)) {
    if (!place.startsWith('/'))
      throw new UsageError(
        `${place} is neither an address (http://…, https://…) nor the full path of a folder`,
      )
    if (flags.admin !== undefined)
      throw new UsageError('--admin is for a store at an address, not for a folder')
    return { kind: 'folder', path: place }
  }
  const endpoint = checkedUrl('the address', place)
  const accessKeyId = secretOf(io, 'MIGRATE_ACCESS_KEY_ID')
  const secret = secretOf(io, 'MIGRATE_SECRET_ACCESS_KEY')
  const credentials = accessKeyId && secret ? { accessKeyId, secret } : undefined
  const command = flags.jsonApi?.split(/\s+/).filter((word) => word !== '')
  if (command) {
    if (command.length === 0 || flags.admin !== undefined || flags.minio)
      throw new UsageError(
        "--json-api is a command such as 'garage -c /etc/garage.toml', without --admin and --minio",
      )
    return { kind: 's3', endpoint, region: flags.region, credentials, admin: { command } }
  }
  if (flags.admin === undefined) {
    if (!credentials)
      throw new UsageError(
        'set CARPORT_MIGRATE_ACCESS_KEY_ID and CARPORT_MIGRATE_SECRET_ACCESS_KEY, or …_FILE, to a key of that store',
      )
    return { kind: 's3', endpoint, region: flags.region, credentials, isMinio: flags.minio === true }
  }
  if (flags.minio) throw new UsageError('--admin is for Garage and Carport: --minio needs no address')
  if (direction === 'out') throw new UsageError('--admin is for migrate: an export goes by S3 alone')
  const token = secretOf(io, 'MIGRATE_ADMIN_TOKEN')
  if (!token) throw new UsageError('set CARPORT_MIGRATE_ADMIN_TOKEN, or …_FILE, to a token of that admin API')
  const address = checkedUrl('--admin', flags.admin)
  return { kind: 's3', endpoint, region: flags.region, credentials, admin: { address, token } }
}

function checkedUrl(name: string, text: string): string {
  let url: URL | undefined
  try {
    url = new URL(text)
  } catch {
    // Told below, with an example.
  }
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw new UsageError(`${name} is not an address such as https://s3.example.org: ${text}`)
  if (url.username !== '' || url.password !== '')
    throw new UsageError(
      `${name} has a secret in it: keys are taken from the environment or from files alone`,
    )
  return text
}

/** One journal belongs to one pair of stores. @throws UsageError */
function checkPair(journal: Journal, pair: string, folder: string): void {
  const known = journal.fact('pair')
  if (known !== undefined && known !== pair)
    throw new UsageError(
      `the journal in ${folder} is of another migration (${known}): name another folder with --journal`,
    )
}

/** Shows how far a migration is, with its rate and the time left. */
class Progress {
  #phase: Phase = 'look'
  #meter = new Meter()
  #told = Number.NEGATIVE_INFINITY

  constructor(
    private readonly io: CliIo,
    private readonly report: Report,
  ) {}

  begin(phase: Phase): void {
    this.#phase = phase
    this.#meter = new Meter()
    this.report.movedBytes = 0
    this.#told = Number.NEGATIVE_INFINITY
    this.#draw()
  }

  async during(work: Promise<void>): Promise<void> {
    let isOver = false
    const over = work.finally(() => {
      isOver = true
    })
    over.catch(() => {})
    try {
      while (!isOver) {
        await Promise.race([over, this.io.sleep(DRAW_MS)])
        if (!isOver) this.#draw()
      }
      await over
    } finally {
      this.io.terminal?.keep()
    }
  }

  #draw(): void {
    const { io } = this
    const line = this.#line()
    if (io.terminal) io.terminal.redraw([line])
    else if (io.nowMs() - this.#told >= LINE_MS) {
      this.#told = io.nowMs()
      io.err(line)
    }
  }

  #line(): string {
    const { report } = this
    const { found, foundBytes, toCopy, toCopyBytes, copied, verified, movedBytes } = report
    const word = WORDS[this.#phase]
    if (this.#phase === 'look') return `${word}: ${found} objects, ${formatSize(foundBytes)}`
    const [all, allBytes, done] =
      this.#phase === 'copy' ? [toCopy, toCopyBytes, copied] : [found, 2 * foundBytes, verified]
    // Small objects take their time by their number, large ones by their bytes.
    const share =
      all === 0 ? 1 : (done / all + (allBytes === 0 ? done / all : Math.min(1, movedBytes / allBytes))) / 2
    const pace = this.#meter.add(this.io.nowMs(), share, movedBytes)
    return [
      `${word}: ${done} of ${all} objects`,
      `${(100 * share).toFixed(1)}%`,
      ...(pace.perSecond ? [`${formatSize(Math.round(pace.perSecond))}/s`] : []),
      ...(pace.leftMs === undefined ? [] : [`${timeText(pace.leftMs)} left`]),
    ].join('  ')
  }
}

function outputOf(report: Report, { mode }: MigrationOptions): Output {
  const { found, foundBytes, unchanged, toCopy, toCopyBytes, copied, copiedBytes, removed, verified } = report
  const lists = {
    notCarried: report.notCarried.lines(),
    gone: report.gone.lines(),
    failed: report.failed.lines(),
    differences: report.differences.lines(),
  }
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)]
  const sums = {
    plan: `${found} objects and versions, ${formatSize(foundBytes)}; to copy: ${toCopy}, ${formatSize(toCopyBytes)}`,
    copy: `${copied} copied, ${formatSize(copiedBytes)}; ${unchanged} were there already; ${removed} deleted`,
    verify: `${verified} compared on both sides; ${report.differences.count} differences`,
  }
  const text = [
    sums[mode],
    ...section('Not carried:', lists.notCarried),
    ...section('Deleted at the source since, and still here (--delete deletes them):', lists.gone),
    ...section('Failed:', lists.failed),
    ...section('Different:', lists.differences),
  ].join('\n')
  const json = {
    ...{ found, foundBytes, unchanged, toCopy, toCopyBytes, copied, copiedBytes, removed, verified },
    ...lists,
  }
  return { json, text }
}
