import type { NodeId } from '../net/transport.js'
import { errorCode } from '../util/errors.js'
import type { LocalTable } from './local.js'
import { missed } from './marks.js'
import type { Standing } from './standing.js'
import { standingOf } from './standing-rpc.js'
import type { SyncSession } from './sync-session.js'
import type { TableEnv } from './table.js'

/**
 * Hands over the partitions of a table that are no longer this node's in any live layout version. Rows of a copy that was
 * whole when it left, and missed no collection of tombstones since, go to the new replicas; other copies are given up.
 * Resolves with whether none is left.
 */
export async function handOver(
  env: TableEnv,
  standing: Standing,
  { local, status }: { local: LocalTable<unknown>; status: { table: string; foreignPartitions: number } },
  session: SyncSession<unknown>,
  signal: AbortSignal,
): Promise<boolean> {
  const { db, log, placement, transport } = env
  status.foreignPartitions = 0
  if (local.schema.placement === 'full' || placement.layoutVersion === 0) return true
  const isForeign = (partition: number) => {
    const replicas = placement.storageSet(partition)
    return placement.layoutVersion > 0 && replicas.length > 0 && !replicas.includes(transport.self)
  }
  let whole = true
  for (let partition = 0; partition < 256; partition++) {
    if (!isForeign(partition) || !local.hasPartition(db, partition)) continue
    status.foreignPartitions++
    const targets = placement.storageSet(partition)
    const isStill = () => isForeign(partition) && sameNodes(targets, placement.storageSet(partition))
    try {
      if (targets.every((node) => transport.isConnected(node))) {
        await handOverTo(env, standing, session, { partition, targets, isStill, signal })
      }
    } catch (error) {
      if (signal.aborted || errorCode(error) === 'Closed') throw error
      log.info({ table: status.table, partition, error }, 'hand-over broke off, to be tried again')
    }
    if (local.hasPartition(db, partition)) whole = false
    else status.foreignPartitions--
  }
  return whole
}

async function handOverTo(
  env: TableEnv,
  standing: Standing,
  session: SyncSession<unknown>,
  move: { partition: number; targets: readonly NodeId[]; isStill: () => boolean; signal: AbortSignal },
): Promise<void> {
  const { partition, targets, isStill, signal } = move
  const answers = await Promise.all(
    targets.map((node) => standingOf(env, standing, node, [partition], signal)),
  )
  const copies = answers.map((answer) => answer?.copies.get(partition))
  // Rows are dropped here when they are there, so they must be there to stay.
  if (answers.some((answer, i) => answer !== undefined && !copies[i]?.whole)) return
  const marks = standing.marks(partition)
  const isGood =
    standing.state(partition) === 'left' && !copies.some((copy) => copy && missed(marks, copy.marks))
  if (isGood) await session.handOver(partition, targets, isStill)
  else await session.giveUp(partition, targets, isStill)
}

function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((node) => b.includes(node))
}
