import type { Lww } from '../../crdt/lww.js'
import type { Ballot } from '../../table/ballot.js'
import type { ContentEncryption } from '../content/ciphers.js'
import type { Content, PartInfo, VersionId } from '../content/refs.js'

/** Checksum algorithms by their stored number (index); the order is part of the format. */
export const CHECKSUM_ALGORITHMS = [
  'CRC32',
  'CRC32C',
  'CRC64NVME',
  'SHA1',
  'SHA256',
  'MD5',
  'SHA512',
  'XXHASH3',
  'XXHASH64',
  'XXHASH128',
] as const
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number]

/**
 * Storage classes by their stored number (index); the order is part of the format. All mean the same to this store:
 * whole copies on disks.
 */
export const STORAGE_CLASSES = [
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
  'OUTPOSTS',
  'SNOW',
  'EXPRESS_ONEZONE',
  'FSX_OPENZFS',
  'FSX_ONTAP',
  'AWS_BACKUP_WARM',
  'AWS_BACKUP_LOW_COST_WARM',
] as const
export type StorageClass = (typeof STORAGE_CLASSES)[number]

/** Parts of a version that change after it was written, each on its own, stamped by HLC µs. `null` means removed. */
export interface Mutable {
  tags?: Lww<Record<string, string> | null>
  retention?: Lww<{ mode: 'GOVERNANCE' | 'COMPLIANCE'; untilMs: number } | null>
  legalHold?: Lww<boolean>
  /** Set while a version that may be locked is being deleted; see deletion.ts. */
  deletion?: Lww<boolean>
  /** Names the last one who set out to change the lock; see deletion.ts. */
  lockIntent?: Lww<string>
  acl?: Lww<unknown>
  /** Time and generation of the row that was settled after the version became current again; see promotion.ts. */
  settled?: Lww<number>
}

/** New values of what may change of a version. */
export type MutableChange = { [K in keyof Mutable]?: NonNullable<Mutable[K]>[1] }

/** The fields of a version that listings do not show. */
export interface VersionDetails {
  /** Response headers as stored: lower-case names, e.g. content-type, cache-control, x-amz-website-redirect-location. */
  headers: Record<string, string>
  /** User metadata: names without the x-amz-meta- prefix, lower case. */
  metadata: Record<string, string>
  checksum?: Buffer
  content: Content
  /** Parts inline if there are at most MAX_ROW_PARTS, else only their number: the rows are in the list table. */
  parts?: PartInfo[]
  partCount?: number
  encryption?: ContentEncryption
  mutable: Mutable
  /** How it was made, for event notifications; by a plain write or a multipart upload unless told. */
  origin?: Origin
}

/** Requests other than PutObject that make an object at once, named as in AWS's events. The order is part of the format. */
export const ORIGINS = ['Post', 'Copy'] as const
export type Origin = (typeof ORIGINS)[number]

/** The place of a row that was written on a condition; see chain.ts. */
export interface Chain {
  /** The id of the plain row at the beginning; zeroes if there was none. */
  readonly root: VersionId
  readonly ballot: Ballot
  /** The random parts of the ids of the last bases, the newest first: at most LINEAGE_MAX. */
  readonly lineage: Buffer
  /** The base was deleted for good: this row shows its predecessor, or nothing, and the base is no noncurrent version. */
  readonly deletes?: true
}

/**
 * A version of an object: a row of the object table (the current one) or of the version table (noncurrent ones).
 * `timeUs` and `generation` order the rows of a key, and `chain` those of one time (see chain.ts).
 */
export interface VersionRecord extends VersionDetails {
  bucket: Buffer
  key: Buffer
  /** 'tombstone': nothing here, keeps older rows from coming back. */
  state: 'object' | 'marker' | 'tombstone'
  /** Whether it is shown as version "null": written while versioning was off or suspended. */
  isNull: boolean
  timeUs: number
  generation: number
  /** Of rows that were written on a condition; those without have generation 0, or are of an earlier version. */
  chain?: Chain
  id: VersionId
  /** When the version was written here, µs. Differs from timeUs if it became current again by a deletion. */
  createdUs: number
  /**
   * Last-Modified as the writer told it, in ms: of versions that came from another store. Orders nothing; absent where
   * Last-Modified is the time of writing.
   */
  modifiedMs?: number
  size: number
  /** MD5, or MD5 of the parts' MD5s, or random where AWS's is no digest. 16 bytes. */
  etag: Buffer
  /** N of an ETag "…-N"; 0 if not multipart. */
  etagParts: number
  /** Algorithm and type of the checksum; the value is among the details. */
  checksumAlgorithm?: ChecksumAlgorithm
  checksumType?: 'FULL_OBJECT' | 'COMPOSITE'
  /** The class that the writer named; absent for STANDARD. */
  storageClass?: StorageClass
  /** Key id of the owner; '' if anonymous. */
  owner: string
  /** Ids of earlier attempts of the same write, which lost to a later row: they must not show up as versions. */
  withdraws?: VersionId[]
  /** The multipart upload that became this version: it ends in the transaction that stores the row. */
  completes?: Buffer
  /** Inline content, if `content.kind` is inline. Loaded when first read. */
  readonly body: Buffer | undefined
}

/**
 * The longest content kept in its row unless the configuration says otherwise, in bytes. A row costs one round trip and shares
 * its fsync with others; a block costs a second round trip, and a file of its own.
 */
export const INLINE_BYTES_MAX = 64 * 1024

/** A plain copy with all fields, to be changed with `{...plain(v), ...}`. */
export function plainVersion(v: VersionRecord): VersionRecord {
  return {
    bucket: v.bucket,
    key: v.key,
    state: v.state,
    isNull: v.isNull,
    timeUs: v.timeUs,
    generation: v.generation,
    ...(v.chain && { chain: v.chain }),
    id: v.id,
    createdUs: v.createdUs,
    ...(v.modifiedMs !== undefined && { modifiedMs: v.modifiedMs }),
    size: v.size,
    etag: v.etag,
    etagParts: v.etagParts,
    ...(v.checksumAlgorithm && { checksumAlgorithm: v.checksumAlgorithm, checksumType: v.checksumType }),
    ...(v.storageClass && { storageClass: v.storageClass }),
    owner: v.owner,
    headers: v.headers,
    metadata: v.metadata,
    ...(v.checksum && { checksum: v.checksum }),
    content: v.content,
    ...(v.parts && { parts: v.parts }),
    ...(v.partCount !== undefined && { partCount: v.partCount }),
    ...(v.encryption !== undefined && { encryption: v.encryption }),
    mutable: v.mutable,
    ...(v.withdraws && { withdraws: v.withdraws }),
    ...(v.origin && { origin: v.origin }),
    ...(v.completes && { completes: v.completes }),
    body: v.body,
  } as VersionRecord
}

/** The ETag of a version, quoted. */
export function etagOf(version: Pick<VersionRecord, 'etag' | 'etagParts'>): string {
  const hex = version.etag.toString('hex')
  return version.etagParts === 0 ? `"${hex}"` : `"${hex}-${version.etagParts}"`
}

/** The times by which a version's Last-Modified and age are told. */
export type Dated = Pick<VersionRecord, 'createdUs' | 'modifiedMs'>

/** Last-Modified of a version, in whole ms. */
export function lastModifiedMs({ modifiedMs, createdUs }: Dated): number {
  return modifiedMs ?? Math.floor(createdUs / 1000)
}

/**
 * The time from which lifecycle rules count a version's days, in ms: its Last-Modified. A rule means the same for an object
 * before and after it moved here, as with AWS's replicas, which keep the age of the original.
 */
export function agesFromMs({ modifiedMs, createdUs }: Dated): number {
  return modifiedMs ?? createdUs / 1000
}
