import { type Clock, sleep } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { LocalBlocks } from './local-blocks.js'

/** At the start, blocks written this short before the last one are checked: a crash may have lost their file. */
const CRASH_WINDOW_MS = 60_000
const SUSPECTS_MAX = 100_000
/** Blocks that one transaction queues. */
const BATCH = 500
/** How soon a full disk is tried again, in ms. */
const AGAIN_MS = 1_000

/**
 * Queues blocks that were written just before a crash: they may be claimed without their file.
 * @returns undefined once they are queued; on a disk without room for that, what queues them as soon as there is some, and rejects
 * with the signal's reason
 */
export async function checkLastWrites({
  local: { db, counts },
  clock,
  log,
  signal,
}: {
  local: LocalBlocks
  clock: Clock
  log: Log
  signal: AbortSignal
}): Promise<(() => Promise<void>) | undefined> {
  const [last] = counts.latest(db, 0, 1)
  if (!last) return undefined
  // Freshly written blocks stand in the queue at the time of their write plus the long grace.
  const suspects = counts.latest(db, last.dueMs - CRASH_WINDOW_MS, SUSPECTS_MAX)
  const nowMs = clock.nowMs()
  let at = 0
  const queue = async () => {
    for (; at < suspects.length; at += BATCH)
      await db.transact((tx) => {
        for (const { hash } of suspects.slice(at, at + BATCH)) counts.enqueue(tx, hash, nowMs)
      })
  }
  const hasRoom = () =>
    queue().then(
      () => true,
      (error: unknown) => {
        if (errorCode(error) !== 'StorageFull') throw error
        return false
      },
    )
  if (await hasRoom()) return undefined
  log.warn(
    {},
    'the disk of the metadata is full: blocks that were written last are checked once there is room',
  )
  return async () => {
    do await sleep(clock, AGAIN_MS, signal)
    while (!(await hasRoom()))
  }
}
