import type { Db } from '../../db/db.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { Clock, Hlc } from '../../util/clock.js'
import { errorCode } from '../../util/errors.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import type { Bucket, Buckets } from '../buckets/buckets.js'
import { isOlder, NULL_SLOT, terminatedKey, uploadSortKey, versionSortKey } from '../sort-keys.js'
import { actOnEach, Keep } from '../upkeep/each-row.js'
import type { UploadRow } from '../uploads/tables.js'
import type { Uploads } from '../uploads/uploads.js'
import type { Objects } from '../versions/objects.js'
import { agesFromMs, type VersionRecord } from '../versions/record.js'
import { selectorOf } from '../versions/selector.js'
import { expireCurrent } from './expiry.js'
import { KeyGroup, type NoncurrentCandidate } from './key-group.js'
import {
  evaluate,
  isLocked,
  type LifecycleCalendar,
  type LifecycleRule,
  uploadDueMs,
  type VersionFacts,
  walksOf,
} from './rules.js'

/** The walks over a bucket, in their order, which stored positions refer to. */
export const PHASES = ['current', 'noncurrent', 'uploads'] as const
export type Phase = (typeof PHASES)[number]

/** Rows of the own copy looked at in one step, without a pause for other work. */
const STEP_ROWS = 256
/** Deleted versions of one key that a step looks at. */
const DELETED_ROWS_MAX = 64

/** A damaged row waits for its repair; the walk goes on without it. */
const SKIP = { onDamage: 'skip' } as const

/**
 * The steps of a lifecycle run over one bucket: finds what seems due in the node's own copies, judges it again on what a
 * quorum knows, and acts so that rows that change meanwhile are left alone. A run over a large bucket takes hours: each judgement
 * goes by the bucket as it is at that moment, not as the run met it.
 */
export class LifecycleWalk {
  /** Since the start of the node. */
  readonly counts = { expired: 0, deletedVersions: 0, endedUploads: 0 }
  /** The key in the middle of which the last step over noncurrent versions ended, if it did. */
  #unfinished: { bucket: Buffer; group: KeyGroup } | undefined

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      hlc: Hlc
      random: Random
      log: Log
      buckets: Pick<Buckets, 'byId' | 'refresh'>
      objects: Objects
      uploads: Uploads
      tables: {
        object: Table<VersionRecord>
        version: Table<VersionRecord>
        upload: Table<UploadRow>
      }
    },
    private readonly options: { calendar: LifecycleCalendar; abortUploadsAfterMs?: number },
  ) {}

  /** The walks that the rules of a bucket ask for now. */
  phasesOf(bucket: Bucket): Phase[] {
    const walks = walksOf(rulesOf(bucket))
    if (this.options.abortUploadsAfterMs !== undefined) walks.uploads = true
    return PHASES.filter((phase) => walks[phase])
  }

  /**
   * Looks at the next rows of a walk.
   * @param at the sort key to begin at
   * @returns the sort key to go on at; undefined at the end, also if the bucket is gone or its rules ask for this walk no more
   * @throws CarportError QuorumUnavailable if something seems due, and no majority tells what the bucket is like
   */
  async step(id: Buffer, phase: Phase, at: Buffer): Promise<Buffer | undefined> {
    const bucket = this.deps.buckets.byId(id)
    if (!bucket || !this.phasesOf(bucket).includes(phase)) return undefined
    switch (phase) {
      case 'current':
        return this.#stepCurrent(bucket, at)
      case 'noncurrent':
        return this.#stepNoncurrent(bucket, at)
      case 'uploads':
        return this.#stepUploads(bucket, at)
    }
  }

  async #stepCurrent(bucket: Bucket, at: Buffer): Promise<Buffer | undefined> {
    const { db, clock, tables } = this.deps
    const rules = rulesOf(bucket)
    const nowMs = clock.nowMs()
    const due: Buffer[] = []
    let rows = 0
    let last: Buffer | undefined
    for (const row of tables.object.local.range(db, bucket.id, { start: at, limit: STEP_ROWS, ...SKIP })) {
      rows++
      last = row.key
      if (row.state === 'tombstone') continue
      const facts = currentFacts(row, () => this.#hasLocalNoncurrent(bucket.id, row.key))
      if (evaluate(rules, facts, nowMs, this.options.calendar)) due.push(row.key)
    }
    await this.#each(bucket.id, due, (key) => this.#endCurrent(bucket.id, key))
    return rows < STEP_ROWS ? undefined : successor(last!)
  }

  /**
   * Of delete markers. False only if this replica knows of none: where it would have to look at many deleted ones, true
   * until these are collected.
   */
  #hasLocalNoncurrent(bucket: Buffer, key: Buffer): boolean {
    const start = terminatedKey(key)
    const range = { start, end: prefixEnd(start), limit: DELETED_ROWS_MAX, ...SKIP }
    let rows = 0
    for (const row of this.deps.tables.version.local.range(this.deps.db, bucket, range)) {
      if (row.state !== 'tombstone') return true
      rows++
    }
    return rows === DELETED_ROWS_MAX
  }

  async #endCurrent(id: Buffer, key: Buffer): Promise<void> {
    const { objects, tables, hlc, random, clock, buckets } = this.deps
    const row = await tables.object.get(id, key, { body: false })
    if (!row || row.state === 'tombstone') return
    const { versions } =
      row.state === 'marker' ? await objects.noncurrent.list(id, key, row, { limit: 0 }) : { versions: [] }
    const facts = currentFacts(row, () => versions.length > 0)
    const bucket = buckets.byId(id)
    if (!bucket) return
    const verdict = evaluate(rulesOf(bucket), facts, clock.nowMs(), this.options.calendar)
    if (verdict?.action === 'expire') {
      // Where versioning is off, the version goes for good; elsewhere a lock does not keep a marker from being put on top.
      const gone = bucket.versioning === 'off' || (bucket.versioning === 'suspended' && row.isNull)
      if (gone && isLocked(row.mutable, clock.nowMs())) return
      const deps = { objects: tables.object, versions: tables.version, hlc, random }
      if (await expireCurrent(deps, row, bucket.versioning)) this.counts.expired++
    } else if (verdict) await this.#deleteVersion(bucket, row)
  }

  /**
   * Judges the versions of each key from the newest on. They come newest first, but the null version last whatever its age: it
   * is looked up when the key begins and judged where it belongs. A step may end in the middle of a key; after a failure or a
   * restart, which forgets what was seen of it, that key is judged from its start again.
   */
  async #stepNoncurrent(bucket: Bucket, at: Buffer): Promise<Buffer | undefined> {
    const due: NoncurrentCandidate[] = []
    const rules = rulesOf(bucket)
    const unfinished = this.#unfinished
    this.#unfinished = undefined
    let group = unfinished?.bucket.equals(bucket.id) && unfinished.group.start.equals(at) && unfinished.group
    let next: Buffer | undefined = at
    for (let rows = 0; next && rows < STEP_ROWS; ) {
      const key: Buffer | undefined = group ? group.key : this.#firstKey(bucket.id, next)
      if (!key) {
        next = undefined
        break
      }
      next = prefixEnd(terminatedKey(key))
      try {
        group ||= this.#groupOf(bucket.id, key)
        rows += this.#judge(bucket.id, rules, group, due)
        if (!group.isWhole) next = group.start
        else group = undefined
      } catch (error) {
        rows += passOverDamage(error)
        group = undefined
      }
    }
    // The oldest first, so that what each one's judgement rests on is still there.
    await this.#each(bucket.id, due.reverse(), (candidate) => this.#endNoncurrent(bucket.id, candidate))
    if (group) this.#unfinished = { bucket: bucket.id, group }
    return next
  }

  #firstKey(bucket: Buffer, start: Buffer): Buffer | undefined {
    const { db, tables } = this.deps
    const [first] = tables.version.local.range(db, bucket, { start, limit: 1, ...SKIP })
    return first?.key
  }

  #groupOf(bucket: Buffer, key: Buffer): KeyGroup {
    const { db, tables } = this.deps
    const slot = tables.version.local.get(db, bucket, versionSortKey(key, NULL_SLOT, true))
    const nullVersion = slot && slot.state !== 'tombstone' ? slot : undefined
    return new KeyGroup(key, tables.object.local.get(db, bucket, key), nullVersion)
  }

  /** Adds those of the next versions of a key that seem due and are not locked; returns how many rows it looked at. */
  #judge(bucket: Buffer, rules: LifecycleRule[], group: KeyGroup, due: NoncurrentCandidate[]): number {
    const { db, clock, tables } = this.deps
    const { key, start } = group
    const nowMs = clock.nowMs()
    const judge = (version: VersionRecord) => {
      const candidate = group.add(version)
      const isDue = candidate && evaluate(rules, noncurrentFacts(candidate), nowMs, this.options.calendar)
      if (isDue && !isLocked(version.mutable, nowMs)) due.push(candidate)
      else group.keep(version)
    }
    const range = { start, end: prefixEnd(terminatedKey(key)), limit: STEP_ROWS, ...SKIP }
    let rows = 0
    let last: VersionRecord | undefined
    for (const version of tables.version.local.range(db, bucket, range)) {
      rows++
      last = version
      if (version.isNull || version.state === 'tombstone') continue
      const { nullVersion } = group
      if (nullVersion && nullVersion.createdUs > version.createdUs) {
        group.nullVersion = undefined
        judge(nullVersion)
      }
      judge(version)
    }
    group.isWhole = rows < STEP_ROWS
    if (!group.isWhole) group.start = successor(versionSortKey(key, last!.id, last!.isNull))
    else if (group.nullVersion) judge(group.nullVersion)
    return rows
  }

  async #endNoncurrent(id: Buffer, candidate: NoncurrentCandidate): Promise<void> {
    const { objects, clock, buckets } = this.deps
    const { key } = candidate.version
    const byQuorum = async (asked: VersionRecord) => {
      const found = await objects.get(id, key, selectorOf(asked), { body: false })
      return found?.id.equals(asked.id) ? found : undefined
    }
    const [current, version, next] = await Promise.all([
      objects.get(id, key, undefined, { body: false }),
      byQuorum(candidate.version),
      byQuorum(candidate.successor),
    ])
    if (!version || current?.id.equals(version.id)) return
    // Without that successor it has been noncurrent since another time: at the latest since a newer one was made that is there.
    const { kept } = candidate
    const since = next ?? (kept && (await byQuorum(kept)))
    if (!since) return
    const isDue = (newerVersions: number) => {
      const bucket = buckets.byId(id)
      const facts = noncurrentFacts({ version, successor: since, newerVersions })
      return bucket && evaluate(rulesOf(bucket), facts, clock.nowMs(), this.options.calendar) && bucket
    }
    if (!isDue(candidate.newerVersions)) return
    // Some of those that this node counts may be deleted; rules that keep none do not ask.
    const bucket = isDue(0) || isDue(await this.#countNewer(version, current))
    if (bucket) await this.#deleteVersion(bucket, version)
  }

  /** How many noncurrent versions of its key a quorum has that are newer than one; no more than any rule asks for are looked for. */
  async #countNewer(version: VersionRecord, current: VersionRecord | undefined): Promise<number> {
    const { objects, buckets } = this.deps
    const { bucket, key, id } = version
    const rules = buckets.byId(bucket)?.document('lifecycle') ?? []
    const limit = Math.max(0, ...rules.map(({ noncurrent }) => noncurrent?.newerVersions ?? 0))
    const { versions } = await objects.noncurrent.list(bucket, key, current, { limit })
    return versions.filter((other) => isOlder(id, other.id)).length
  }

  /** Deletes one version for good, unless it is locked or has been replaced by another in its slot. */
  async #deleteVersion(bucket: Bucket, version: VersionRecord): Promise<void> {
    const { objects, clock } = this.deps
    const check = (now: VersionRecord) => {
      if (!now.id.equals(version.id) || isLocked(now.mutable, clock.nowMs())) throw new Keep()
    }
    if (isLocked(version.mutable, clock.nowMs())) return
    // An id means one version for ever: only the slot of null versions, and locks, can change under way.
    const guard = { check, announces: version.isNull || bucket.objectLock }
    const deleted = await objects.deleteVersion(bucket.id, version.key, selectorOf(version), guard)
    if (deleted) this.counts.deletedVersions++
  }

  async #stepUploads(bucket: Bucket, at: Buffer): Promise<Buffer | undefined> {
    const { db, clock, tables, uploads, buckets } = this.deps
    const nowMs = clock.nowMs()
    const due: UploadRow[] = []
    let rows = 0
    let last: UploadRow | undefined
    for (const row of tables.upload.local.range(db, bucket.id, { start: at, limit: STEP_ROWS, ...SKIP })) {
      rows++
      last = row
      if (!row.deleted && this.#uploadIsDue(bucket, row, nowMs)) due.push(row)
    }
    await this.#each(bucket.id, due, async ({ key, id }) => {
      const upload = await uploads.get(bucket.id, key, id)
      const now = buckets.byId(bucket.id)
      if (!upload || !now || !this.#uploadIsDue(now, upload, clock.nowMs())) return
      await uploads.end(upload)
      this.counts.endedUploads++
    })
    return rows < STEP_ROWS ? undefined : successor(uploadSortKey(last!.key, last!.id))
  }

  #uploadIsDue(bucket: Bucket, upload: UploadRow, nowMs: number): boolean {
    const startedMs = upload.timeUs / 1000
    const { abortUploadsAfterMs, calendar } = this.options
    if (abortUploadsAfterMs !== undefined && startedMs + abortUploadsAfterMs <= nowMs) return true
    const dueMs = uploadDueMs(rulesOf(bucket), { key: upload.key.toString(), startedMs }, calendar)
    return dueMs !== undefined && dueMs <= nowMs
  }

  /**
   * Acts on each item; a failure is logged, and its item left to the next run. What a majority knows of the bucket is fetched
   * before: this node may not have heard yet that rules went, or that deletions have to leave versions.
   */
  async #each<T>(bucket: Buffer, items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
    if (items.length === 0) return
    await this.deps.buckets.refresh(bucket)
    await actOnEach(items, act, (error) =>
      this.deps.log.warn({ error }, 'a lifecycle action failed, to be tried again by the next run'),
    )
  }
}

/** The rules that count in a bucket now. */
function rulesOf(bucket: Bucket): LifecycleRule[] {
  // While a bucket reads through to another store, what a rule deletes here would come back from there.
  return bucket.document('shadow') ? [] : (bucket.document('lifecycle') ?? [])
}

function factsOf(version: VersionRecord): VersionFacts {
  return {
    key: version.key.toString(),
    kind: version.state === 'marker' ? 'marker' : 'object',
    size: version.size,
    // Read when a rule asks for it: it costs the decoding of the row.
    get tags() {
      return version.mutable.tags?.[1] ?? undefined
    },
    createdMs: agesFromMs(version),
  }
}

function currentFacts(version: VersionRecord, hasNoncurrent: () => boolean): VersionFacts {
  const facts = factsOf(version)
  facts.current = { hasNoncurrent: version.state === 'marker' && hasNoncurrent() }
  return facts
}

function noncurrentFacts({
  version,
  successor,
  newerVersions,
}: Omit<NoncurrentCandidate, 'kept'>): VersionFacts {
  const facts = factsOf(version)
  // A version that was here before its successor came from another store is noncurrent since no earlier than it was made.
  facts.noncurrent = { sinceMs: Math.max(agesFromMs(successor), agesFromMs(version)), newerVersions }
  return facts
}

/** For keys of which some row is damaged here: they are judged when that is repaired. */
function passOverDamage(error: unknown): number {
  if (errorCode(error) === 'Corrupted') return 1
  throw error
}
