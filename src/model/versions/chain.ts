import { BALLOT_BYTES, type Ballot } from '../../table/ballot.js'
import { hash16 } from '../../table/row-keys.js'
import { CarportError } from '../../util/errors.js'
import { NONCE_BYTES, timeOfId, type VersionId } from '../content/refs.js'
import type { Chain, VersionRecord } from './record.js'

/*
 * Where a conditional row stands among the rows of its key. Rows are ordered by (time, root, generation, ballot): a plain row
 * has generation 0 and is its own root; a conditional row keeps time and root of its base, the row that its condition was
 * judged on, and takes the next generation. Two that were judged on the same base have the same place, and the ballot decides
 * between them. So a conditional row wins over its base and all that is older, and loses to every plain row that is written
 * after the base, as if it had come first.
 */
/** A replica that missed more rows of a chain than this cannot tell any more which of its own were current. */
export const LINEAGE_MAX = 8
const ROOT_BYTES = 16

/** The root of a key that had no row. */
const NO_ROOT = Buffer.alloc(ROOT_BYTES)
/** The time of a conditional row on nothing: before all others. */
const NO_TIME_US = 1
/**
 * The root of rows with a generation, but without a chain, as earlier versions wrote them: after all others of their time,
 * as they were ordered then.
 */
const LAST_ROOT = Buffer.alloc(ROOT_BYTES, 0xff)
const NO_BALLOT = Buffer.alloc(0)

/** Where a row stands. */
export type Placed = Pick<VersionRecord, 'timeUs' | 'generation' | 'id' | 'chain'>

export function rootOf(row: Placed): VersionId {
  return row.chain?.root ?? (row.generation === 0 ? row.id : LAST_ROOT)
}

/** Total order of the rows of a key. */
export function compareOrder(a: Placed, b: Placed): number {
  if (a.timeUs !== b.timeUs) return a.timeUs - b.timeUs
  return (
    Buffer.compare(rootOf(a), rootOf(b)) ||
    a.generation - b.generation ||
    Buffer.compare(a.chain?.ballot ?? NO_BALLOT, b.chain?.ballot ?? NO_BALLOT) ||
    Buffer.compare(a.id, b.id)
  )
}

/**
 * Total order of a key's noncurrent versions by when each became current. Ids alone do not give it: a conditional version
 * follows its base, and two ids may have one time.
 */
export function comparePast(a: Placed, b: Placed): number {
  return compareOrder(inPast(a), inPast(b))
}

/** Noncurrent versions have the time of their id, also those that stood at that of their base. */
function inPast(version: Placed): Placed {
  const { generation, id, chain } = version
  if (!chain || chain.root.equals(LAST_ROOT)) return version
  return { timeUs: Math.max(NO_TIME_US, timeOfId(chain.root)), generation, id, chain }
}

/** A row as it stood when it was the current one, to be compared with the one that is. Noncurrent versions have another time since. */
export function asItStood(row: Placed & { createdUs?: number }, current: Placed): Placed {
  if (row.timeUs !== row.createdUs || !row.chain) return row
  const root = rootOf(row)
  if (root.equals(LAST_ROOT) || !root.equals(rootOf(current))) return inPast(row)
  const { generation, id, chain } = row
  return { timeUs: current.timeUs, generation, id, chain }
}

/** Whether both follow from one plain row. */
export function isOfChain(a: Placed, b: Placed): boolean {
  return a.timeUs === b.timeUs && rootOf(a).equals(rootOf(b))
}

/** Whether both were judged on the same base: at most one of them ever took effect. */
export function isOfPlace(a: VersionRecord, b: VersionRecord): boolean {
  return !!a.chain && !!b.chain && a.generation === b.generation && a.chain.root.equals(b.chain.root)
}

/** What rows of one place have in common, and no others. */
export function placeKeyOf({ bucket, key, generation, chain }: VersionRecord): Buffer {
  const number = Buffer.allocUnsafe(4)
  number.writeUInt32BE(generation)
  return hash16(Buffer.concat([bucket, chain!.root, number, key]))
}

/** Whether both are the same row, perhaps under different ballots. */
export function isSameRow(a: Placed, b: Placed): boolean {
  return a.timeUs === b.timeUs && a.generation === b.generation && a.id.equals(b.id) && isOfChain(a, b)
}

/** Whether `row` is, or is not, what `later` of the same chain followed from; 'unknown' if that is too long ago. */
export function isBaseOf(row: Placed, later: Placed): 'yes' | 'no' | 'unknown' {
  const back = later.generation - row.generation
  if (back <= 0) return 'no'
  const lineage = later.chain?.lineage
  const at = (back - 1) * NONCE_BYTES
  if (!lineage || lineage.length < at + NONCE_BYTES) return 'unknown'
  return lineage.subarray(at, at + NONCE_BYTES).equals(nonceOf(row.id)) ? 'yes' : 'no'
}

/** The place of a row that is judged on `base`. */
export function placeAfter(
  base: VersionRecord | undefined,
  ballot: Ballot,
): { timeUs: number; generation: number; chain: Chain } {
  if (!base)
    return { timeUs: NO_TIME_US, generation: 1, chain: { root: NO_ROOT, ballot, lineage: NO_BALLOT } }
  const lineage = Buffer.concat([nonceOf(base.id), base.chain?.lineage ?? NO_BALLOT])
  return {
    timeUs: base.timeUs,
    generation: base.generation + 1,
    chain: { root: rootOf(base), ballot, lineage: lineage.subarray(0, LINEAGE_MAX * NONCE_BYTES) },
  }
}

/** Whether `current` took the place of the version of that id when that was deleted for good. */
export function hasDeleted(current: VersionRecord | undefined, id: VersionId): boolean {
  const { deletes, lineage } = current?.chain ?? {}
  return deletes === true && lineage!.subarray(0, NONCE_BYTES).equals(nonceOf(id))
}

function nonceOf(id: VersionId): Buffer {
  return id.subarray(id.length - NONCE_BYTES)
}

const FLAG_DELETES = 1

/** [flags u8][root 16][ballot 16][lineage] */
export function packChain({ root, ballot, lineage, deletes }: Chain): Buffer {
  return Buffer.concat([Buffer.of(deletes ? FLAG_DELETES : 0), root, ballot, lineage])
}

/** @throws CarportError Corrupted */
export function unpackChain(packed: unknown): Chain {
  const lineageAt = 1 + ROOT_BYTES + BALLOT_BYTES
  if (
    !Buffer.isBuffer(packed) ||
    packed.length < lineageAt ||
    (packed.length - lineageAt) % NONCE_BYTES !== 0
  ) {
    throw new CarportError('Corrupted', 'malformed object row: place in its chain')
  }
  return {
    root: packed.subarray(1, 1 + ROOT_BYTES),
    ballot: packed.subarray(1 + ROOT_BYTES, lineageAt),
    lineage: packed.subarray(lineageAt),
    ...((packed[0]! & FLAG_DELETES) !== 0 && { deletes: true as const }),
  }
}
