import type { Bucket } from '../src/model/buckets/buckets.js'
import { type LifecycleRule, shortCalendar } from '../src/model/lifecycle/rules.js'
import type { LifecycleOptions } from '../src/model/lifecycle/worker.js'
import type { UploadRow } from '../src/model/uploads/tables.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { LocalTable } from '../src/table/local.js'
import type { RegisterHistory } from './register-history.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { type Contents, sourceOf } from './sim-objects.js'
import type { ClientRequest, Target } from './sim-request.js'

/** What the rules speak of; no rule speaks of any other key. */
const PREFIX = 'life/'
/** A day of the rules, in ms: so long do objects, noncurrent versions and uploads stay. */
const DAY_MS = 120_000
const KEYS = 8
const VERSIONED_SHARE = 0.4
/** Versions and uploads that clients still look at. */
const RECENT = 20
/** How long the rules may take in the end, in ms: several days, with a run of the worker after each. */
const END_MS_MAX = 60 * DAY_MS

export const LIFECYCLE_OPTIONS: LifecycleOptions = { calendar: shortCalendar(DAY_MS) }

const BOTH = { enabled: true, filter: { prefix: PREFIX }, form: 'filter' } as const

export const LIFECYCLE_RULES: LifecycleRule[] = [
  { ...BOTH, id: 'old', expiration: { days: 1 }, noncurrent: { days: 1 }, abortUploadDays: 1 },
  { ...BOTH, id: 'markers', expiration: { expiredDeleteMarker: true } },
]

/** The part of the workload that is used here. */
interface Shared {
  readonly bucket: Bucket
  readonly versionedBucket: Bucket
  readonly contents: Contents
  readonly problems: string[]
}

/** Something that must be there until a moment of true time. */
interface Kept<T> {
  row: T
  untilMs: number
}

/**
 * Keys whose versions and uploads end by lifecycle rules, of a day that is two minutes long. In the history, the end of an object is
 * a deletion on the condition that it is still there, which may happen at any moment from the end of its day on: one that came
 * earlier, or took what was written later, is not linearizable. Noncurrent versions and uploads are looked at before theirs. In the
 * end nothing is left.
 */
export class Lifecycle {
  readonly #versions: Kept<VersionRecord>[] = []
  readonly #uploads: Kept<UploadRow>[] = []
  readonly #registers = new Set<string>()

  constructor(
    private readonly cluster: SimCluster,
    private readonly history: RegisterHistory,
  ) {}

  /** Whether versions of a key end by themselves. */
  static ends(key: string): boolean {
    return key.startsWith(PREFIX)
  }

  /** A key that the rules speak of. */
  target({ bucket, versionedBucket }: Shared, random: SeededRandom): Target {
    const isVersioned = random.chance(VERSIONED_SHARE)
    const key = `${PREFIX}${random.below(KEYS)}`
    const register = isVersioned ? `versioned/${key}` : key
    this.#registers.add(register)
    return { bucket: isVersioned ? versionedBucket : bucket, key, register }
  }

  /** A client begins to write a value, which the rules may take away later. */
  writes({ key, register }: Target, value: string): void {
    if (!Lifecycle.ends(key)) return
    this.cluster.clock.after(DAY_MS - this.#toleranceMs, () => {
      this.history.unanswered(this.history.call(register, 'change', null, 'expiry', value))
    })
  }

  /** A version was acknowledged in the bucket with versions. */
  wrote(row: VersionRecord, calledMs: number): void {
    remember(this.#versions, { row, untilMs: calledMs + DAY_MS - this.#toleranceMs })
  }

  /** Begins an upload that nobody completes. */
  async upload({ w, random, target, ...request }: ClientRequest<Shared>): Promise<void> {
    const { bucket, key, register } = target
    const untilMs = this.cluster.clock.monotonicMs() + DAY_MS - this.#toleranceMs
    const empty = { owner: '', headers: {}, metadata: {}, mutable: {} }
    const row = await request.try(`upload ${register}`, ({ uploads }) =>
      uploads.create({ bucket: bucket.id, key: Buffer.from(key), ...empty }),
    )
    if (!row) return
    const content = w.contents.make(random, 16 + random.below(2 * this.cluster.options.blockBytes))
    const part = await request.try(`part ${register}`, async ({ blobs, uploads }) => {
      const stored = await blobs.write(sourceOf(content, random), { inline: false })
      return uploads.putPart(row, { number: 1, etag: stored.md5 }, stored)
    })
    if (part) remember(this.#uploads, { row, untilMs })
  }

  /** Looks at a version or an upload, which must be there before its day is over. */
  async look({ w, random, ...request }: ClientRequest<Shared>): Promise<void> {
    const isVersion = random.chance(0.5)
    const kept = isVersion ? this.#versions : this.#uploads
    if (kept.length === 0) return
    const { row, untilMs } = random.pick<Kept<VersionRecord | UploadRow>>(kept)
    const what = `${isVersion ? 'version' : 'upload'} ${row.id.toString('hex')} of ${row.key}`
    await request.try('look', async ({ objects, uploads }) => {
      const found = isVersion
        ? await objects.get(row.bucket, row.key, row.id, { body: false })
        : await uploads.get(row.bucket, row.key, row.id)
      if (!found && this.cluster.clock.monotonicMs() < untilMs)
        w.problems.push(`${request.note('look')}: ${what} ended before its time`)
    })
  }

  /** Waits until the rules have taken all that they speak of; reads it then. @returns what is left */
  async end(random: SeededRandom, w: Shared): Promise<string[]> {
    const { clock } = this.cluster
    const untilMs = clock.monotonicMs() + END_MS_MAX
    let left = this.#left()
    while (left.length > 0 && clock.monotonicMs() < untilMs) {
      await clock.sleep(DAY_MS / 4)
      left = this.#left()
    }
    for (const register of this.#registers) {
      const isVersioned = register.startsWith('versioned/')
      const key = isVersioned ? register.slice('versioned/'.length) : register
      const bucket = isVersioned ? w.versionedBucket : w.bucket
      const op = this.history.call(register, 'read', null, 'after the rules')
      const found = await this.cluster.retried(random, ({ core }) =>
        core!.model.objects.get(bucket.id, Buffer.from(key), undefined, { body: false }),
      )
      this.history.answered(op, found?.state === 'object' ? found.etag.toString('hex') : null)
    }
    return left
  }

  /** How many versions and uploads the rules have ended, as the nodes that run now know. */
  ended(): number {
    let count = 0
    for (const { core } of this.cluster.nodes) {
      const { expired = 0, deletedVersions = 0, endedUploads = 0 } = core?.model.lifecycle.status() ?? {}
      count += expired + deletedVersions + endedUploads
    }
    return count
  }

  #left(): string[] {
    return this.cluster.nodes.flatMap((node) => {
      if (!node.core) return []
      const { object, version, upload } = node.core.model.tables
      return [
        ...leftOf(node, object.local, ({ state }) => state !== 'tombstone'),
        ...leftOf(node, version.local, ({ state }) => state !== 'tombstone'),
        ...leftOf(node, upload.local, ({ deleted }) => !deleted),
      ]
    })
  }

  /** What two wall clocks may differ by: of the node that stamped a row, and of the one that judges it. */
  get #toleranceMs(): number {
    return 2 * this.cluster.options.clockSkewMs + 1000
  }
}

function remember<T>(all: Kept<T>[], one: Kept<T>): void {
  all.push(one)
  if (all.length > RECENT) all.shift()
}

function leftOf<R extends { key: Buffer }>(
  node: SimNode,
  local: LocalTable<R>,
  isThere: (row: R) => boolean,
): string[] {
  const left: string[] = []
  for (const { head } of local.walk(node.machine.platform!.db, {})) {
    const row = local.codec.decodeStored(head, () => undefined)
    if (Lifecycle.ends(row.key.toString()) && isThere(row))
      left.push(`node${node.index}: ${local.schema.name} ${row.key} is there though a rule ends it`)
  }
  return left
}
