import { unpack } from 'msgpackr'
import type { BlockReadOptions } from '../../block/manager.js'
import type { UploadClaims } from '../../block/upload-claims.js'
import type { Table } from '../../table/table.js'
import { assert } from '../../util/assert.js'
import { ByteBudget } from '../../util/byte-budget.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'
import { BlockGatherer, type GatheredBlock } from './block-gatherer.js'
import { type BlockListRow, blockListSortKey } from './block-lists.js'
import { BlockReads, type ReadOptions } from './block-reads.js'
import { digestsOf, type Hashing } from './hashing.js'
import {
  type BlockPointer,
  type BlockSealer,
  blockOwner,
  type Content,
  NONCE_BYTES,
  type PartInfo,
  type PartTuple,
  pointersIn,
  unpackBlocks,
  unpackPart,
  type VersionId,
} from './refs.js'

/** The part of the block layer that the model needs. */
export interface Blocks {
  /** @param onFree called once, when `data` is not read any more */
  put(hash: Buffer, data: Buffer, owner?: Buffer, onFree?: () => void): Promise<void>
  get(hash: Buffer, options?: BlockReadOptions): Promise<Buffer>
  /** Keeps blocks that another owner may give up alive until this one references them. @throws BlockMissing */
  retain(owner: Buffer, hashes: readonly Buffer[]): Promise<void>
  /** The claims of an upload under way, on the blocks that it has stored so far. */
  uploadClaims(owner: Buffer, hashes: () => readonly Buffer[]): UploadClaims
}

/** A body on its way in. Its end without an error means that lengths and checksums were right. */
export interface BodySource {
  /** Number of plain bytes if the client declared it. */
  readonly length: number | undefined
  /** The whole body at once; for bodies known to be short. */
  readAll(maxBytes: number): Promise<Buffer>
  /** The body in chunks of any size. Use one of the two, once. */
  stream(): AsyncIterable<Buffer>
}

/** A body that is stored but not yet referenced by any row. */
export interface StoredBody {
  size: number
  md5: Buffer
  /** CRC-64/NVME of the plain bytes, 8 bytes, if it was asked for. */
  crc64?: Buffer
  /** Inline content. */
  body?: Buffer
  /** All blocks, in order; empty if inline. */
  blocks: BlockPointer[]
  /** Random part of the id that the owner must get, since the blocks wait for it; absent for copies. */
  nonce?: Buffer
  /** The claims that keep the blocks for that owner; they are confirmed right before its row is written. */
  claims?: Pick<UploadClaims, 'confirm'>
  /** Id of the multipart upload whose parts hold the blocks until the version that they become ends it. */
  partsOf?: Buffer
}

/** How a version says what parts it was made of: in its row, or, if they are many, by their number alone. */
export interface PartedContent {
  bucket: Buffer
  id: VersionId
  parts?: PartInfo[]
  partCount?: number
}

/** What a block pointer takes in memory, its bytes and what V8 keeps of it, in bytes. */
const POINTER_HEAP_BYTES = 190
/** A write that takes over as many pointers does not wait for others: it takes 2 MB. */
const FEW_POINTERS = 10_000
/** Memory for the pointers of all larger ones, in bytes: one of more than 1.4 TiB, at blocks of 1 MiB, is written alone. */
const POINTERS_BYTES_MAX = 256 << 20

/** Turns bodies into blocks and back. */
export class BlobStore {
  /** Bounds the memory of contents on their way in and out, and of long documents of requests. */
  readonly memory: ByteBudget
  /** Bounds the memory of the block pointers that writes take over from other contents (see `holdingPointers`). */
  readonly pointerMemory = new ByteBudget(POINTERS_BYTES_MAX)
  readonly #reads: BlockReads

  constructor(
    private readonly deps: {
      blocks: Blocks
      lists: Table<BlockListRow>
      hashing: Hashing
      /** Takes the memory of a block that was read and is not needed any more. */
      recycle?: ((block: Buffer) => void) | undefined
      blockBytes: number
      /** The longest content kept in its row, in bytes. */
      inlineBytesMax: number
      /** Blocks of one body that are stored at the same time. */
      blocksInFlight: number
      /** Memory for blocks of all contents on their way in and out, in bytes. */
      memoryBytes: number
      random: Random
      clock: Clock
    },
  ) {
    const { blocks, recycle, clock } = deps
    this.memory = new ByteBudget(deps.memoryBytes, () => this.#reads.onShortage())
    this.#reads = new BlockReads({
      get: (hash, options) => blocks.get(hash, options),
      recycle,
      memory: this.memory,
      clock,
    })
  }

  /**
   * Stores a body: inline if it is short, else as blocks, several in flight at a time, each durable on a quorum.
   * With `inline: false` short bodies become a block too; with `crc64` the CRC-64/NVME is computed on the way.
   * Nothing refers to the blocks yet: they are kept as `claims` says. Where this throws, they are released.
   * @throws what the source throws (nothing is left to undo), StorageFull, QuorumUnavailable
   */
  async write(
    source: BodySource,
    options: { cipher?: BlockSealer; inline?: boolean; crc64?: boolean } = {},
  ): Promise<StoredBody> {
    const { cipher, inline = true, crc64 = false } = options
    const { blockBytes, inlineBytesMax } = this.deps
    if (inline && source.length !== undefined && source.length <= inlineBytesMax) {
      const plain = await source.readAll(inlineBytesMax)
      return {
        size: plain.length,
        ...digestsOf(plain, crc64),
        body: cipher ? cipher.seal(plain, 0, true) : plain,
        blocks: [],
      }
    }
    const hashing = this.deps.hashing.start({ expectedBytes: source.length, crc64 })
    const allocate = (bytes: number) => this.deps.hashing.allocate(bytes)
    const blocks: BlockPointer[] = []
    const nonce = this.deps.random.bytes(NONCE_BYTES)
    const owner = blockOwner(nonce)
    const inFlight = new Set<Promise<void>>()
    let failure: { error: unknown } | undefined
    let size = 0
    const stored: Buffer[] = []
    let claims: UploadClaims | undefined
    let isGivenUp = true

    const store = async (plain: Buffer, offset: number, isLast: boolean) => {
      const ref: BlockPointer = { hash: EMPTY, size: plain.length }
      blocks.push(ref)
      // `add` must be called in order, so before the first await.
      const added = hashing.add(plain, cipher ? cipher.seal(plain, offset, isLast, allocate) : plain)
      const { hash, sealed } = added instanceof Promise ? await added : added
      ref.hash = hash
      claims ??= this.deps.blocks.uploadClaims(owner, () => stored)
      try {
        await this.deps.blocks.put(hash, sealed, owner, () => this.deps.hashing.release(sealed))
      } finally {
        stored.push(hash)
      }
    }
    const launch = async ({ plain, heldBytes }: GatheredBlock, isLast: boolean) => {
      while (inFlight.size >= this.deps.blocksInFlight) await Promise.race(inFlight)
      // Read first: hashing detaches the buffer.
      const { length } = plain
      size += length
      const task: Promise<void> = store(plain, size - length, isLast)
        .catch((error: unknown) => {
          failure ??= { error }
        })
        .finally(() => {
          inFlight.delete(task)
          this.memory.release(heldBytes)
        })
      inFlight.add(task)
    }

    const { memory } = this
    const { clock } = this.deps
    const gather = new BlockGatherer({ hashing: this.deps.hashing, memory, clock, blockBytes }, source.length)
    try {
      for await (const chunk of source.stream()) {
        let rest = chunk
        while (rest.length > 0) {
          // A full block waits until there is more: only then is it known not to be the last.
          if (gather.isFull && !(await gather.grow())) await launch(gather.cut(), false)
          if (failure) throw failure.error
          rest = gather.take(rest)
        }
      }
      const lastBlock = gather.cut()
      const last = lastBlock.plain
      if (inline && blocks.length === 0 && last.length <= inlineBytesMax) {
        memory.release(lastBlock.heldBytes)
        // Copied, so that a few bytes do not keep a whole block's buffer alive.
        return {
          size: last.length,
          ...digestsOf(last, crc64),
          body: cipher ? cipher.seal(last, 0, true) : Buffer.from(last),
          blocks: [],
        }
      }
      if (last.length > 0) await launch(lastBlock, true)
      const digests = await hashing.end()
      while (inFlight.size > 0) await Promise.race(inFlight)
      if (failure) throw failure.error
      isGivenUp = false
      return { size, ...digests, blocks, nonce, ...(claims && { claims }) }
    } finally {
      // Blocks under way must not outlive the request that pays for them.
      await Promise.all(inFlight)
      gather.discard()
      hashing.discard()
      if (isGivenUp) await claims?.release()
      else claims?.settle()
    }
  }

  /**
   * Runs a write that takes over the blocks of these contents, whose pointers are all in memory until its row is there. Where
   * they are many, it waits for the memory, first come, first served.
   */
  async holdingPointers<T>(contents: readonly Content[], write: () => Promise<T>): Promise<T> {
    const count = contents.reduce((sum, content) => sum + pointersIn(content), 0)
    if (count <= FEW_POINTERS) return write()
    const bytes = count * POINTER_HEAP_BYTES
    await this.pointerMemory.acquire(bytes)
    try {
      return await write()
    } finally {
      this.pointerMemory.release(bytes)
    }
  }

  /** Keeps blocks of other owners for `id`, before its row refers to them: their owners may be deleted meanwhile. */
  async retain(id: VersionId, blocks: readonly BlockPointer[]): Promise<void> {
    if (blocks.length > 0)
      await this.deps.blocks.retain(
        blockOwner(id),
        blocks.map((block) => block.hash),
      )
  }

  /** The parts of a multipart object, wherever they are kept; empty if it was not made of parts. */
  async partsOf(version: PartedContent): Promise<PartInfo[]> {
    if (version.parts || !version.partCount) return version.parts ?? []
    const parts: PartInfo[] = []
    for (let index = 0; parts.length < version.partCount; index++) {
      const row = await this.deps.lists.get(version.bucket, blockListSortKey(version.id, 'parts', index))
      if (!row || row.deleted)
        throw new CarportError('BlockMissing', 'the list of parts of an object is gone')
      for (const part of unpack(row.data) as PartTuple[]) parts.push(unpackPart(part))
    }
    return parts
  }

  /** All block pointers of a content, in order. Inline content has none. */
  async *blocksOf(
    bucket: Buffer,
    owner: Buffer,
    content: Content,
  ): AsyncGenerator<{ offset: number; ref: BlockPointer }> {
    yield* this.blocksFrom(bucket, owner, content, 0)
  }

  /**
   * The content of a version as the body of another one, which refers to the same blocks: no data moves. Nothing keeps the
   * blocks for it before its row is written (see `retain`).
   * @throws CarportError BlockMissing if the version is gone, and its lists with it; QuorumUnavailable
   */
  async referTo(version: {
    bucket: Buffer
    id: VersionId
    size: number
    etag: Buffer
    content: Content
    readonly body: Buffer | undefined
  }): Promise<StoredBody> {
    const { size, etag: md5, content } = version
    if (content.kind === 'inline') return { size, md5, body: version.body!, blocks: [] }
    const blocks: BlockPointer[] = []
    for await (const { ref } of this.blocksOf(version.bucket, version.id, content)) blocks.push(ref)
    return { size, md5, blocks }
  }

  /** Block pointers from the one that holds byte `start` on. */
  private async *blocksFrom(
    bucket: Buffer,
    owner: Buffer,
    content: Content,
    start: number,
    anyReplica = false,
  ): AsyncGenerator<{ offset: number; ref: BlockPointer }> {
    let offset = 0
    if (content.kind === 'blocks') {
      for (const ref of unpackBlocks(content.blocks)) {
        if (offset + ref.size > start) yield { offset, ref }
        offset += ref.size
      }
    } else if (content.kind === 'lists') {
      for (const [index, bytes] of content.chunkBytes.entries()) {
        if (offset + bytes > start) {
          const row = await this.deps.lists.get(bucket, blockListSortKey(owner, 'blocks', index), {
            anyReplica,
          })
          if (!row || row.deleted)
            throw new CarportError('BlockMissing', 'the list of blocks of an object is gone')
          let at = offset
          for (const ref of unpackBlocks(row.data)) {
            if (at + ref.size > start) yield { offset: at, ref }
            at += ref.size
          }
        }
        offset += bytes
      }
    }
  }

  /**
   * Content bytes from `start` up to `end` (exclusive), with blocks fetched ahead. Every block is verified.
   * A chunk is the consumer's only until it asks for the next one: its memory is used again.
   * @param options.anyReplica lists of blocks need no quorum
   * @throws BlockMissing, Corrupted, QuorumUnavailable, while iterating
   */
  async *read(
    version: { bucket: Buffer; id: Buffer; content: Content; readonly body: Buffer | undefined },
    start: number,
    end: number,
    options: ReadOptions & { anyReplica?: boolean } = {},
  ): AsyncGenerator<Buffer> {
    assert(
      start >= 0 && Number.isSafeInteger(start) && Number.isSafeInteger(end),
      'a range is of whole bytes',
    )
    if (start >= end) return
    if (version.content.kind === 'inline') {
      if (!version.body) throw new CarportError('Corrupted', 'inline content is missing')
      const plain = options.cipher ? options.cipher.open(version.body, 0) : version.body
      yield plain.subarray(start, end)
      return
    }
    const refs = this.blocksFrom(version.bucket, version.id, version.content, start, options.anyReplica)
    yield* this.#reads.read(refs, start, end, options)
  }
}

const EMPTY = Buffer.alloc(0)
