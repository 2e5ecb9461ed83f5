import { UsageError } from './admin-client.js'
import { durationFlag } from './command-line.js'

/** The flags of keys and tokens that expire. */
export interface ExpiryFlags {
  expiresIn?: string
  neverExpires?: boolean
}

/** The part of an update of a key or token that these flags mean; empty without any. */
export type ExpiryUpdate = { expiration?: string; neverExpires?: boolean }

/**
 * Reads --expires-in, a duration that counts from `nowMs` or "infinity", and --never-expires.
 * @throws UsageError
 */
export function readExpiry({ expiresIn, neverExpires }: ExpiryFlags, nowMs: number): ExpiryUpdate {
  if (expiresIn !== undefined && neverExpires)
    throw new UsageError('give one of --expires-in and --never-expires')
  if (neverExpires || expiresIn?.trim() === 'infinity') return { neverExpires: true }
  if (expiresIn === undefined) return {}
  const expires = new Date(nowMs + durationFlag('--expires-in', expiresIn))
  if (Number.isNaN(expires.getTime()) || expires.getUTCFullYear() > 9999) {
    throw new UsageError(`--expires-in is "${expiresIn}", which ends after the year 9999: give "infinity"`)
  }
  return { expiration: expires.toISOString() }
}
