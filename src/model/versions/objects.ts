import { compareValues } from '../../crdt/compare.js'
import { type Lww, mergeLww } from '../../crdt/lww.js'
import type { Table } from '../../table/table.js'
import type { Clock, Hlc } from '../../util/clock.js'
import type { Random } from '../../util/random.js'
import type { Versioning } from '../buckets/documents.js'
import type { BlobStore, StoredBody } from '../content/blobs.js'
import type { BlockListRow } from '../content/block-lists.js'
import { contentOf, deleteLists, partRowsOf, writeLists } from '../content/list-rows.js'
import { type Content, NONCE_BYTES, type VersionId, versionId } from '../content/refs.js'
import { canonicalMutable } from './codec.js'
import { type Attempt, ConditionalWrites, type MakeRow, type Precondition } from './conditional-writes.js'
import { type DeletionGuard, VersionDeletion } from './deletion.js'
import { NoncurrentVersions, shownNoncurrent } from './noncurrent.js'
import { isUnsettled, Promotions } from './promotion.js'
import { type MutableChange, plainVersion, type VersionDetails, type VersionRecord } from './record.js'
import { live, MAX_ATTEMPTS, matches, tooManyAttempts, type VersionSelector } from './selector.js'
import { noncurrentOf } from './tables.js'

export type { VersionSelector } from './selector.js'

/** A version as its writer describes it; the store adds ids, times and content when it writes the row. */
export type NewVersion = Pick<
  VersionRecord,
  | 'bucket'
  | 'key'
  | 'modifiedMs'
  | 'etag'
  | 'etagParts'
  | 'owner'
  | 'checksumAlgorithm'
  | 'checksumType'
  | 'storageClass'
> &
  Omit<VersionDetails, 'content'>

/** A version that was written. */
export interface Written {
  row: VersionRecord
  /** Another one was written at the same time, and took its place before a quorum had it. */
  replaced: boolean
}

const NO_ETAG = Buffer.alloc(16)

/** Objects and their versions: reads and writes by quorum. Callers authorize, and know S3's forms. */
export class Objects {
  /** Of each key, the versions that are not the current one. */
  readonly noncurrent: NoncurrentVersions
  readonly #deletion: VersionDeletion
  readonly #conditional: ConditionalWrites
  readonly #promotions: Promotions

  constructor(
    private readonly deps: {
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      lists: Table<BlockListRow>
      blobs: BlobStore
      clock: Clock
      hlc: Hlc
      random: Random
    },
  ) {
    this.noncurrent = new NoncurrentVersions(deps)
    this.#promotions = new Promotions({ ...deps, noncurrent: this.noncurrent })
    this.#conditional = new ConditionalWrites({ ...deps, promotions: this.#promotions })
    this.#deletion = new VersionDeletion({ ...deps, store: this, promotions: this.#promotions })
  }

  /**
   * The selected version; undefined if there is none. Delete markers are returned as such.
   * @param options.body also load inline content (default true)
   * @param options.known for current versions: the reader has the content of that one, which then comes without it
   * @param options.anyReplica for current versions: take the copy of any one replica, which may be an old one
   */
  async get(
    bucket: Buffer,
    key: Buffer,
    selector?: VersionSelector,
    options?: { body?: boolean },
  ): Promise<VersionRecord | undefined> {
    return this.read(bucket, key, selector, options)
  }

  /** As `get`, but where nothing has to be waited for it returns or throws in the same turn. */
  read(
    bucket: Buffer,
    key: Buffer,
    selector?: VersionSelector,
    options?: { body?: boolean; anyReplica?: boolean; known?: VersionId },
  ): VersionRecord | undefined | Promise<VersionRecord | undefined> {
    if (selector !== undefined) return this.#getSelected(bucket, key, selector, options)
    const current = this.deps.objects.read(bucket, key, options)
    if (current instanceof Promise) return current.then((row) => this.#settled(bucket, key, row))
    return this.#settled(bucket, key, current)
  }

  #settled(
    bucket: Buffer,
    key: Buffer,
    row: VersionRecord | undefined,
  ): VersionRecord | undefined | Promise<VersionRecord | undefined> {
    return isUnsettled(row) ? this.#promotions.settle(bucket, key).then(live) : live(row)
  }

  /** The row of a key, tombstones included, without its body. */
  async current(bucket: Buffer, key: Buffer): Promise<VersionRecord | undefined> {
    const row = await this.deps.objects.get(bucket, key, { body: false })
    return isUnsettled(row) ? this.#promotions.settle(bucket, key) : row
  }

  async #getSelected(
    bucket: Buffer,
    key: Buffer,
    selector: 'null' | VersionId,
    options?: { body?: boolean },
  ): Promise<VersionRecord | undefined> {
    const { objects, versions } = this.deps
    const current = await objects.get(bucket, key, options)
    if (matches(current, selector)) {
      if (!isUnsettled(current)) return live(current)
      await this.#promotions.settle(bucket, key)
      return this.#getSelected(bucket, key, selector, options)
    }
    return shownNoncurrent(versions, { bucket, key, selector }, current, options)
  }

  /** @throws CarportError NotSupported while a node is known that cannot read versions with a Last-Modified of their own */
  checkDated(): void {
    this.deps.objects.checkFormats()
  }

  /**
   * Writes a new current version whose body is already stored. Wins over every version acknowledged before it began.
   * @throws QuorumUnavailable; Conflict if others kept being later
   */
  async put(
    version: NewVersion,
    stored: StoredBody,
    versioning: Versioning,
    precondition?: Precondition,
  ): Promise<VersionRecord> {
    return (await this.write(version, stored, versioning, precondition)).row
  }

  /**
   * As `put`; tells also whether the version was replaced before a quorum had it as the current one.
   * @param precondition see ConditionalWrites.insert, also for what else is thrown then
   */
  async write(
    version: NewVersion,
    stored: StoredBody,
    versioning: Versioning,
    precondition?: Precondition,
  ): Promise<Written> {
    const { lists, blobs } = this.deps
    if (version.modifiedMs !== undefined) this.checkDated()
    const insert = async (
      attempt: Attempt,
      isFirst: boolean,
    ): Promise<{ row: VersionRecord; undo: () => Promise<void> }> => {
      // Blocks of another attempt, or of another object, must live until this one's row is there.
      const waits = isFirst && (stored.nonce !== undefined || stored.partsOf !== undefined)
      if (!waits) await blobs.retain(attempt.id, stored.blocks)
      else if (stored.claims) await stored.claims.confirm()
      const place = { bucket: version.bucket, owner: attempt.id, key: version.key }
      const { content, lists: rows } = contentOf(stored, place)
      const partRows = version.parts ? partRowsOf(version.parts, place) : []
      const hasLists = content.kind === 'lists' || partRows.length > 0
      if (hasLists) await writeLists(lists, rows, partRows)
      return {
        row: {
          ...version,
          ...(partRows.length > 0 && { parts: undefined, partCount: version.parts!.length }),
          ...attempt,
          ...(stored.partsOf && { completes: stored.partsOf }),
          state: 'object',
          size: stored.size,
          content,
          body: stored.body,
        },
        undo: async () => {
          if (hasLists) await deleteLists(lists, rows, partRows)
        },
      }
    }
    return this.#insertCurrent(version, versioning, insert, precondition, stored.nonce)
  }

  /**
   * Deletes the key without naming a version: leaves a tombstone where versioning is off, else a delete marker.
   * @param precondition see ConditionalWrites.insert
   * @param modifiedMs Last-Modified of the marker, if it is another time than now
   * @returns the marker or tombstone written
   */
  async delete(
    bucket: Buffer,
    key: Buffer,
    owner: string,
    versioning: Versioning,
    precondition?: Precondition,
    modifiedMs?: number,
  ): Promise<VersionRecord> {
    const isDated = modifiedMs !== undefined && versioning !== 'off'
    if (isDated) this.checkDated()
    const make: MakeRow = async (attempt) => ({
      row: {
        bucket,
        key,
        ...attempt,
        state: versioning === 'off' ? 'tombstone' : 'marker',
        ...(isDated && { modifiedMs }),
        size: 0,
        etag: NO_ETAG,
        etagParts: 0,
        owner,
        headers: {},
        metadata: {},
        content: { kind: 'none' } satisfies Content,
        mutable: {},
        body: undefined,
      },
    })
    const { row } = await this.#insertCurrent({ bucket, key }, versioning, make, precondition)
    return row
  }

  /**
   * Deletes one version for good. If it is the current one, its predecessor becomes current again.
   * @param guard may throw to forbid the deletion of a version; see VersionDeletion for what it is sure of
   * @returns the version that was deleted, undefined if there was none
   */
  deleteVersion(
    bucket: Buffer,
    key: Buffer,
    selector: 'null' | VersionId,
    guard?: DeletionGuard,
  ): Promise<VersionRecord | undefined> {
    return this.#deletion.deleteVersion({ bucket, key, selector, guard })
  }

  /**
   * Changes tags, retention, legal hold or ACL of the selected version.
   * @param change gets the version, returns the new values (it may throw), e.g. `{tags: {...}}`; null removes
   * @param timeOf the time of the new values, in µs; after that of those before unless told
   * @returns the version as changed; undefined if there is none
   */
  async update(
    bucket: Buffer,
    key: Buffer,
    selector: VersionSelector,
    change: (version: VersionRecord) => MutableChange,
    timeOf?: (version: VersionRecord) => number,
  ): Promise<VersionRecord | undefined> {
    const { objects, versions, hlc } = this.deps
    /** What was written of which version, by attempts that did not come to an end. */
    const tried = new Map<string, Lww<unknown>>()
    let sameVersion: VersionId | undefined
    for (let i = 0; i < MAX_ATTEMPTS; i++) {
      let current = await objects.get(bucket, key)
      if (isUnsettled(current)) current = await this.#promotions.settle(bucket, key, current)
      const isCurrent = selector === undefined || matches(current, selector)
      const version = isCurrent ? live(current) : await this.get(bucket, key, selector)
      if (!version) return undefined
      const mutable = { ...version.mutable } as Record<string, Lww<unknown>>
      for (const [name, value] of Object.entries(change(version))) {
        const before = sameVersion?.equals(version.id) ? tried.get(name) : undefined
        const own = mutable[name]
        if (before && compareValues(before[1], value) === 0) {
          // Written already, perhaps to few replicas: with a new stamp it might take effect twice.
          mutable[name] = own ? mergeLww(own, before) : before
          continue
        }
        mutable[name] = [timeOf?.(version) ?? hlc.after(own?.[0] ?? 0), value]
        tried.set(name, mutable[name])
      }
      sameVersion = version.id
      const changed: VersionRecord = { ...plainVersion(version), mutable: canonicalMutable(mutable) }
      if (isCurrent) {
        if (await objects.replace(changed)) return changed
        continue
      }
      await versions.insert(noncurrentOf(changed))
      // Write before reading: a deletion that made this version current again saw the change, or is seen here.
      const now = await objects.get(bucket, key, { body: false })
      if (!now?.id.equals(version.id)) return changed
    }
    throw tooManyAttempts()
  }

  /**
   * As `update`, for retention and legal hold: a concurrent deletion of the version either sees the lock or fails.
   * @throws CarportError Conflict while such a deletion is under way
   */
  updateLock(
    bucket: Buffer,
    key: Buffer,
    selector: VersionSelector,
    change: (version: VersionRecord) => MutableChange,
  ): Promise<VersionRecord | undefined> {
    return this.#deletion.updateLock({ bucket, key, selector }, change)
  }

  /** Inserts the row made by `make`, perhaps a second one with a later time. */
  async #insertCurrent(
    place: { bucket: Buffer; key: Buffer },
    versioning: Versioning,
    make: MakeRow,
    precondition: Precondition | undefined,
    nonce?: Buffer,
  ): Promise<Written> {
    const { objects, versions, hlc, random } = this.deps
    if (precondition) {
      const row = await this.#conditional.insert(place, versioning, precondition, make, nonce)
      return { row, replaced: false }
    }
    const isNull = versioning !== 'enabled'
    const withdraws: VersionId[] = []
    let isFirst = true
    let undo: (() => Promise<void>) | undefined
    const { entry: row, replaced } = await objects.insertLatest(async (laterUs) => {
      const timeUs = laterUs === 0 ? hlc.now() : hlc.after(laterUs)
      const id = versionId(timeUs, (isFirst && nonce) || random.bytes(NONCE_BYTES))
      const made = await make(
        {
          isNull,
          timeUs,
          generation: 0,
          id,
          // What replaces a row from the future is ordered after it, but was made now.
          createdUs: timeUs <= hlc.peers.latestUs() ? timeUs : hlc.now(),
          ...(withdraws.length > 0 && { withdraws: [...withdraws] }),
        },
        isFirst,
      )
      isFirst = false
      if (!isNull) withdraws.push(id)
      undo = made.undo
      return { entry: made.row, ...(undo && { undo }) }
    })
    if (replaced) {
      // Replicas that never had it as the current version could not move it, and nobody else will.
      if (!isNull) await versions.insert(noncurrentOf(row))
      else await undo?.()
    }
    return { row, replaced }
  }
}
