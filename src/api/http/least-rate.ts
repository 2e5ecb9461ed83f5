/** The least speed at which a client must send a body. Time in which the node does not want to read does not count. */
export interface LeastRate {
  /** Before this no speed is asked for, in milliseconds. */
  readonly graceMs: number
  /** Average from then on, in bytes per second. */
  readonly bytesPerSecond: number
}

/** For documents, which are held in memory: 20 s, and 4 KiB/s from then on. */
export const DOCUMENT_RATE: LeastRate = { graceMs: 20_000, bytesPerSecond: 4096 }

/**
 * For contents of objects: after a minute, an average of 1 KiB/s since then. A modem of 14 400 bit/s sends 1.7 KiB/s, so
 * that no link on which an upload would ever end is cut off.
 */
export const OBJECT_RATE: LeastRate = { graceMs: 60_000, bytesPerSecond: 1024 }

/** Whether `bytes` in `elapsedMs` are too few. */
export function isBelow(rate: LeastRate, bytes: number, elapsedMs: number): boolean {
  return elapsedMs > rate.graceMs && bytes < ((elapsedMs - rate.graceMs) / 1000) * rate.bytesPerSecond
}
