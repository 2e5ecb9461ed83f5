import type { Placement, QuorumCaller } from '../cluster/placement.js'
import type { Db } from '../db/db.js'
import type { NodeId, Transport } from '../net/transport.js'
import type { Clock, Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { WireRow } from './rows.js'

/** What tables need of their node. */
export interface TableEnv {
  readonly db: Db
  readonly transport: Transport
  readonly quorum: QuorumCaller
  readonly placement: Placement
  readonly clock: Clock
  readonly random: Random
  readonly hlc: Hlc
  readonly log: Log
  /** Throws NotSupported while a node is known that does not understand conditional writes, and rows as new as they. */
  readonly mayChange?: () => void
  /** Throws NotSupported while a node is known that has no tables of K2V. */
  readonly mayUseK2v?: () => void
}

/** Keeps the writes that a replica missed, to send them again (see queue.ts). */
export interface MissedWrites {
  add(node: NodeId, table: string, rows: readonly WireRow[]): void
}

/** Deadline of one call for a row, in ms; and of one with a batch or a page, which takes its time on slow links. */
export const CALL_TIMEOUT_MS = 10_000
export const BULK_TIMEOUT_MS = 30_000

/**
 * Takes the newer layout of a node that refused a write for this node's one.
 * @param mark the mark of the layout that it refused
 * @throws CarportError LayoutNotReady if there is none, or it cannot be had
 */
export async function takeNewerLayout(placement: Placement, from: NodeId, mark: number): Promise<void> {
  await placement.catchUp(from)
  if (placement.layoutMark <= mark) throw layoutNotReady()
}

export function layoutNotReady(): CarportError {
  return new CarportError('LayoutNotReady', 'no layout is applied yet')
}
