import type { HistogramData } from './histogram.js'
import type { Target } from './raw-s3.js'

/** The kinds of requests of a load. Keys are `prefix` followed by a number. */
export type Operation =
  | { kind: 'put'; prefix: string; size: number; same?: boolean }
  | { kind: 'get' | 'head'; prefix: string; size: number; keys: number }
  /** Reads objects of the tree of `fill`, spread over the first `count`. */
  | { kind: 'get-tree' | 'head-tree'; count: number }
  | { kind: 'delete'; prefix: string }
  | { kind: 'list'; query: string; walk: boolean }
  | { kind: 'buckets' }
  | { kind: 'multipart'; prefix: string; size: number; partBytes: number; parallel: number }
  | { kind: 'range'; prefix: string; size: number; keys: number; rangeBytes: number }
  | { kind: 'complete'; prefix: string; parts: readonly number[] }
  /** Writes objects of a few bytes, named by treeKey. */
  | { kind: 'fill-tree' }

/** A closed-loop load: `concurrency` requests at a time, for `seconds` or `limit` requests, whichever ends first. */
export interface Job {
  target: Target
  bucket: string
  operation: Operation
  concurrency: number
  seconds: number
  /** The most requests, counted from `first`. */
  limit?: number
  /** Number of the first request. */
  first?: number
}

export interface JobResult {
  requests: number
  errors: number
  /** The first error, in one line. */
  error?: string
  bytes: number
  seconds: number
  latencies: HistogramData
}
