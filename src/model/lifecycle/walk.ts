import type { Db } from '../../db/db.js'
import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import { type Clock, type Hlc, sleep } from '../../util/clock.js'
import { errorCode } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import type { Bucket, Buckets } from '../buckets/buckets.js'
import { NULL_SLOT, terminatedKey, uploadSortKey, versionSortKey } from '../sort-keys.js'
import type { UploadRow } from '../uploads/tables.js'
import type { Uploads } from '../uploads/uploads.js'
import type { Objects, VersionSelector } from '../versions/objects.js'
import { agesFromMs, type VersionRecord } from '../versions/record.js'
import { expireCurrent } from './expiry.js'
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
const DUE_PER_STEP_MAX = 4 * STEP_ROWS
const ACTIONS_IN_FLIGHT = 8

/** A noncurrent version that seems due, and what the judgement rests on. */
interface NoncurrentCandidate {
  version: VersionRecord
  /** The next newer version, since whose making this one is noncurrent. */
  successor: VersionRecord
  newerVersions: number
}

/** Thrown by the guard of a deletion: the version stays. */
class Keep extends Error {}

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
   * Looks at whole keys, so that the versions of each are judged from the newest on. They come newest first, but the null
   * version last whatever its age: it is looked up when the key begins and judged where it belongs.
   */
  async #stepNoncurrent(bucket: Bucket, at: Buffer): Promise<Buffer | undefined> {
    const { db, tables } = this.deps
    const due: NoncurrentCandidate[] = []
    let next: Buffer | undefined = at
    for (let rows = 0; next && rows < STEP_ROWS && due.length < STEP_ROWS; ) {
      const [first] = tables.version.local.range(db, bucket.id, { start: next, limit: 1, ...SKIP })
      if (!first) {
        next = undefined
        break
      }
      rows += await this.#judgeKey(bucket, first.key, due).catch(passOverDamage)
      next = prefixEnd(terminatedKey(first.key))
    }
    await this.#each(bucket.id, due, (candidate) => this.#endNoncurrent(bucket.id, candidate))
    return next
  }

  /** Adds the versions of a key that seem due; returns how many rows it looked at. */
  async #judgeKey(bucket: Bucket, key: Buffer, due: NoncurrentCandidate[]): Promise<number> {
    const { db, clock, tables } = this.deps
    const rules = rulesOf(bucket)
    const group = new KeyGroup(tables.object.local.get(db, bucket.id, key))
    const judge = (version: VersionRecord) => {
      const candidate = group.add(version)
      if (candidate && evaluate(rules, noncurrentFacts(candidate), clock.nowMs(), this.options.calendar)) {
        due.push(candidate)
      }
    }
    const slot = tables.version.local.get(db, bucket.id, versionSortKey(key, NULL_SLOT, true))
    let nullVersion = slot && slot.state !== 'tombstone' ? slot : undefined
    let start = terminatedKey(key)
    const end = prefixEnd(start)
    for (let rows = 0; ; ) {
      const batch = [...tables.version.local.range(db, bucket.id, { start, end, limit: STEP_ROWS, ...SKIP })]
      rows += batch.length
      for (const version of batch) {
        if (version.isNull || version.state === 'tombstone') continue
        if (nullVersion && nullVersion.createdUs > version.createdUs) {
          judge(nullVersion)
          nullVersion = undefined
        }
        judge(version)
      }
      if (batch.length < STEP_ROWS) {
        if (nullVersion) judge(nullVersion)
        return rows
      }
      // The rest of a key with very many versions is left to the next run: it is shorter then.
      if (due.length >= DUE_PER_STEP_MAX) return rows
      const last = batch.at(-1)!
      start = successor(versionSortKey(key, last.id, last.isNull))
      await sleep(clock, 1)
    }
  }

  async #endNoncurrent(id: Buffer, candidate: NoncurrentCandidate): Promise<void> {
    const { objects, clock, buckets } = this.deps
    const { key } = candidate.version
    const byQuorum = (version: VersionRecord) => objects.get(id, key, selectorOf(version), { body: false })
    const [current, version, next] = await Promise.all([
      objects.get(id, key, undefined, { body: false }),
      byQuorum(candidate.version),
      byQuorum(candidate.successor),
    ])
    if (!version?.id.equals(candidate.version.id) || current?.id.equals(version.id)) return
    // Without that successor it has been noncurrent since another time.
    if (!next?.id.equals(candidate.successor.id)) return
    const facts = noncurrentFacts({ ...candidate, version, successor: next })
    const bucket = buckets.byId(id)
    if (bucket && evaluate(rulesOf(bucket), facts, clock.nowMs(), this.options.calendar)) {
      await this.#deleteVersion(bucket, version)
    }
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
    const selector = version.isNull ? 'null' : version.id
    const deleted = await objects.deleteVersion(bucket.id, version.key, selector, guard)
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
    await eachLimited(items, ACTIONS_IN_FLIGHT, async (item) => {
      try {
        await act(item)
      } catch (error) {
        if (error instanceof Keep) return
        if (errorCode(error) === 'Closed') throw error
        this.deps.log.warn({ error }, 'a lifecycle action failed, to be tried again by the next run')
      }
    })
  }
}

/** Goes through the noncurrent versions of a key from the newest on. */
class KeyGroup {
  #successor: VersionRecord | undefined
  #count = 0

  /** @param current the key's row */
  constructor(private readonly current: VersionRecord | undefined) {
    this.#successor = current?.state === 'tombstone' ? undefined : current
  }

  /** The facts on which the judgement of the next version rests; undefined if it cannot be judged. */
  add(version: VersionRecord): NoncurrentCandidate | undefined {
    // A version that became current again is in both tables for a while.
    if (this.current?.id.equals(version.id)) return undefined
    const successor = this.#successor
    this.#successor = version
    const newerVersions = this.#count++
    return successor && { version, successor, newerVersions }
  }
}

/** The rules that count in a bucket now. */
export function rulesOf(bucket: Bucket): LifecycleRule[] {
  // While a bucket reads through to another store, what a rule deletes here would come back from there.
  return bucket.document('shadow') ? [] : (bucket.document('lifecycle') ?? [])
}

function selectorOf(version: VersionRecord): VersionSelector {
  return version.isNull ? 'null' : version.id
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

function noncurrentFacts({ version, successor, newerVersions }: NoncurrentCandidate): VersionFacts {
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
