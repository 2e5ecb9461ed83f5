/** From two figures of a node to what it does in a second. Pure. */
import type { NodeFigures, NodeStatus } from './types.js'

/** A node of `carport top`. Null: not known, since it is down, or does not measure it. */
export interface TopRow {
  id: string
  hostname: string | null
  zone: string | null
  isUp: boolean
  /** Why the node did not answer; null if it did. */
  error: string | null
  /** Requests of S3, K2V and sites that ended in a second, and those of them with a status from 400 and from 500 on. */
  requestsPerSecond: number | null
  clientErrorsPerSecond: number | null
  serverErrorsPerSecond: number | null
  /** Bytes of content that clients sent, and got, in a second. */
  bytesInPerSecond: number | null
  bytesOutPerSecond: number | null
  /** How long requests took, in ms: half of them at most, and 99 of 100. */
  latencyP50Ms: number | null
  latencyP99Ms: number | null
  /** How late timers are, in ms: 99 of 100 at most. */
  loopDelayP99Ms: number | null
  /** The share of one processor. */
  cpu: number | null
  memoryBytes: number | null
  /** Blocks in the resync queue, and entries of all other queues but that of tombstones, which always wait. */
  resyncQueue: number | null
  otherQueues: number | null
  /** The longest round trip to another node, in ms. */
  roundTripMs: number | null
}

/** The APIs that clients of the stored data use. */
const APIS = ['s3', 'k2v', 'web']

type Process = NonNullable<NodeFigures['process']>
type Durations = Process['requests'][string]['durations']

/**
 * @param before figures of the same node; undefined if there are none yet
 * @param error why the node did not answer
 */
export function topRow(
  node: Pick<NodeStatus, 'id' | 'hostname' | 'isUp' | 'role'>,
  before: NodeFigures | undefined,
  now: NodeFigures | undefined,
  error: string | undefined,
): TopRow {
  const rates = rateOf(before, now)
  const current = now?.process
  const queue = (isResync: boolean) =>
    now?.queues
      .filter(({ name }) => name !== 'tombstones' && (name === 'blockResync') === isResync)
      .reduce((sum, { length }) => sum + length, 0) ?? null
  const roundTrips = now?.peers.map(({ roundTripMs }) => roundTripMs) ?? []
  return {
    ...{ id: node.id, hostname: node.hostname, zone: node.role?.zone ?? null, isUp: node.isUp },
    error: error ?? null,
    ...rates,
    loopDelayP99Ms: current ? current.eventLoopDelay.p99 * 1000 : null,
    memoryBytes: current?.memory.rss ?? null,
    resyncQueue: queue(true),
    otherQueues: queue(false),
    roundTripMs: roundTrips.length > 0 ? Math.max(...roundTrips) : null,
  }
}

type Rates = Pick<
  TopRow,
  | 'requestsPerSecond'
  | 'clientErrorsPerSecond'
  | 'serverErrorsPerSecond'
  | 'bytesInPerSecond'
  | 'bytesOutPerSecond'
  | 'latencyP50Ms'
  | 'latencyP99Ms'
  | 'cpu'
>

const UNKNOWN: Rates = {
  ...{ requestsPerSecond: null, clientErrorsPerSecond: null, serverErrorsPerSecond: null },
  ...{ bytesInPerSecond: null, bytesOutPerSecond: null, latencyP50Ms: null, latencyP99Ms: null, cpu: null },
}

function rateOf(before: NodeFigures | undefined, now: NodeFigures | undefined): Rates {
  if (!before?.process || !now?.process) return UNKNOWN
  const seconds = (now.atMs - before.atMs) / 1000
  // A node that was started anew counts from zero.
  if (seconds <= 0 || now.uptimeSecs < before.uptimeSecs) return UNKNOWN
  const [old, current] = [before.process, now.process]
  const perSecond = (of: (process: Process) => number) => Math.max(0, of(current) - of(old)) / seconds
  const durations = difference(durationsOf(old), durationsOf(current))
  return {
    requestsPerSecond: perSecond((process) => requests(process, 'count')),
    clientErrorsPerSecond: perSecond((process) => requests(process, 'clientErrors')),
    serverErrorsPerSecond: perSecond((process) => requests(process, 'serverErrors')),
    bytesInPerSecond: perSecond(({ bytesIn }) => bytesIn),
    bytesOutPerSecond: perSecond(({ bytesOut }) => bytesOut),
    latencyP50Ms: quantileMs(durations, 0.5),
    latencyP99Ms: quantileMs(durations, 0.99),
    cpu: perSecond(({ cpuSecs }) => cpuSecs),
  }
}

function requests({ requests: all }: Process, key: 'count' | 'clientErrors' | 'serverErrors'): number {
  return APIS.reduce((sum, api) => sum + (all[api]?.[key] ?? 0), 0)
}

/** How many requests of all APIs took at most so many seconds. */
function durationsOf({ requests: all }: Process): Durations {
  const counts = new Map<number, number>()
  for (const api of APIS)
    for (const { seconds, count } of all[api]?.durations ?? [])
      counts.set(seconds, (counts.get(seconds) ?? 0) + count)
  return [...counts].sort(([a], [b]) => a - b).map(([seconds, count]) => ({ seconds, count }))
}

function difference(before: Durations, now: Durations): Durations {
  const old = new Map(before.map(({ seconds, count }) => [seconds, count]))
  return now.map(({ seconds, count }) => ({ seconds, count: Math.max(0, count - (old.get(seconds) ?? 0)) }))
}

/**
 * A quantile of a histogram, in ms, taken to lie evenly within its bucket, as Prometheus does; null without requests. Those
 * beyond the last bound are left out.
 */
export function quantileMs(durations: Durations, quantile: number): number | null {
  const total = durations.at(-1)?.count ?? 0
  if (total === 0) return null
  const rank = quantile * total
  let [lower, below] = [0, 0]
  for (const { seconds, count } of durations) {
    if (count >= rank && count > below) {
      // To a microsecond: more digits are noise.
      return Math.round(1e6 * (lower + (seconds - lower) * ((rank - below) / (count - below)))) / 1000
    }
    ;[lower, below] = [seconds, count]
  }
  return 1000 * lower
}
