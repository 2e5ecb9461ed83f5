import { readUint53, writeUint53 } from '../util/uint53.js'

/**
 * Ballots of conditional writes: [HLC time u64 µs][random 8 bytes], compared bytewise. The time alone is not unique, since
 * two nodes may take the same one, and since a clock may go back at a restart.
 */
export type Ballot = Buffer

export const BALLOT_BYTES = 16
export const BALLOT_RANDOM_BYTES = 8

/** @param random 8 bytes */
export function makeBallot(timeUs: number, random: Buffer): Ballot {
  const ballot = Buffer.allocUnsafe(BALLOT_BYTES)
  writeUint53(ballot, timeUs, 0)
  random.copy(ballot, BALLOT_BYTES - BALLOT_RANDOM_BYTES)
  return ballot
}

export function ballotTimeUs(ballot: Ballot): number {
  return readUint53(ballot, 0)
}

/** The greatest ballot of a time. */
export function lastBallotOf(timeUs: number): Ballot {
  return makeBallot(timeUs, LAST)
}

const LAST = Buffer.alloc(BALLOT_RANDOM_BYTES, 0xff)

/** The greater one of two ballots. */
export function laterBallot(a: Ballot | undefined, b: Ballot | undefined): Ballot | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return a.compare(b) >= 0 ? a : b
}

export function isBallot(value: unknown): value is Ballot {
  return Buffer.isBuffer(value) && value.length === BALLOT_BYTES
}
