import { CarportError } from '../../util/errors.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'

/**
 * Who makes dots: one replica's copy of one partition, for as long as it is whole (see DotSource). Eight characters,
 * each of which is a byte, so that the order of strings is that of the bytes.
 */
export type Origin = string

/** A vector clock: of each origin, the latest time (µs) of a dot that is known. */
export type VectorClock = ReadonlyMap<Origin, number>

export const EMPTY_CLOCK: VectorClock = new Map()
export const ORIGIN_BYTES = 8

/** Most origins in a causality token: many more than a row can have seen, which has three for each layout of its bucket. */
export const TOKEN_ORIGINS_MAX = 128
const PAIR_BYTES = 16
const CHECKSUM_BYTES = 8

/** The latest time of an origin, 0 if it is not in the clock. */
export function timeOf(clock: VectorClock, origin: Origin): number {
  return clock.get(origin) ?? 0
}

/** Whether `clock` knows some dot that `seen` does not. */
export function isNewer(clock: VectorClock, seen: VectorClock): boolean {
  for (const [origin, time] of clock) if (time > timeOf(seen, origin)) return true
  return false
}

/** What either of two clocks knows. */
export function joinClocks(a: VectorClock, b: VectorClock): VectorClock {
  const joined = new Map(a)
  for (const [origin, time] of b) if (time > timeOf(joined, origin)) joined.set(origin, time)
  return joined
}

/** The bytes of an origin. */
export function originBytes(origin: Origin): Buffer {
  return Buffer.from(origin, 'latin1')
}

/**
 * A causality token, as Garage writes it: in base64 for URLs without padding, the XOR of all numbers, then pairs of an
 * origin and a time, each number of 8 bytes, in the order of the origins.
 */
export function encodeToken(clock: VectorClock): string {
  const bytes = Buffer.alloc(CHECKSUM_BYTES + clock.size * PAIR_BYTES)
  writePairs(clock, bytes, CHECKSUM_BYTES)
  for (let at = CHECKSUM_BYTES; at < bytes.length; at++) bytes[at % 8]! ^= bytes[at]!
  return bytes.toString('base64url')
}

/** The clock that a causality token stands for; undefined if it is none. Padding and the other base64 are accepted. */
export function parseToken(token: string): VectorClock | undefined {
  if (!/^[A-Za-z0-9_+/-]+={0,2}$/.test(token)) return undefined
  if (token.length > 24 * TOKEN_ORIGINS_MAX) return undefined
  const bytes = Buffer.from(token, 'base64url')
  if (bytes.length < CHECKSUM_BYTES || (bytes.length - CHECKSUM_BYTES) % PAIR_BYTES !== 0) return undefined
  let sum = 0
  for (let i = 0; i < 8; i++) {
    let xor = 0
    for (let at = i; at < bytes.length; at += 8) xor ^= bytes[at]!
    sum |= xor
  }
  return sum === 0 ? parsePairs(bytes.subarray(CHECKSUM_BYTES)) : undefined
}

/** A clock as bytes: pairs of an origin and a time, in the order of the origins. */
export function encodeClock(clock: VectorClock): Buffer {
  const bytes = Buffer.alloc(clock.size * PAIR_BYTES)
  writePairs(clock, bytes, 0)
  return bytes
}

/** Reads what encodeClock wrote. @throws CarportError InvalidArgument */
export function decodeClock(bytes: unknown): VectorClock {
  const clock = Buffer.isBuffer(bytes) && bytes.length % PAIR_BYTES === 0 ? parsePairs(bytes) : undefined
  if (!clock) throw new CarportError('InvalidArgument', 'malformed vector clock')
  return clock
}

function writePairs(clock: VectorClock, bytes: Buffer, start: number): void {
  let at = start
  for (const origin of [...clock.keys()].sort()) {
    bytes.write(origin, at, 'latin1')
    writeUint53(bytes, clock.get(origin)!, at + ORIGIN_BYTES)
    at += PAIR_BYTES
  }
}

/** Undefined if an origin comes twice, or a time is no safe integer. */
function parsePairs(bytes: Buffer): VectorClock | undefined {
  const clock = new Map<Origin, number>()
  for (let at = 0; at < bytes.length; at += PAIR_BYTES) {
    const time = readUint53(bytes, at + ORIGIN_BYTES)
    if (!Number.isSafeInteger(time)) return undefined
    clock.set(bytes.toString('latin1', at, at + ORIGIN_BYTES), time)
  }
  return clock.size === bytes.length / PAIR_BYTES && clock.size <= TOKEN_ORIGINS_MAX ? clock : undefined
}
