import type { Memory } from './proc.js'

/** A figure of one store in one cell of a workload. */
export type Result = LoadResult | LatencyResult | ValueResult | Skipped

interface Place {
  workload: string
  cell: string
  store: string
}

/** The figures of a closed loop of requests. */
export interface LoadResult extends Place {
  kind: 'load'
  /** Requests per second: median of the rounds, which follow. */
  rate: number
  rates: number[]
  /** Latency in ms over all rounds. */
  p50: number | undefined
  p99: number | undefined
  /** Content moved, MiB per second, median. */
  mibPerSecond: number
  /** CPU time of the server's processes per request, in µs, median; undefined without pids. */
  cpuUs: number | undefined
  /** Highest memory during the measurements, in bytes. */
  memory: Memory | undefined
  errors: number
  error?: string
  /** The first store's rate and CPU per request, divided by this one's; absent for the first store. */
  firstToThis?: { rate: number | undefined; cpu: number | undefined }
}

/** The figures of single requests between zones, one at a time. */
export interface LatencyResult extends Place {
  kind: 'latency'
  requests: number
  p50: number | undefined
  p99: number | undefined
  /** The median in round trips between zones. */
  roundTrips: number | undefined
  errors: number
  error?: string
}

export interface ValueResult extends Place {
  kind: 'value'
  value: number
  unit: 'ms' | 's' | 'bytes' | 'ratio'
}

export interface Skipped extends Place {
  kind: 'skipped'
  reason: string
}
