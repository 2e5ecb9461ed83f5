import type { Table } from '../../table/table.js'
import { versionSortKey } from '../sort-keys.js'
import { asItStood, compareOrder, isBaseOf, isOfChain, isSameRow, type Placed } from './chain.js'
import { noncurrentCopy } from './noncurrent.js'
import type { VersionRecord } from './record.js'
import { live } from './selector.js'

/** A row of the object table that was written on a condition, as far as it takes to find out what became of it. */
export interface ConditionalRow extends Placed {
  bucket: Buffer
  key: Buffer
  isNull: boolean
  /** Of a noncurrent version, which has it as its time. */
  createdUs?: number
}

/**
 * - 'won': it took effect; 'lost': it never did, and never will;
 * - 'open': others may still finish it;
 * - 'hidden': a later row that is not of its chain does not tell;
 * - 'outrun': its chain has gone on, so far that its newest row does not tell.
 */
export type RowFate = 'won' | 'lost' | 'open' | 'hidden' | 'outrun'

/** What became of a row, by the one that a quorum has now. @throws CarportError QuorumUnavailable, LayoutNotReady */
export async function fateByCurrent(
  objects: Table<VersionRecord>,
  row: ConditionalRow,
): Promise<{ fate: RowFate; current: VersionRecord | undefined }> {
  const current = await objects.get(row.bucket, row.key, { body: false })
  return { fate: current ? fateBeside(asItStood(row, current), current) : 'open', current }
}

function fateBeside(row: Placed, current: VersionRecord): RowFate {
  if (isSameRow(row, current)) return 'won'
  if (!isOfChain(row, current)) return compareOrder(row, current) > 0 ? 'open' : 'hidden'
  if (current.generation < row.generation) return 'open'
  const isBase = isBaseOf(row, current)
  return isBase === 'unknown' ? 'outrun' : isBase === 'yes' ? 'won' : 'lost'
}

/**
 * Whether a row took effect, as well as can be told at once. A later row that was not written on a condition may hide it, and the
 * tombstone of a deletion may have been collected since: it counts as one that won then, unless it was withdrawn, or should have
 * become a noncurrent version and did not. That is not said before its coordinator had the time to withdraw it: a replica that
 * alone took it may hold it as a noncurrent version until then.
 * @param isSettled whether it had that time, and @param isOld whether no coordinator is left that could finish it (see Contests)
 * @throws CarportError QuorumUnavailable, LayoutNotReady
 */
export async function tookEffect(
  { objects, versions }: { objects: Table<VersionRecord>; versions: Table<VersionRecord> },
  row: ConditionalRow,
  { isSettled, isOld }: { isSettled: boolean; isOld: boolean },
): Promise<'yes' | 'no' | 'open'> {
  const { fate, current } = await fateByCurrent(objects, row)
  if (fate === 'won') return 'yes'
  if (fate === 'lost') return 'no'
  const isForgotten = isOld && current === undefined
  if (fate === 'open' && !isForgotten) return 'open'
  const { bucket, key, id, isNull } = row
  const version = await versions.get(bucket, versionSortKey(key, id, false), { body: false })
  if (version?.withdraws) return 'no'
  // What was deleted by its id was there; and its tombstone may be collected before anybody asks again.
  if (version?.state === 'tombstone') return 'yes'
  if (!isSettled) return 'open'
  if (isNull || version) return 'yes'
  const copy = await noncurrentCopy(versions, { bucket, key, selector: id }, current, { body: false })
  return live(copy)?.id.equals(id) ? 'yes' : 'no'
}
