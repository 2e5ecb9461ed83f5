import { type Ballot, ballotTimeUs } from '../../table/ballot.js'
import type { Table } from '../../table/table.js'
import type { Hlc } from '../../util/clock.js'
import type { Random } from '../../util/random.js'
import type { Versioning } from '../buckets/documents.js'
import { NONCE_BYTES, type VersionId, versionId } from '../content/refs.js'
import { placeAfter } from './chain.js'
import { isUnsettled, type Promotions } from './promotion.js'
import type { Chain, VersionRecord } from './record.js'
import { live } from './selector.js'
import { withdrawnOf } from './tables.js'

/**
 * Throws if a write must not take place. It may be asked several times.
 * @param current what the key has: an object, a delete marker, or undefined for nothing
 * @param row the key's row: a tombstone, too, which says that something was deleted a short while ago
 */
export type Precondition = (current: VersionRecord | undefined, row: VersionRecord | undefined) => void

/** The fields that are new at each attempt of a write. */
export interface Attempt {
  isNull: boolean
  timeUs: number
  generation: number
  chain?: Chain
  id: VersionId
  createdUs: number
  withdraws?: VersionId[]
}

/** Makes the row of an attempt; `undo` takes back what was written for this attempt only. */
export type MakeRow = (
  attempt: Attempt,
  isFirst: boolean,
) => Promise<{ row: VersionRecord; undo?: () => Promise<void> }>

/** Writes of new current versions that depend on the one before; Table.change has the protocol. */
export class ConditionalWrites {
  constructor(
    private readonly deps: {
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      promotions: Promotions
      hlc: Hlc
      random: Random
    },
  ) {}

  /**
   * Writes a row in place of a current one for which `precondition` does not throw.
   * @param nonce the random part of the first attempt's id
   * @returns the row that took effect
   * @throws what `precondition` throws, if nothing was written; CarportError as Table.change
   */
  insert(
    { bucket, key }: { bucket: Buffer; key: Buffer },
    versioning: Versioning,
    precondition: Precondition,
    make: MakeRow,
    nonce?: Buffer,
  ): Promise<VersionRecord> {
    const { objects, versions, hlc, promotions, random } = this.deps
    const isNull = versioning !== 'enabled'
    const undos = new Map<string, () => Promise<void>>()
    let isFirst = true
    const attemptAfter = (
      base: VersionRecord | undefined,
      ballot: Ballot,
      dead: readonly VersionRecord[],
    ) => {
      const timeUs = ballotTimeUs(ballot)
      return {
        isNull,
        ...placeAfter(base, ballot),
        id: versionId(timeUs, (isFirst && nonce) || random.bytes(NONCE_BYTES)),
        createdUs: timeUs <= hlc.peers.latestUs() ? timeUs : hlc.now(),
        ...(!isNull && dead.length > 0 && { withdraws: dead.map(({ id }) => id) }),
      }
    }
    return objects.change(bucket, key, {
      decide: async (base, ballot, dead) => {
        if (isUnsettled(base)) {
          await promotions.settle(bucket, key)
          return 'again'
        }
        precondition(live(base), base)
        const { row, undo } = await make(attemptAfter(base, ballot, dead), isFirst)
        isFirst = false
        if (undo) undos.set(row.id.toString('hex'), undo)
        return row
      },
      abandon: async (dead) => {
        await versions.insertMany(dead.map(withdrawnOf))
        for (const { id } of dead) await undos.get(id.toString('hex'))?.()
      },
    })
  }
}
