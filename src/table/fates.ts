import type { NodeId } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import type { Row } from './rows.js'
import type { ConditionalRows } from './schema.js'
import type { Prepared } from './votes.js'

/** What became of the rows that a coordinator proposed before. */
export interface Fates<E> {
  /** The one that took effect. */
  chosen: E | undefined
  /** Those that never did, and never will. */
  dead: E[]
  /** Whether some did not, but others may still finish them. */
  isOpen: boolean
}

/**
 * What became of earlier proposals, now that `base` is on a quorum that has promised a later ballot.
 * @param witnesses the processes of replicas that answered before the first proposal: these remember it, if they had it
 * @throws CarportError QuorumUnavailable if nobody can tell: a later plain row hides what was there, and a replica may have had
 * the proposal before
 */
export function fatesOf<E>(
  rows: ConditionalRows<E>,
  proposed: readonly Row<E>[],
  base: Row<E> | undefined,
  prepared: readonly Prepared<E>[],
  witnesses: ReadonlyMap<NodeId, string>,
): Fates<E> {
  const fates: Fates<E> = { chosen: undefined, dead: [], isOpen: false }
  const never = prepared.every(({ node, had, instance }) => !had && witnesses.get(node) === instance)
  const fateOf = (entry: E) => (base ? rows.fateOf(entry, base.entry) : 'open')
  const chosen = proposed.find(({ entry }) => fateOf(entry) === 'chosen')
  if (chosen) return { ...fates, chosen: chosen.entry }
  for (const { entry } of proposed) {
    const fate = fateOf(entry)
    if (fate === 'dead' || (fate === undefined && never)) fates.dead.push(entry)
    else if (fate === 'open') fates.isOpen = true
    else throw unknownOutcome(undefined)
  }
  return fates
}

export function unknownOutcome(cause: unknown): CarportError {
  return new CarportError('QuorumUnavailable', 'a conditional write may or may not have taken effect', {
    cause,
  })
}
