import type { NodeId } from '../net/transport.js'
import type { Joins } from './joins.js'
import type { LocalTable } from './local.js'
import { missed, NO_MARKS } from './marks.js'
import { copyOf, type Standing } from './standing.js'
import type { PeerCopy, PeerStanding } from './standing-rpc.js'
import type { Comparison } from './sync-session.js'

/** What to compare with a peer. */
export interface Comparisons {
  readonly comparisons: Comparison[]
  /** To be called with the table's name when a partition of a joining copy was compared. */
  readonly ends: Map<number, (table: string) => void>
  /** False if some partition has to wait until the copy here or there is whole. */
  readonly isWhole: boolean
}

/**
 * Which partitions of a table are to be compared with a peer, and how, by what both copies are worth. Whole copies give
 * and take; a joining one takes from whole ones, on its own initiative. A copy that missed a collection in which the other
 * one took part begins to join, here at once, there by the question that was asked for `theirs`.
 * @param theirs undefined for a peer of an earlier release: its copies take part in no collection, and keep any from being
 *   made with them
 */
export function comparisonsWith(
  standing: Standing,
  joins: Joins,
  local: LocalTable<unknown>,
  peer: NodeId,
  partitions: readonly number[],
  theirs: PeerStanding | undefined,
): Comparisons {
  const comparisons: Comparison[] = []
  const ends = new Map<number, (table: string) => void>()
  let isWhole = true
  for (const partition of partitions) {
    const copy = copyOf(local.schema, partition)
    const other: PeerCopy | undefined = theirs
      ? theirs.copies.get(copy)
      : { whole: true, marks: NO_MARKS, knowsUs: true }
    if (!other?.whole || !other.knowsUs) {
      isWhole = false
      continue
    }
    if (standing.votes(copy) && missed(standing.marks(copy), other.marks)) {
      standing.demote(copy, 'it missed a collection of tombstones')
    }
    const isJoining = standing.state(copy) === 'joining'
    if (!isJoining && (!standing.votes(copy) || missed(other.marks, standing.marks(copy)))) {
      isWhole = false
      continue
    }
    const end = joins.begin(copy, peer, other.marks)
    if (end) ends.set(partition, end)
    comparisons.push({ partition, joins: isJoining })
  }
  return { comparisons, ends, isWhole }
}
