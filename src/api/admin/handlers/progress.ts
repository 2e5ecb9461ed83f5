import type { CatchUpState } from '../../../block/catch-up.js'
import { members, trackedVersion, trackersOf } from '../../../cluster/layout/history.js'
import { type LayoutHistory, newestVersion } from '../../../cluster/layout/types.js'
import type { ClusterProgress, MultiResponse, NodeProgress } from '../types.js'
import type { AdminContext } from './context.js'

/** A share done from which the time left can be told. */
const SHARE_MIN = 0.02

/** What this node has still to do, and the repairs that run on it. */
export function nodeProgress({ catchUp, repairs, clock }: AdminContext): NodeProgress {
  return {
    ...catchUp.state(),
    repairs: repairs
      .list()
      .filter(({ state }) => state === 'busy')
      .map(({ name, startedMs, progress: { checked, changed, done } }) => {
        const elapsedSecs = (clock.monotonicMs() - startedMs) / 1000
        const canTell = done !== undefined && done >= SHARE_MIN
        const secondsLeft = canTell ? Math.ceil((elapsedSecs * (1 - done)) / done) : null
        return { name, checked, changed, share: done ?? null, secondsLeft }
      }),
  }
}

/**
 * The work of all nodes, as they tell it now. It is done only when every node that has or had a role answered, none has anything
 * left, and one version of the layout is live.
 */
export function clusterProgress(
  { cluster }: AdminContext,
  { success, error }: MultiResponse<NodeProgress>,
): ClusterProgress {
  const { history } = cluster.layout
  const { oldest, newest } = cluster.layout.liveVersions
  const states = Object.values(success)
  const isOver = oldest === newest && Object.keys(error).length === 0
  const total = sumOf(states)
  const times = states.flatMap(({ secondsLeft, repairs }) => [
    secondsLeft,
    // A repair that is about to end is not done.
    ...repairs.map((repair) => (repair.secondsLeft === null ? null : Math.max(1, repair.secondsLeft))),
  ])
  const timesKnown = times.filter((seconds) => seconds !== null)
  const isDone = isOver && timesKnown.length === times.length && timesKnown.every((seconds) => seconds === 0)
  // Nodes work at the same time: the slowest counts.
  const slowest = Math.max(0, ...timesKnown)
  const isKnown = isOver && timesKnown.length === times.length
  return {
    done: isDone,
    secondsLeft: isDone ? 0 : isKnown && slowest > 0 ? slowest : null,
    layout: { oldestVersion: oldest, newestVersion: newest, behind: behind(history) },
    total,
    safeToStop: Object.entries(success)
      .filter(([id, { secondsLeft }]) => !cluster.layout.isMember(id) && secondsLeft === 0)
      .filter(() => newest > 0 && total.blocksFailed === 0)
      .map(([id]) => id)
      .sort(),
    nodes: success,
    unknown: error,
  }
}

/** The nodes that a change of the layout under way waits for, in the step that it is in. */
function behind(history: LayoutHistory): string[] {
  const newest = newestVersion(history)
  if (newest === undefined || history.versions.length < 2) return []
  const { version, storageNodes } = newest
  const all = members(history)
  const steps = [
    ['ack', all],
    ['sync', storageNodes],
    ['syncAck', all],
  ] as const
  for (const [tracker, nodes] of steps) {
    const late = nodes.filter((id) => trackedVersion(history, trackersOf(history, id)[tracker]) < version)
    if (late.length > 0) return [...late].sort()
  }
  return []
}

type Total = ClusterProgress['total']

function sumOf(states: readonly CatchUpState[]): Total {
  const total: Total = {
    blocksToFetch: 0,
    blocksFailed: 0,
    partitionsToCompare: 0,
    partitionsToHandOver: 0,
    copiesJoining: 0,
    writesToSend: 0,
    blocksFetched: 0,
    bytesFetched: 0,
    blocksPerSec: 0,
    bytesPerSec: 0,
  }
  for (const state of states) {
    for (const name of Object.keys(total) as (keyof Total)[]) total[name] += state[name] ?? 0
  }
  return total
}
