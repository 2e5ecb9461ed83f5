import type { ByteStream } from '../net/transport.js'
import { CarportError } from '../util/errors.js'
import type { BlockRefRow } from './block-ref.js'
import { CLAIMANT_BYTES, type Claim, INCARNATION_BYTES, OWNER_BYTES } from './claims.js'
import {
  BLOCK_BYTES_MAX,
  FILE_HEAD_BYTES,
  FILE_VERSION,
  HASH_BYTES,
  HEAD_BYTES,
  isIntact,
  parseFileHead,
  type StoredBlock,
} from './format.js'

/** Methods of the block layer; `check…` validates a body from outside. */
export const METHODS = {
  put: 'block/put',
  get: 'block/get',
  need: 'block/need',
  retain: 'block/retain',
  carry: 'block/carry',
  claims: 'block/claims',
  release: 'block/release',
  started: 'block/started',
  carrying: 'block/carrying',
} as const

export interface PutRequest {
  hash: Buffer
  owner: Buffer
  /** The process that stores it; absent in requests of nodes of the first release. */
  incarnation?: Buffer
  head: Buffer
  /** Absent when it follows as a stream of `bytes` bytes. */
  payload?: Buffer
  bytes?: number
}

/** Several hashes at once, at most this many. */
export const HASHES_MAX = 4096

function invalid(what: string): CarportError {
  return new CarportError('InvalidArgument', `malformed request: ${what}`)
}

function field(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[name] : undefined
}

function buffer(body: unknown, name: string, bytes?: number): Buffer {
  const value = field(body, name)
  if (!Buffer.isBuffer(value) || (bytes !== undefined && value.length !== bytes)) throw invalid(name)
  return value
}

/** The length of the payload that follows a put as a stream, in bytes; 0 if it is part of the body. @throws CarportError InvalidArgument */
export function streamedBytes(body: unknown): number {
  const bytes = field(body, 'bytes')
  if (bytes === undefined) return 0
  if (!isPayloadLength(bytes)) throw invalid('bytes')
  return bytes
}

function isPayloadLength(bytes: unknown): bytes is number {
  return Number.isInteger(bytes) && Number(bytes) >= 0 && Number(bytes) <= BLOCK_BYTES_MAX
}

/**
 * Takes the block of a put, and reads its stream to the end if the payload comes as one.
 * @throws CarportError InvalidArgument; Corrupted if the head is malformed, or if `verify` and its checksum does not hold
 */
export async function receivePut(
  body: unknown,
  stream: ByteStream | undefined,
  verify: boolean,
): Promise<{ hash: Buffer; owner: Buffer; block: StoredBlock }> {
  const hash = buffer(body, 'hash', HASH_BYTES)
  const owner = buffer(body, 'owner', OWNER_BYTES)
  const head = buffer(body, 'head')
  if (head.length !== HEAD_BYTES && head.length !== FILE_HEAD_BYTES) throw invalid('head')
  const parsed = parseFileHead(head, hash).head
  const bytes = streamedBytes(body)
  const streamed = bytes > 0 && stream ? await collect(stream, bytes) : undefined
  if (bytes > 0 && !streamed) throw invalid('payload')
  const block = { head: parsed, payload: streamed ?? buffer(body, 'payload') }
  if (verify && !isIntact(block)) throw new CarportError('Corrupted', 'the block was damaged on its way')
  return { hash, owner, block }
}

export function checkGet(body: unknown): Buffer {
  return buffer(body, 'hash', HASH_BYTES)
}

/** Whether the one who asks for a block knows heads that name it. */
export function asksForHash(body: unknown): boolean {
  return Number(field(body, 'version')) >= FILE_VERSION
}

export function checkHashes(body: unknown): Buffer[] {
  const hashes = field(body, 'hashes')
  if (!Array.isArray(hashes) || hashes.length > HASHES_MAX) throw invalid('hashes')
  for (const hash of hashes) if (!Buffer.isBuffer(hash) || hash.length !== HASH_BYTES) throw invalid('hashes')
  return hashes
}

export function checkOwner(body: unknown): Buffer {
  return buffer(body, 'owner', OWNER_BYTES)
}

/** The name of the calling process; undefined in calls of nodes of the first release. @throws CarportError InvalidArgument */
export function optionalIncarnation(body: unknown): Buffer | undefined {
  return field(body, 'incarnation') === undefined ? undefined : checkIncarnation(body)
}

/** @throws CarportError InvalidArgument */
export function checkIncarnation(body: unknown): Buffer {
  return buffer(body, 'incarnation', INCARNATION_BYTES)
}

const NO_CLAIMANT = Buffer.alloc(CLAIMANT_BYTES)
const TIME_BYTES = 8
const CLAIM_BYTES = HASH_BYTES + OWNER_BYTES + TIME_BYTES + CLAIMANT_BYTES

/** Encodes claims: hash, owner, expiry (ms since the epoch, a double) and claimant (zero if unknown) of each. */
export function packClaims(claims: readonly Claim[]): Buffer {
  const packed = Buffer.allocUnsafe(claims.length * CLAIM_BYTES)
  let at = 0
  for (const { hash, owner, untilMs, by = NO_CLAIMANT } of claims) {
    at += hash.copy(packed, at)
    at += owner.copy(packed, at)
    at = packed.writeDoubleBE(untilMs, at)
    at += by.copy(packed, at)
  }
  return packed
}

/** A peer's answer with claims. @throws CarportError RemoteError */
export function checkClaimsPage(body: unknown): { claims: Claim[]; next: Buffer | undefined } {
  const packed = field(body, 'claims')
  const next = field(body, 'next')
  const isNext = next === undefined || (Buffer.isBuffer(next) && next.length === HASH_BYTES + OWNER_BYTES)
  if (!Buffer.isBuffer(packed) || packed.length % CLAIM_BYTES !== 0 || !isNext) {
    throw new CarportError('RemoteError', 'malformed reply about claims')
  }
  const claims: Claim[] = []
  for (let at = 0; at < packed.length; at += CLAIM_BYTES) {
    const owner = at + HASH_BYTES
    const time = owner + OWNER_BYTES
    const by = packed.subarray(time + TIME_BYTES, at + CLAIM_BYTES)
    claims.push({
      hash: packed.subarray(at, owner),
      owner: packed.subarray(owner, time),
      untilMs: packed.readDoubleBE(time),
      by: by.equals(NO_CLAIMANT) ? undefined : by,
    })
  }
  return { claims, next: next as Buffer | undefined }
}

/** @throws CarportError InvalidArgument */
export function checkClaimsRequest(body: unknown): { partitions: number[]; after: Buffer | undefined } {
  const partitions = field(body, 'partitions')
  const isPartition = (value: unknown) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < 256
  if (!Array.isArray(partitions) || partitions.length > 256 || !partitions.every(isPartition)) {
    throw invalid('partitions')
  }
  const hasAfter = field(body, 'after') !== undefined
  return { partitions, after: hasAfter ? buffer(body, 'after', HASH_BYTES + OWNER_BYTES) : undefined }
}

/** A reference that another node shall carry; of a deleted one, the row that it was of (see ReferenceQueue.isGone). */
export interface CarriedReference extends BlockRefRow {
  source?: Buffer
}

/**
 * Encodes references that another node shall carry: [hash, owner, deleted, which of `sources`] of each. Nodes of an earlier
 * release carry them without asking for their rows.
 */
export function packReferences(rows: readonly CarriedReference[]): object {
  const places = new Map<string, number>()
  const sources: Buffer[] = []
  const placeOf = (source: Buffer) => {
    const name = source.toString('latin1')
    const known = places.get(name)
    if (known !== undefined) return known
    places.set(name, sources.length)
    return sources.push(source) - 1
  }
  const references = rows.map(({ hash, owner, deleted, source }) => [
    ...[hash, owner, deleted],
    ...(source ? [placeOf(source)] : []),
  ])
  return { references, sources }
}

/** @throws CarportError InvalidArgument */
export function checkReferences(body: unknown): CarriedReference[] {
  const rows = field(body, 'references')
  const sources = field(body, 'sources') ?? []
  if (!Array.isArray(rows) || rows.length > HASHES_MAX) throw invalid('references')
  if (!Array.isArray(sources) || !sources.every((source) => Buffer.isBuffer(source))) throw invalid('sources')
  return rows.map((row: unknown) => {
    if (!Array.isArray(row)) throw invalid('references')
    const [hash, owner, deleted, at] = row as unknown[]
    const source: unknown = at === undefined ? undefined : sources[Number(at)]
    const isSane =
      Buffer.isBuffer(hash) &&
      hash.length === HASH_BYTES &&
      Buffer.isBuffer(owner) &&
      owner.length === OWNER_BYTES &&
      typeof deleted === 'boolean' &&
      (at === undefined || Buffer.isBuffer(source))
    if (!isSane) throw invalid('references')
    return { hash, owner, deleted, ...(Buffer.isBuffer(source) && { source }) }
  })
}

/** The first and last entry of a node's queue of references; undefined if it is empty. @throws CarportError RemoteError */
export function checkQueueEnds(body: unknown): { first: Buffer; last: Buffer } | undefined {
  const [first, last] = [field(body, 'first'), field(body, 'last')]
  if (first === null && last === null) return undefined
  if (Buffer.isBuffer(first) && Buffer.isBuffer(last)) return { first, last }
  throw new CarportError('RemoteError', 'malformed reply about references to be carried')
}

/** A peer's answers, yes or no, to `count` hashes. */
export function checkFlags(body: unknown, name: string, count: number): boolean[] {
  const flags = field(body, name)
  if (!Array.isArray(flags) || flags.length !== count || flags.some((value) => typeof value !== 'boolean')) {
    throw new CarportError('RemoteError', 'malformed reply about blocks')
  }
  return flags
}

/**
 * Reads a reply to 'block/get' to its end; undefined if the peer does not have the block. With `found` its body has the head,
 * and the number of bytes of the payload, which follows as a stream. `isNamed` tells that the peer vouches for its hash.
 */
export async function receiveBlock(
  body: unknown,
  stream: ByteStream | undefined,
  hash: Buffer,
): Promise<{ block: StoredBlock; isNamed: boolean } | undefined> {
  if (field(body, 'found') !== true || !stream) return undefined
  const bytes = field(body, 'bytes')
  const head = field(body, 'head')
  const payload = await collect(stream, isPayloadLength(bytes) ? bytes : -1)
  if (!payload || !Buffer.isBuffer(head))
    throw new CarportError('RemoteError', 'malformed reply to block/get')
  const { head: own, isNamed } = parseFileHead(head, hash)
  const block = { head: own, payload }
  if (!isIntact(block)) throw new CarportError('Corrupted', 'the block came damaged')
  return { block, isNamed }
}

/** Reads a stream of just so many bytes; undefined, and the rest is not read, if it has another length. */
async function collect(stream: ByteStream, bytes: number): Promise<Buffer | undefined> {
  let filled = 0
  let payload: Buffer | undefined
  for await (const chunk of stream) {
    if (filled + chunk.length > bytes) return undefined
    // A block in one piece is passed on as it is, without a copy.
    if (filled === 0 && chunk.length === bytes) payload = chunk
    else {
      payload ??= Buffer.allocUnsafeSlow(bytes)
      chunk.copy(payload, filled)
    }
    filled += chunk.length
  }
  return filled === bytes ? (payload ?? Buffer.alloc(0)) : undefined
}

/**
 * A stream of one buffer that calls `onEnd` exactly once: when it was taken whole, was returned, even before it began,
 * or `signal` aborted.
 */
export function singleChunk(chunk: Buffer, signal: AbortSignal, onEnd: () => void): ByteStream {
  let ended = false
  let given = false
  const end = () => {
    if (ended) return
    ended = true
    signal.removeEventListener('abort', end)
    onEnd()
  }
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end()
  const iterator: AsyncIterator<Buffer> = {
    next: async () => {
      if (!given && !ended) {
        given = true
        return { done: false, value: chunk }
      }
      end()
      return { done: true, value: undefined }
    },
    return: async () => {
      end()
      return { done: true, value: undefined }
    },
  }
  return { [Symbol.asyncIterator]: () => iterator }
}
