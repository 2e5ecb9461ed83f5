import { retried, S3Client, StoreError } from '../api/client/s3-client.js'
import type { SourceKey } from './admin-source.js'
import {
  type BucketState,
  bucketState,
  finishBucket,
  prepareBucket,
  type S3Bucket,
  settingsOf,
} from './bucket-settings.js'
import {
  type AdminCalls,
  dropWorkerKey,
  endShadow,
  importKey,
  importRules,
  type WorkerKey,
  workerKey,
} from './control.js'
import { copyBucket, look, PART_BYTES_MIN } from './copy.js'
import { FolderStore } from './folder-store.js'
import type { Journal } from './journal.js'
import { K2vEndpoint } from './k2v-client.js'
import { copyK2v, lookAtK2v, verifyK2v } from './k2v-copy.js'
import { tellLosses, tellUntimed } from './losses.js'
import { fromMinio } from './minio.js'
import type { MigrationOptions } from './options.js'
import type { Report } from './report.js'
import { bucketsByAdmin, bucketsOf, chosen, makeBucket, OwnBuckets, type Route } from './routes.js'
import { S3Store, takesTimes } from './s3-store.js'
import type { Destination, Source } from './store.js'
import { verifyBucket } from './verify.js'
import type { MigrationWorld } from './world.js'

export type Phase = 'look' | 'copy' | 'verify'

/** A bucket with both of its ends. */
interface Bucket extends Route {
  state: BucketState
  /** At the destination; undefined for a folder. */
  to?: S3Bucket
  /** Of the destination, if it is this cluster's. */
  id?: string
  /** Whether the destination takes Last-Modified. */
  takesTimes?: boolean
  /** Whether the destination reads through to another store: then applications use it already. */
  isShadow?: boolean
}

const NO_STATE: BucketState = { versioning: undefined, lock: undefined, hasAcls: false }
/** Settings that the admin API carries, where there is one at both ends. */
const BY_ADMIN = ['cors', 'lifecycle', 'website']

/**
 * Copies buckets from one store to another, or tells what would be copied, or compares both.
 * @throws StoreError, CarportError when it cannot go on; what fails for single objects is in the report
 */
export async function runMigration(
  world: MigrationWorld,
  admin: AdminCalls,
  journal: Journal,
  options: MigrationOptions,
  report: Report,
  onPhase: (phase: Phase) => void,
): Promise<void> {
  const { direction, other, mode } = options
  const needsWorker = direction === 'out' || mode !== 'plan'
  const worker = needsWorker ? await workerKey(admin, journal) : undefined
  const run = new Migration(world, admin, journal, options, report, worker)
  try {
    await phases(run, journal, options, onPhase)
    if (other.kind === 'folder' && direction === 'in') await run.strays()
  } catch (error) {
    // The next run deletes it, if it stays.
    await dropWorkerKey(admin, journal).catch(() => {})
    throw error
  }
  await dropWorkerKey(admin, journal)
}

async function phases(
  run: Migration,
  journal: Journal,
  { mode, pair }: MigrationOptions,
  onPhase: (phase: Phase) => void,
): Promise<void> {
  await run.open()
  if (mode === 'copy') await journal.setFact('pair', pair)
  onPhase('look')
  if (mode === 'verify') {
    await run.look()
    onPhase('verify')
    await run.verify()
  } else {
    if (mode === 'copy') await run.prepare()
    await run.look()
    if (mode === 'copy') {
      onPhase('copy')
      await run.copy()
      await run.finish()
    }
  }
}

class Migration {
  #buckets: Bucket[] = []
  #keys: SourceKey[] = []
  readonly #other: S3Client | undefined
  readonly #own: OwnBuckets | undefined
  readonly #folder: FolderStore | undefined
  /** Paths of the source that could not be read: what is at or below them is not gone. */
  readonly #unread = new Set<string>()

  constructor(
    private readonly world: MigrationWorld,
    private readonly admin: AdminCalls,
    private readonly journal: Journal,
    private readonly options: MigrationOptions,
    private readonly report: Report,
    worker: WorkerKey | undefined,
  ) {
    const { other, own } = options
    if (other.kind === 'folder') {
      this.#folder = new FolderStore(other.path, world.folders, (path, problem) => {
        // What lies beside the chosen buckets is no failure.
        const isChosen = options.buckets.length === 0 || path.includes('/')
        if (options.direction !== 'in' || !isChosen) return
        report.failed.add(`${path}: ${problem}`)
        this.#unread.add(path)
      })
    } else if (other.credentials)
      this.#other = new S3Client({ ...other, credentials: other.credentials }, world)
    if (worker) {
      const credentials = { accessKeyId: worker.accessKeyId, secret: worker.secret }
      // A bucket that reads through to another store must show what it has itself, and keep what applications wrote to it.
      const headers = { 'x-carport-shadow': 'fill' }
      const { endpoint, region } = own
      const client = new S3Client({ endpoint, region, credentials, headers }, world)
      this.#own = new OwnBuckets(admin, client, worker)
    }
  }

  /** Finds out what the source has. */
  async open(): Promise<void> {
    const { report, options } = this
    const routes = chosen(await this.#routes(), options.buckets)
    for (const route of routes) {
      const state = route.s3 ? await bucketState(route.s3, report) : NO_STATE
      this.#buckets.push({ ...route, state })
      tellLosses(report, options, route.label, state)
      if (options.mode === 'plan' && options.direction === 'out' && this.#other) {
        const to = { client: this.#other, name: route.label }
        const takes = await takesTimes(to).catch((error: unknown) => {
          if (!(error instanceof StoreError)) throw error
          return false
        })
        if (!takes) tellUntimed(report, route.label)
      }
      if (options.mode === 'plan' && route.s3 && this.#folder) {
        for (const name of await settingsOf(route.s3, report))
          report.notCarried.add(`${name} of ${route.label}: a folder has no such setting`)
      }
    }
  }

  async #routes(): Promise<Route[]> {
    const { world, options, report } = this
    const { direction, other } = options
    if (direction === 'out') return this.#own!.routes()
    if (other.kind === 'folder') return (await this.#folder!.buckets()).map((label) => ({ label }))
    if (other.isMinio) return this.#fromMinio()
    if (!other.admin) return bucketsOf(this.#other!)
    const { keys, routes } = await bucketsByAdmin(world, other.admin, other, other.credentials, report)
    this.#keys = keys
    for (const { accessKeyId, name, secretAccessKey } of keys)
      if (secretAccessKey === null)
        report.notCarried.add(`key ${accessKeyId} (${name}): the source does not tell its secret`)
    if (!options.k2v)
      report.notCarried.add('K2V items: they are read where --k2v names the K2V API of the source')
    report.notCarried.add('admin tokens and the layout: they are not read')
    return routes
  }

  /** Users and buckets of MinIO; without its admin API, buckets alone. */
  async #fromMinio(): Promise<Route[]> {
    const { report } = this
    try {
      const { keys, routes } = await fromMinio(this.#other!, report)
      this.#keys = keys
      return routes
    } catch (error) {
      if (!(error instanceof StoreError) || error.status >= 500) throw error
      report.notCarried.add(`users, access keys and quotas: ${error.message}`)
      return bucketsOf(this.#other!)
    }
  }

  /** Makes keys and buckets, and gives them the settings that come before objects. */
  async prepare(): Promise<void> {
    const { admin, report, journal } = this
    for (const key of this.#keys) await importKey(admin, key, report)
    for (const bucket of this.#buckets) {
      await this.#makeTarget(bucket)
      if (bucket.s3 && bucket.to) await prepareBucket(bucket.s3, bucket.to, bucket.state, report, [])
      const { label } = bucket
      if (journal.fact(`seen ${label}`) !== undefined) continue
      for await (const _ of this.#destination.list(label)) {
        await journal.setFact(`filled ${label}`, 'yes')
        break
      }
      await journal.setFact(`seen ${label}`, 'yes')
    }
  }

  async #makeTarget(bucket: Bucket): Promise<void> {
    const { report, options } = this
    if (options.direction === 'in') {
      const { id, s3, isShadow } = await this.#own!.make(bucket, report, options.relaxed)
      bucket.id = id
      bucket.to = s3
      bucket.isShadow = isShadow
      if (isShadow && bucket.state.versioning) {
        report.notCarried.add(`versions of ${bucket.label} but the current ones: it is in use here already`)
        bucket.state = { ...bucket.state, versioning: undefined, lock: undefined }
      }
    } else if (this.#other)
      bucket.to = await makeBucket(this.#other, bucket.label, bucket.state.lock !== undefined)
    if (!bucket.to) return
    bucket.takesTimes = await takesTimes(bucket.to)
    if (!bucket.takesTimes) tellUntimed(report, bucket.label)
  }

  /** Counts, and deals with copies of what is gone from the source. */
  async look(): Promise<void> {
    const { journal, report, options } = this
    for (const bucket of this.#buckets) {
      const { label } = bucket
      await look({ source: this.#source, journal, report }, label, async (key, version) => {
        const entry = journal.entry(label, key, version)
        if (entry?.isDone !== true || options.mode !== 'copy' || this.#isUnread(`${label}/${key}`)) return
        if (!options.removes) return report.gone.add(`${label}/${key}`)
        // Only what this migration wrote is deleted, not what was written there since.
        const there = await this.#destination.versions(label, key)
        const copy = there.find((found) =>
          found.id === '' ? found.etag === entry.etag : found.id === entry.id,
        )
        if (copy) {
          await this.#destination.remove(label, key, entry.id)
          report.removed++
        }
        await journal.forget(label, key, version)
      })
      const source = this.#k2vOf('from', bucket.s3)
      const destination = options.mode === 'copy' ? this.#k2vOf('to', bucket.to) : undefined
      if (source) await lookAtK2v({ label, source, destination, journal, report, removes: options.removes })
    }
  }

  #isUnread(path: string): boolean {
    if (this.#unread.size === 0) return false
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1))
      if (this.#unread.has(path.slice(0, end))) return true
    return false
  }

  /** The K2V API of a bucket at one end; undefined if its items are not to be carried. */
  #k2vOf(end: 'from' | 'to', bucket: S3Bucket | undefined): K2vEndpoint | undefined {
    const endpoint = this.options.k2v?.[end]
    if (endpoint === undefined || !bucket) return undefined
    return new K2vEndpoint({ ...bucket.client.at, endpoint }, bucket.name, this.world)
  }

  async copy(): Promise<void> {
    const { journal, report, options } = this
    const { parallel, removes, relaxed } = options
    const partBytesMin = relaxed ? 0 : PART_BYTES_MIN
    const [source, destination] = [this.#source, this.#destination]
    for (const { label, s3, to, isShadow, takesTimes = false } of this.#buckets) {
      await copyBucket(
        {
          takesTimes,
          ...{ source, destination, journal, report, parallel, removes, partBytesMin },
          retried: this.#retried,
          fills: () => isShadow === true,
        },
        label,
      )
      const [k2vFrom, k2vTo] = [this.#k2vOf('from', s3), this.#k2vOf('to', to)]
      if (k2vFrom && k2vTo)
        await copyK2v({ label, source: k2vFrom, destination: k2vTo, journal, report, parallel, removes })
    }
  }

  /** Gives buckets the settings that act on objects. */
  async finish(): Promise<void> {
    const { admin, report, options } = this
    for (const { label, s3, to, state, facts, rulesByS3, id, isShadow } of this.#buckets) {
      if (isShadow && report.failed.count === 0) await endShadow(admin, id!)
      else if (isShadow) report.notCarried.add(`the end of the shadow ${label}: not before all is here`)
      const byAdmin = facts !== undefined && options.direction === 'in'
      const except = byAdmin && !rulesByS3 ? BY_ADMIN : []
      if (s3 && to) await finishBucket(s3, to, state, report, except, facts?.statements)
      if (byAdmin) await importRules(admin, id!, facts, report)
    }
  }

  async verify(): Promise<void> {
    const { report, options } = this
    for (const bucket of this.#buckets) {
      if (options.direction === 'in') {
        const to = await this.#own!.find(bucket)
        if (!to) {
          report.differences.add(`${bucket.label}: this cluster has no such bucket`)
          continue
        }
        bucket.to = to
      } else if (this.#other) bucket.to = { client: this.#other, name: bucket.label }
      const comparesHeaders = options.other.kind === 's3'
      bucket.takesTimes = bucket.to !== undefined && (await takesTimes(bucket.to))
      // What lies in the future is told nobody.
      const comparesTime = (ms: number) =>
        bucket.takesTimes === true && ms > 0 && ms <= this.world.clock.nowMs()
      await verifyBucket(
        {
          comparesTime,
          ...{ source: this.#source, destination: this.#destination, report, comparesHeaders },
          ...{ parallel: options.parallel, retried: this.#retried },
        },
        bucket.label,
      )
      const [k2vFrom, k2vTo] = [this.#k2vOf('from', bucket.s3), this.#k2vOf('to', bucket.to)]
      if (k2vFrom && k2vTo)
        await verifyK2v({ label: bucket.label, source: k2vFrom, destination: k2vTo, report })
    }
  }

  /** Tells of files that lie in no bucket's folder. */
  async strays(): Promise<void> {
    for (const name of await this.#folder!.strays())
      this.report.notCarried.add(`${name}: it lies in no folder, which would be its bucket`)
  }

  readonly #retried = <T>(attempt: () => Promise<T>): Promise<T> => retried(this.world, attempt)

  get #source(): Source {
    if (this.options.direction === 'in' && this.#folder) return this.#folder
    return this.#storeOf(({ s3 }) => s3)
  }

  get #destination(): Destination & Source {
    if (this.options.direction === 'out' && this.#folder) return this.#folder
    return this.#storeOf(({ to }) => to)
  }

  #storeOf(end: (bucket: Bucket) => S3Bucket | undefined): S3Store {
    const buckets = new Map(this.#buckets.map((bucket) => [bucket.label, bucket]))
    return new S3Store(
      async () => [...buckets.keys()],
      async (label) => {
        const bucket = buckets.get(label)!
        const { versioning, hasAcls } = bucket.state
        const { takesTimes = false } = bucket
        return {
          ...end(bucket)!,
          ...{ hasAcls, takesTimes },
          hasVersions: versioning !== undefined && this.#folder === undefined,
        }
      },
      () => this.world.clock.nowMs(),
    )
  }
}
