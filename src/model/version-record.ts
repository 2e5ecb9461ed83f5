import { Packr } from 'msgpackr'
import { CarportError } from '../util/errors.js'
import { decodeEncryption, type Encryption } from './encryption.js'

/** 16 bytes: creation time in µs (8, big-endian), then 8 random bytes. Unique, and ordered by time. */
export type VersionId = Buffer

/** One block of an object's content: SHA-256 of its plain bytes, and their number. */
export interface BlockRef {
  hash: Buffer
  size: number
}

/** Where the content of a version is. Every block and list is owned by the version's id. */
export type Content =
  | { kind: 'none' } // delete markers, tombstones
  | { kind: 'inline' } // in the row's body
  | { kind: 'blocks'; blocks: Buffer } // packed BlockRefs, at most MAX_ROW_BLOCKS
  | { kind: 'lists'; chunkBytes: number[] } // rows of the list table: content bytes covered by each

/** Checksum algorithms by their stored number (index); the order is part of the format. */
export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number]

export interface StoredChecksum {
  algorithm: ChecksumAlgorithm
  /** COMPOSITE values are "checksum of the parts' checksums" and shown with "-N". */
  type: 'FULL_OBJECT' | 'COMPOSITE'
  value: Buffer
}

/** A part of a completed multipart upload, as GetObject?partNumber and GetObjectAttributes show it. */
export interface PartInfo {
  number: number
  size: number
  checksum?: Buffer
  /** Of an encrypted part. */
  iv?: Buffer
}

/** A value with the time (HLC, µs) of its last change; the later one wins, ties by encoded bytes. */
export type Stamped<T> = [timeUs: number, value: T]

/** Parts of a version that change after it was written, each on its own. `null` means removed. */
export interface Mutable {
  tags?: Stamped<Record<string, string> | null>
  retention?: Stamped<{ mode: 'GOVERNANCE' | 'COMPLIANCE'; untilMs: number } | null>
  legalHold?: Stamped<boolean>
  /** Set while a version that may be locked is being deleted; see version-deletion.ts. */
  deletion?: Stamped<boolean>
  acl?: Stamped<unknown>
}

/** What is known of a version beyond what listings show. */
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
  encryption?: Encryption
  mutable: Mutable
  /** How it was made, for event notifications; by a plain write or a multipart upload unless told. */
  origin?: Origin
}

/** Ways to make an object by one request other than PutObject, by the names of AWS's events. The order is part of the format. */
export const ORIGINS = ['Post', 'Copy'] as const
export type Origin = (typeof ORIGINS)[number]

/**
 * A version of an object: a row of the object table (the current one) or of the version table (noncurrent ones).
 * `timeUs` and `generation` order the rows of a key; `id` breaks ties.
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
  id: VersionId
  /** When the version was made, µs: Last-Modified. Differs from timeUs if it became current again by a deletion. */
  createdUs: number
  size: number
  /** MD5, or MD5 of the parts' MD5s, or random where AWS's is no digest. 16 bytes. */
  etag: Buffer
  /** N of an ETag "…-N"; 0 if not multipart. */
  etagParts: number
  /** Algorithm and type of the checksum; the value is among the details. */
  checksumAlgorithm?: ChecksumAlgorithm
  checksumType?: 'FULL_OBJECT' | 'COMPOSITE'
  /** Key id of the owner; '' if anonymous. */
  owner: string
  /** Ids of earlier attempts of the same write, which lost to a later row: they must not show up as versions. */
  withdraws?: VersionId[]
  /** The multipart upload that became this version: it ends in the transaction that stores the row. */
  completes?: Buffer
  /** Inline content, if `content.kind` is inline. Loaded when first read. */
  readonly body: Buffer | undefined
}

export const MAX_INLINE_BYTES = 16 * 1024
export const MAX_ROW_BLOCKS = 64
export const MAX_ROW_PARTS = 64
export const BLOCK_REF_BYTES = 36

const FORMAT = 1
const FLAG_LIVE = 1
const FLAG_MARKER = 2
const FLAG_NULL = 4
const NO_CHECKSUM = 0xff
const COMPOSITE = 0x80

/** Offsets of the fixed part of a head; listings and merges read these without decoding the rest. */
const AT = {
  flags: 1,
  time: 2,
  generation: 10,
  id: 14,
  created: 30,
  size: 38,
  etag: 46,
  etagParts: 62,
  checksum: 64,
  owner: 65,
} as const

const packr = new Packr({ useRecords: false, variableMapSize: true })

/** Writes a time or size (an integer below 2^53) as 8 bytes. */
export function writeUint53(buffer: Buffer, value: number, offset: number): void {
  buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), offset)
  buffer.writeUInt32BE(value % 0x1_0000_0000, offset + 4)
}

export function readUint53(buffer: Buffer, offset: number): number {
  return buffer.readUInt32BE(offset) * 0x1_0000_0000 + buffer.readUInt32BE(offset + 4)
}

/** Encodes everything but the body. */
export function encodeHead(v: VersionRecord): Buffer {
  const ownerBytes = v.owner.length
  const details = packr.pack(packDetails(v))
  const head = Buffer.allocUnsafe(AT.owner + 1 + ownerBytes + 16 + 2 + v.key.length + details.length)
  head[0] = FORMAT
  head[AT.flags] =
    (v.state === 'tombstone' ? 0 : FLAG_LIVE) |
    (v.state === 'marker' ? FLAG_MARKER : 0) |
    (v.isNull ? FLAG_NULL : 0)
  writeUint53(head, v.timeUs, AT.time)
  head.writeUInt32BE(v.generation, AT.generation)
  v.id.copy(head, AT.id)
  writeUint53(head, v.createdUs, AT.created)
  writeUint53(head, v.size, AT.size)
  v.etag.copy(head, AT.etag)
  head.writeUInt16BE(v.etagParts, AT.etagParts)
  head[AT.checksum] =
    v.checksumAlgorithm === undefined
      ? NO_CHECKSUM
      : CHECKSUM_ALGORITHMS.indexOf(v.checksumAlgorithm) | (v.checksumType === 'COMPOSITE' ? COMPOSITE : 0)
  head[AT.owner] = ownerBytes
  let at = AT.owner + 1
  at += head.write(v.owner, at, 'latin1')
  at += v.bucket.copy(head, at)
  at = head.writeUInt16BE(v.key.length, at)
  at += v.key.copy(head, at)
  details.copy(head, at)
  return head
}

/** Short names keep heads small; absent fields are left out. The order of insertion makes the encoding canonical. */
interface PackedDetails {
  h?: Record<string, string>
  m?: Record<string, string>
  k?: Buffer
  b?: Buffer
  l?: number[]
  i?: 1
  p?: PartTuple[]
  n?: number
  e?: unknown
  u?: Mutable
  w?: Buffer[]
  c?: Buffer
  /** Index of the origin. */
  o?: number
}

/** A part as rows keep it: number, size, and where there are any, checksum and IV. */
export type PartTuple = [number: number, size: number, checksum?: Buffer | null, iv?: Buffer]

export function packPart({ number, size, checksum, iv }: PartInfo): PartTuple {
  if (iv) return [number, size, checksum ?? null, iv]
  return checksum ? [number, size, checksum] : [number, size]
}

export function unpackPart([number, size, checksum, iv]: PartTuple): PartInfo {
  return { number, size, ...(checksum && { checksum }), ...(iv && { iv }) }
}

function packDetails(v: VersionRecord): PackedDetails {
  const packed: PackedDetails = {}
  if (!isEmpty(v.headers)) packed.h = v.headers
  if (!isEmpty(v.metadata)) packed.m = v.metadata
  if (v.checksum) packed.k = v.checksum
  if (v.content.kind === 'blocks') packed.b = v.content.blocks
  else if (v.content.kind === 'lists') packed.l = v.content.chunkBytes
  else if (v.content.kind === 'inline') packed.i = 1
  if (v.parts) packed.p = v.parts.map(packPart)
  if (v.partCount !== undefined) packed.n = v.partCount
  if (v.encryption !== undefined) packed.e = v.encryption
  if (!isEmpty(v.mutable)) packed.u = canonicalMutable(v.mutable)
  if (v.withdraws) packed.w = v.withdraws
  if (v.completes) packed.c = v.completes
  if (v.origin) packed.o = ORIGINS.indexOf(v.origin)
  return packed
}

/** Mutable parts in one order, whoever changed them in whatever order: equal rows must encode to equal bytes. */
function canonicalMutable(mutable: Mutable): Mutable {
  return Object.fromEntries(Object.entries(mutable).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false
  return true
}

/** A version read from its head; the details are decoded when something first asks for them. */
class DecodedVersion implements VersionRecord {
  readonly state: VersionRecord['state']
  readonly isNull: boolean
  readonly timeUs: number
  readonly generation: number
  readonly id: VersionId
  readonly createdUs: number
  readonly size: number
  readonly etag: Buffer
  readonly etagParts: number
  readonly checksumAlgorithm: ChecksumAlgorithm | undefined
  readonly checksumType: 'FULL_OBJECT' | 'COMPOSITE' | undefined
  readonly owner: string
  readonly bucket: Buffer
  readonly key: Buffer
  readonly #details: Buffer
  readonly #loadBody: () => Buffer | undefined
  #packed: PackedDetails | undefined
  #body: Buffer | undefined
  #bodyLoaded = false

  constructor(head: Buffer, loadBody: () => Buffer | undefined) {
    if (head.length < AT.owner + 1 || head[0] !== FORMAT) throw malformed('unknown format')
    const flags = head[AT.flags]!
    this.state = !(flags & FLAG_LIVE) ? 'tombstone' : flags & FLAG_MARKER ? 'marker' : 'object'
    this.isNull = (flags & FLAG_NULL) !== 0
    this.timeUs = readUint53(head, AT.time)
    this.generation = head.readUInt32BE(AT.generation)
    this.id = head.subarray(AT.id, AT.id + 16)
    this.createdUs = readUint53(head, AT.created)
    this.size = readUint53(head, AT.size)
    this.etag = head.subarray(AT.etag, AT.etag + 16)
    this.etagParts = head.readUInt16BE(AT.etagParts)
    const checksum = head[AT.checksum]!
    if (checksum !== NO_CHECKSUM) {
      this.checksumAlgorithm = CHECKSUM_ALGORITHMS[checksum & ~COMPOSITE]
      this.checksumType = checksum & COMPOSITE ? 'COMPOSITE' : 'FULL_OBJECT'
    }
    let at = AT.owner + 1 + head[AT.owner]!
    if (at + 18 > head.length) throw malformed('cut short')
    this.owner = head.toString('latin1', AT.owner + 1, at)
    this.bucket = head.subarray(at, at + 16)
    const keyBytes = head.readUInt16BE(at + 16)
    at += 18
    if (at + keyBytes >= head.length) throw malformed('cut short')
    this.key = head.subarray(at, at + keyBytes)
    this.#details = head.subarray(at + keyBytes)
    this.#loadBody = loadBody
  }

  get #unpacked(): PackedDetails {
    this.#packed ??= packr.unpack(this.#details) as PackedDetails
    return this.#packed
  }

  get headers(): Record<string, string> {
    return this.#unpacked.h ?? {}
  }
  get metadata(): Record<string, string> {
    return this.#unpacked.m ?? {}
  }
  get checksum(): Buffer | undefined {
    return this.#unpacked.k
  }
  get content(): Content {
    const packed = this.#unpacked
    if (packed.i) return { kind: 'inline' }
    if (packed.b) return { kind: 'blocks', blocks: packed.b }
    if (packed.l) return { kind: 'lists', chunkBytes: packed.l }
    return { kind: 'none' }
  }
  get parts(): PartInfo[] | undefined {
    return this.#unpacked.p?.map(unpackPart)
  }
  get partCount(): number | undefined {
    return this.#unpacked.n
  }
  get encryption(): Encryption | undefined {
    return decodeEncryption(this.#unpacked.e)
  }
  get mutable(): Mutable {
    return this.#unpacked.u ?? {}
  }
  get withdraws(): VersionId[] | undefined {
    return this.#unpacked.w
  }
  get completes(): Buffer | undefined {
    return this.#unpacked.c
  }
  get origin(): Origin | undefined {
    const { o } = this.#unpacked
    return o === undefined ? undefined : ORIGINS[o]
  }
  get body(): Buffer | undefined {
    if (!this.#bodyLoaded) {
      this.#body = this.#loadBody()
      this.#bodyLoaded = true
    }
    return this.#body
  }
}

/**
 * Reads a head made by encodeHead. The record keeps views into `head`, which must not change afterwards.
 * @throws CarportError Corrupted if the fixed part is malformed.
 */
export function decodeHead(head: Buffer, loadBody: () => Buffer | undefined): VersionRecord {
  return new DecodedVersion(head, loadBody)
}

function malformed(what: string): CarportError {
  return new CarportError('Corrupted', `malformed object row: ${what}`)
}

/** A plain copy with all fields, to be changed with `{...plain(v), ...}`. */
export function plainVersion(v: VersionRecord): VersionRecord {
  return {
    bucket: v.bucket,
    key: v.key,
    state: v.state,
    isNull: v.isNull,
    timeUs: v.timeUs,
    generation: v.generation,
    id: v.id,
    createdUs: v.createdUs,
    size: v.size,
    etag: v.etag,
    etagParts: v.etagParts,
    ...(v.checksumAlgorithm && { checksumAlgorithm: v.checksumAlgorithm, checksumType: v.checksumType }),
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

/** Length of the random part of an id. */
export const NONCE_BYTES = 8

/**
 * The owner of blocks, as the block layer knows it, for a version or part: its id without the time, which is not known
 * yet when the first block is stored. An id is never used twice, and a write that starts over takes another one.
 * @param id a whole id, or its random part
 */
export function blockOwner(id: Buffer): Buffer {
  const owner = Buffer.alloc(16)
  id.copy(owner, 8, id.length - NONCE_BYTES)
  return owner
}

/** Makes a version id for a write at `timeUs`; `random` is 8 bytes. */
export function versionId(timeUs: number, random: Buffer): VersionId {
  const id = Buffer.allocUnsafe(16)
  writeUint53(id, timeUs, 0)
  random.copy(id, 8, 0, 8)
  return id
}

/** Total order of the rows of a key: time, generation, id. */
export function compareOrder(a: VersionRecord, b: VersionRecord): number {
  return a.timeUs - b.timeUs || a.generation - b.generation || Buffer.compare(a.id, b.id)
}

/** Merges the mutable parts of two copies of one version; returns `a` itself if `b` adds nothing. */
export function mergeMutable(a: Mutable, b: Mutable): Mutable {
  let merged = a
  for (const name of ['tags', 'retention', 'legalHold', 'deletion', 'acl'] as const) {
    const theirs = b[name]
    if (theirs && isLater(theirs, a[name])) merged = { ...merged, [name]: theirs }
  }
  return merged
}

function isLater(x: Stamped<unknown>, y: Stamped<unknown> | undefined): boolean {
  if (!y) return true
  if (x[0] !== y[0]) return x[0] > y[0]
  return Buffer.compare(packr.pack(x[1]), packr.pack(y[1])) > 0
}

/** Packs block references for Content and list rows. */
export function packBlocks(blocks: readonly BlockRef[]): Buffer {
  const packed = Buffer.allocUnsafe(blocks.length * BLOCK_REF_BYTES)
  for (let i = 0, at = 0; i < blocks.length; i++, at += BLOCK_REF_BYTES) {
    blocks[i]!.hash.copy(packed, at, 0, 32)
    packed.writeUInt32BE(blocks[i]!.size, at + 32)
  }
  return packed
}

export function unpackBlocks(packed: Buffer): BlockRef[] {
  const blocks: BlockRef[] = []
  for (let at = 0; at + BLOCK_REF_BYTES <= packed.length; at += BLOCK_REF_BYTES) {
    blocks.push({ hash: packed.subarray(at, at + 32), size: packed.readUInt32BE(at + 32) })
  }
  return blocks
}

/** Whether a head is of an object or delete marker, not of a tombstone. */
export function isLiveHead(head: Buffer): boolean {
  return (head[AT.flags]! & FLAG_LIVE) !== 0
}

/** Whether a head is of an object, neither delete marker nor tombstone. */
export function isObjectHead(head: Buffer): boolean {
  return (head[AT.flags]! & (FLAG_LIVE | FLAG_MARKER)) === FLAG_LIVE
}

export function headId(head: Buffer): VersionId {
  return head.subarray(AT.id, AT.id + 16)
}

export function headCreatedUs(head: Buffer): number {
  return readUint53(head, AT.created)
}

/** How many bytes at the start of a head say all that listings show. */
export function listedBytes(head: Buffer): number {
  return Math.min(head.length, AT.owner + 1 + head[AT.owner]!)
}

/** What a listing shows of a version, read from the start of its head. */
export interface ListedVersion {
  id: VersionId
  isNull: boolean
  isMarker: boolean
  createdUs: number
  size: number
  /** 32 hex digits, with "-N" if multipart. Without quotes. */
  etag: string
  checksumAlgorithm: ChecksumAlgorithm | undefined
  checksumType: 'FULL_OBJECT' | 'COMPOSITE' | undefined
  owner: string
}

/** Reads the listed part of a head (at least its fixed part and the owner), field by field as they are asked for. */
export function readListed(head: Buffer): ListedVersion {
  return new ListedHead(head)
}

class ListedHead implements ListedVersion {
  constructor(private readonly head: Buffer) {}

  get id(): VersionId {
    return headId(this.head)
  }
  get isNull(): boolean {
    return (this.head[AT.flags]! & FLAG_NULL) !== 0
  }
  get isMarker(): boolean {
    return (this.head[AT.flags]! & FLAG_MARKER) !== 0
  }
  get createdUs(): number {
    return readUint53(this.head, AT.created)
  }
  get size(): number {
    return readUint53(this.head, AT.size)
  }
  get etag(): string {
    const parts = this.head.readUInt16BE(AT.etagParts)
    const hex = this.head.toString('hex', AT.etag, AT.etag + 16)
    return parts === 0 ? hex : `${hex}-${parts}`
  }
  get checksumAlgorithm(): ChecksumAlgorithm | undefined {
    return CHECKSUM_ALGORITHMS[this.head[AT.checksum]! & ~COMPOSITE]
  }
  get checksumType(): 'FULL_OBJECT' | 'COMPOSITE' | undefined {
    const checksum = this.head[AT.checksum]!
    if (checksum === NO_CHECKSUM) return undefined
    return checksum & COMPOSITE ? 'COMPOSITE' : 'FULL_OBJECT'
  }
  get owner(): string {
    return this.head.toString('latin1', AT.owner + 1, AT.owner + 1 + this.head[AT.owner]!)
  }
}
