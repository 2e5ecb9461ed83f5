import { CarportError } from './errors.js'

/**
 * Formats of stored values. A value begins with one byte, the version of its format: 1 to 127, each kind counting for
 * itself. Reading one tells by that byte which decoder knows it; no stored byte changes its meaning without a new one.
 *
 * The first release wrote most kinds without a version. Such values are told apart by how they look (`unmarked`), and are
 * read for ever: nothing rewrites a store at an upgrade, a value keeps its bytes until it is next written.
 *
 * Values that nodes send each other or compare by their bytes (heads of rows) have one rule more, so that a cluster can be
 * upgraded node by node: a release may only write what the release before it reads. A new format is therefore read by one
 * release and written by the next. That is why the rows that began without a version are still written so
 * (`writes: 'unmarked'`), though version 1 of them can be read.
 */
export interface Format<T> {
  encode(value: T): Buffer
  /** @throws CarportError Corrupted for bytes that no decoder knows, or that a decoder refuses */
  decode(stored: Buffer): T
}

export interface FormatOptions<T> {
  /** Encodes a value without the version. */
  encode(value: T): Buffer
  /** The version that `encode` writes, or 'unmarked' while nodes of the first release must read it. */
  writes: number | 'unmarked'
  /** The decoder of each version, given the bytes after the version. */
  versions: Readonly<Record<number, (payload: Buffer) => T>>
  /** Values of the first release: how to tell them from values with a version, and how to read them. */
  unmarked?: { is(stored: Buffer): boolean; decode(stored: Buffer): T }
}

/** The highest version: bytes above it begin msgpack's maps and arrays, as they were stored without one. */
const VERSION_MAX = 0x7f

/** Whether bytes begin as msgpack's maps and arrays do (and its other values, small numbers apart). */
export function looksLikeMsgpack(stored: Buffer): boolean {
  return stored.length > 0 && stored[0]! > VERSION_MAX
}

/** @param kind the name of the kind of value, for errors: "upload row" */
export function versioned<T>(kind: string, options: FormatOptions<T>): Format<T> {
  const { encode, writes, versions, unmarked } = options
  const known = Object.keys(versions).map(Number)
  if (known.some((version) => version < 1 || version > VERSION_MAX)) {
    throw new CarportError('Internal', `${kind}: versions are 1 to ${VERSION_MAX}`)
  }
  const newest = Math.max(...known)
  const corrupted = (what: string, cause?: unknown) =>
    new CarportError('Corrupted', `${kind}: ${what}`, { cause })
  return {
    encode(value) {
      const payload = encode(value)
      if (writes === 'unmarked') return payload
      const stored = Buffer.allocUnsafe(1 + payload.length)
      stored[0] = writes
      payload.copy(stored, 1)
      return stored
    },
    decode(stored) {
      try {
        if (unmarked?.is(stored)) return unmarked.decode(stored)
        const decode = stored.length > 0 ? versions[stored[0]!] : undefined
        if (decode) return decode(stored.subarray(1))
      } catch (cause) {
        if (cause instanceof CarportError && cause.code === 'Corrupted') throw cause
        throw corrupted('malformed', cause)
      }
      const version = stored[0] ?? 0
      throw version > newest && version <= VERSION_MAX
        ? corrupted(`format ${version} is of a later release: this one reads up to ${newest}`)
        : corrupted('malformed')
    },
  }
}
