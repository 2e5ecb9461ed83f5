import { Packr } from 'msgpackr'
import { assert } from '../../util/assert.js'
import { CarportError } from '../../util/errors.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'
import { type ContentEncryption, decodeContentEncryption } from '../content/ciphers.js'
import {
  type Content,
  type PartInfo,
  type PartTuple,
  packPart,
  unpackPart,
  type VersionId,
} from '../content/refs.js'
import { packChain, unpackChain } from './chain.js'
import {
  CHECKSUM_ALGORITHMS,
  type Chain,
  type ChecksumAlgorithm,
  type Mutable,
  ORIGINS,
  type Origin,
  STORAGE_CLASSES,
  type StorageClass,
  type VersionRecord,
} from './record.js'

/** The least format; each bit that is added to it stands for something more that the row has. */
const FORMAT = 1
/** The row has a place in a chain, which a node that does not know it would order wrongly. */
const CHAINED = 1
/** Behind the owner stands a Last-Modified of its own, in ms. */
const DATED = 2
/** Pages of listings have flags of theirs in the other bits of the first byte. */
const FORMAT_BITS = 0x0f
const DATE_BYTES = 8
const FLAG_LIVE = 1
const FLAG_MARKER = 2
const FLAG_NULL = 4
/** The storage class takes the upper five bits of the flags; zero, as in heads of the first release, is STANDARD. */
const CLASS_SHIFT = 3
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

/**
 * Encodes everything but the body.
 * @throws CarportError Internal for fields of a wrong length, which would shift or cut those after them
 */
export function encodeHead(v: VersionRecord): Buffer {
  assert(v.bucket.length === 16 && v.id.length === 16, 'ids of buckets and versions have 16 bytes')
  assert(v.etag.length === 16, 'an ETag has 16 bytes')
  assert(v.owner.length <= 0xff, "an owner's key id has at most 255 characters")
  const ownerBytes = v.owner.length
  const details = packr.pack(packDetails(v))
  const dateBytes = v.modifiedMs === undefined ? 0 : DATE_BYTES
  const head = Buffer.allocUnsafe(
    AT.owner + 1 + ownerBytes + dateBytes + 16 + 2 + v.key.length + details.length,
  )
  head[0] = FORMAT + (v.chain ? CHAINED : 0) + (dateBytes > 0 ? DATED : 0)
  head[AT.flags] =
    (v.state === 'tombstone' ? 0 : FLAG_LIVE) |
    (v.state === 'marker' ? FLAG_MARKER : 0) |
    (v.isNull ? FLAG_NULL : 0) |
    (v.storageClass === undefined ? 0 : STORAGE_CLASSES.indexOf(v.storageClass) << CLASS_SHIFT)
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
  if (v.modifiedMs !== undefined) {
    writeUint53(head, v.modifiedMs, at)
    at += DATE_BYTES
  }
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
  q?: Buffer
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
  if (v.chain) packed.q = packChain(v.chain)
  return packed
}

/** Sorts the mutable parts by name: equal rows must encode to equal bytes, in whatever order the parts were changed. */
export function canonicalMutable(mutable: Mutable): Mutable {
  return Object.fromEntries(Object.entries(mutable).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false
  return true
}

/** A version read from its head: views and details are made when they are first asked for. */
class DecodedVersion implements VersionRecord {
  readonly state: VersionRecord['state']
  readonly isNull: boolean
  readonly timeUs: number
  readonly generation: number
  readonly createdUs: number
  readonly modifiedMs: number | undefined
  readonly size: number
  readonly etagParts: number
  readonly checksumAlgorithm: ChecksumAlgorithm | undefined
  readonly checksumType: 'FULL_OBJECT' | 'COMPOSITE' | undefined
  readonly storageClass: StorageClass | undefined
  readonly #head: Buffer
  readonly #bucketAt: number
  /** Where the key ends and the details begin. */
  readonly #detailsAt: number
  readonly #loadBody: () => Buffer | undefined
  readonly #isChained: boolean
  #packed: PackedDetails | undefined
  #chain: Chain | undefined
  #body: Buffer | undefined
  #bodyLoaded = false

  constructor(head: Buffer, loadBody: () => Buffer | undefined) {
    if (head.length < AT.owner + 1) throw malformed('cut short')
    const more = head[0]! - FORMAT
    if ((more & ~(CHAINED | DATED)) !== 0) throw malformed('unknown format')
    this.#isChained = (more & CHAINED) !== 0
    const flags = head[AT.flags]!
    this.state = !(flags & FLAG_LIVE) ? 'tombstone' : flags & FLAG_MARKER ? 'marker' : 'object'
    this.isNull = (flags & FLAG_NULL) !== 0
    if (flags >> CLASS_SHIFT !== 0) this.storageClass = STORAGE_CLASSES[flags >> CLASS_SHIFT]
    this.timeUs = readUint53(head, AT.time)
    this.generation = head.readUInt32BE(AT.generation)
    this.createdUs = readUint53(head, AT.created)
    this.size = readUint53(head, AT.size)
    this.etagParts = head.readUInt16BE(AT.etagParts)
    const checksum = head[AT.checksum]!
    if (checksum !== NO_CHECKSUM) {
      this.checksumAlgorithm = CHECKSUM_ALGORITHMS[checksum & ~COMPOSITE]
      this.checksumType = checksum & COMPOSITE ? 'COMPOSITE' : 'FULL_OBJECT'
    }
    let bucketAt = ownerEnd(head)
    if ((more & DATED) !== 0) {
      if (bucketAt + DATE_BYTES > head.length) throw malformed('cut short')
      this.modifiedMs = readUint53(head, bucketAt)
      bucketAt += DATE_BYTES
    }
    const keyAt = bucketAt + 18
    if (keyAt > head.length) throw malformed('cut short')
    const detailsAt = keyAt + head.readUInt16BE(bucketAt + 16)
    if (detailsAt >= head.length) throw malformed('cut short')
    this.#head = head
    this.#bucketAt = bucketAt
    this.#detailsAt = detailsAt
    this.#loadBody = loadBody
  }

  get id(): VersionId {
    return headId(this.#head)
  }
  get etag(): Buffer {
    return this.#head.subarray(AT.etag, AT.etag + 16)
  }
  get owner(): string {
    return this.#head.toString('latin1', AT.owner + 1, ownerEnd(this.#head))
  }
  get bucket(): Buffer {
    return this.#head.subarray(this.#bucketAt, this.#bucketAt + 16)
  }
  get key(): Buffer {
    return this.#head.subarray(this.#bucketAt + 18, this.#detailsAt)
  }

  get #unpacked(): PackedDetails {
    this.#packed ??= packr.unpack(this.#head.subarray(this.#detailsAt)) as PackedDetails
    return this.#packed
  }

  get chain(): Chain | undefined {
    if (!this.#isChained) return undefined
    this.#chain ??= unpackChain(this.#unpacked.q)
    return this.#chain
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
  get encryption(): ContentEncryption | undefined {
    return decodeContentEncryption(this.#unpacked.e)
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

/** Whether a head is of an object or delete marker, not of a tombstone. */
export function isLiveHead(head: Buffer): boolean {
  return (head[AT.flags]! & FLAG_LIVE) !== 0
}

/** Whether a head is of an object, neither delete marker nor tombstone. */
export function isObjectHead(head: Buffer): boolean {
  return (head[AT.flags]! & (FLAG_LIVE | FLAG_MARKER)) === FLAG_LIVE
}

/** The generation of the row; not 0 if a deletion or a conditional write wrote it. */
export function headGeneration(head: Buffer): number {
  return head.readUInt32BE(AT.generation)
}

export function headId(head: Buffer): VersionId {
  return head.subarray(AT.id, AT.id + 16)
}

/** The length of the beginning of a head that holds everything that listings show. */
export function listedBytes(head: Buffer): number {
  return Math.min(head.length, ownerEnd(head) + (isDated(head) ? DATE_BYTES : 0))
}

const ownerEnd = (head: Buffer) => AT.owner + 1 + head[AT.owner]!
const isDated = (head: Buffer) => (((head[0]! & FORMAT_BITS) - FORMAT) & DATED) !== 0

/** The fields of a version that a listing shows, read from the start of its head. */
export interface ListedVersion {
  id: VersionId
  isNull: boolean
  isMarker: boolean
  createdUs: number
  modifiedMs?: number | undefined
  size: number
  /** 32 hex digits, with "-N" if multipart. Without quotes. */
  etag: string
  checksumAlgorithm: ChecksumAlgorithm | undefined
  checksumType: 'FULL_OBJECT' | 'COMPOSITE' | undefined
  storageClass: StorageClass
  owner: string
}

/** Reads the listed part of a head (see `listedBytes`), field by field as they are asked for. */
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
  get modifiedMs(): number | undefined {
    return isDated(this.head) ? readUint53(this.head, ownerEnd(this.head)) : undefined
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
  get storageClass(): StorageClass {
    return STORAGE_CLASSES[this.head[AT.flags]! >> CLASS_SHIFT] ?? 'STANDARD'
  }
  get owner(): string {
    return this.head.toString('latin1', AT.owner + 1, ownerEnd(this.head))
  }
}
