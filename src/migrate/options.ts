import type { Credentials } from '../api/client/sign.js'
import type { AdminAddress } from './admin-source.js'

/** The store at the other end: an S3 endpoint, or a folder. */
export type OtherStore =
  | {
      kind: 's3'
      endpoint: string
      region: string
      credentials: Credentials | undefined
      admin?: AdminAddress
      /** Whether it is MinIO, whose admin API tells of users. */
      isMinio?: boolean
    }
  | { kind: 'folder'; path: string }

export interface MigrationOptions {
  /** Whether objects come in, or go out. */
  direction: 'in' | 'out'
  other: OtherStore
  /** This cluster's S3 endpoint, and whether it has K2V. */
  own: { endpoint: string; region: string; hasK2v: boolean }
  /** Names both ends: the journal belongs to them once something may be copied. */
  pair: string
  /** Where K2V items come from and go to, if they are to be carried. */
  k2v?: { from: string; to: string }
  /** Whether buckets that are made here are relaxed. */
  relaxed: boolean
  /** Names of buckets; all if it is empty. */
  buckets: readonly string[]
  parallel: number
  removes: boolean
  mode: 'copy' | 'plan' | 'verify'
}
