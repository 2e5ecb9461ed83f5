import type { Worker } from 'node:worker_threads'
import {
  type BodyHashing,
  type HashedBlock,
  type Hashing,
  type HashingOptions,
  inlineHashing,
} from '../model/content/hashing.js'
import { BufferPools } from '../util/buffer-pools.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { startHashThread } from './hash-thread.js'
import type { HashReply, HashTask } from './hash-worker.js'

/** Bodies shorter than this are hashed on the main thread: two messages cost more than the digests. */
const MIN_BYTES = 256 * 1024
/** Idle workers are stopped after this time, since each holds several MiB. */
const IDLE_MS = 30_000
const MAX_FAILURES = 3
/** Room in a block's buffer for what encryption adds to it. */
const SEALED_EXTRA_BYTES = 64
/** How many buffers of blocks are kept for later blocks. */
const BUFFERS_KEPT = 16

interface PoolWorker {
  thread: Worker
  waiting: Map<number, { resolve: (reply: HashReply) => void; reject: (error: unknown) => void }>
}

type Task<T = HashTask> = T extends { task: number } ? Omit<T, 'task'> : never

/**
 * Hashes large bodies in worker threads, one for each body, since MD5 is serial. A block's memory moves to the worker and
 * back. Sharing it instead would let the disk write while the MD5 is computed, but what V8 copies into shared
 * memory it copies word by word, and that cost the main thread more than all the rest of a large upload.
 */
export class HashPool implements Hashing {
  readonly #workers: PoolWorker[] = []
  readonly #memory: BufferPools
  #nextTask = 0
  #nextBody = 0
  #open = 0
  #failures = 0
  #idle: Timer | undefined

  constructor(
    private readonly clock: Clock,
    private readonly threads: number,
    private readonly blockBytes: number,
  ) {
    this.#memory = new BufferPools(blockBytes + SEALED_EXTRA_BYTES, BUFFERS_KEPT)
  }

  allocate(bytes: number): Buffer {
    return this.#memory.take(bytes)
  }

  release(buffer: Buffer): void {
    this.#memory.give(buffer)
  }

  start(options: HashingOptions): BodyHashing {
    const { expectedBytes, crc64 } = options
    // Threads that keep ending are given up: hashing on this thread is slower, but works.
    const usable = this.threads > 0 && this.#failures < MAX_FAILURES
    if (!usable || (expectedBytes !== undefined && expectedBytes < MIN_BYTES)) {
      return this.#startHere(options)
    }
    const asleep = this.#workers.length === 0
    this.#wake()
    // Hash a single block here while the threads start, for later bodies: a start takes ten times as long as the block.
    if (asleep && expectedBytes !== undefined && expectedBytes <= this.blockBytes) {
      this.#sleepLater()
      return this.#startHere(options)
    }
    this.#open++
    const body = this.#nextBody++
    const worker = this.#leastBusy()
    let ended = false
    const end = () => {
      if (ended) return false
      ended = true
      if (--this.#open === 0) this.#sleepLater()
      return true
    }
    return {
      add: (plain, sealed) => this.#add(worker, { body, crc64 }, plain, sealed),
      end: async () => {
        const reply = await this.#run(worker, { kind: 'end', body, crc64 }, [])
        end()
        const md5 = bufferOf(reply.digest)
        return reply.crc64 ? { md5, crc64: bufferOf(reply.crc64) } : { md5 }
      },
      discard: () => {
        if (end()) worker.thread.postMessage({ kind: 'discard', body } satisfies HashTask)
      },
    }
  }

  /** Stops the workers; they start again when needed. */
  async stop(): Promise<void> {
    this.#idle?.cancel()
    this.#memory.clear()
    await Promise.all(this.#workers.splice(0).map((w) => w.thread.terminate()))
  }

  #startHere(options: HashingOptions): BodyHashing {
    const hashing = inlineHashing.start(options)
    const add = (plain: Buffer, sealed: Buffer) => {
      const added = hashing.add(plain, sealed)
      if (plain !== sealed) this.release(plain)
      return added
    }
    return { ...hashing, add }
  }

  async #add(
    worker: PoolWorker,
    { body, crc64 }: { body: number; crc64: boolean },
    plain: Buffer,
    sealed: Buffer,
  ): Promise<HashedBlock> {
    const own = this.#movable(plain)
    const other = sealed === plain ? undefined : this.#movable(sealed)
    const moved = other ? [own.buffer, other.buffer] : [own.buffer]
    const task = { kind: 'add', body, crc64, plain: own, sealed: other } as const
    const reply = await this.#run(worker, task, moved as ArrayBuffer[])
    const plainBack = this.#memory.adopt(bufferOf(reply.plain!))
    if (!reply.sealed) return { hash: bufferOf(reply.digest), sealed: plainBack }
    this.release(plainBack)
    return { hash: bufferOf(reply.digest), sealed: this.#memory.adopt(bufferOf(reply.sealed)) }
  }

  /**
   * Returns the bytes in memory that may move. A short buffer can be a part of a slab of Node's, which must not: its size
   * differs between versions, so only memory that is known counts.
   */
  #movable(buffer: Buffer): Buffer {
    if (buffer.buffer.byteLength === buffer.length || this.#memory.lends(buffer)) return buffer
    const copy = Buffer.allocUnsafeSlow(buffer.length)
    buffer.copy(copy)
    return copy
  }

  #wake(): void {
    this.#idle?.cancel()
    while (this.#workers.length < this.threads) this.#workers.push(this.#spawn())
  }

  #sleepLater(): void {
    this.#idle = this.clock.after(IDLE_MS, () => void this.stop())
  }

  #spawn(): PoolWorker {
    const thread = startHashThread()
    const worker: PoolWorker = { thread, waiting: new Map() }
    thread.unref()
    thread.on('message', (reply: HashReply) => {
      const waiting = worker.waiting.get(reply.task)
      worker.waiting.delete(reply.task)
      waiting?.resolve(reply)
    })
    const fail = (cause: unknown) => {
      const error = new CarportError('Closed', 'a hashing thread ended', { cause })
      for (const { reject } of worker.waiting.values()) reject(error)
      worker.waiting.clear()
      const index = this.#workers.indexOf(worker)
      if (index < 0) return // The pool stopped this worker on purpose.
      this.#workers.splice(index, 1)
      this.#failures++
    }
    thread.on('error', fail)
    thread.on('exit', fail)
    return worker
  }

  /** Picks the worker with the fewest tasks; idle workers take turns. */
  #leastBusy(): PoolWorker {
    const from = this.#nextBody % this.#workers.length
    let best = this.#workers[from]!
    for (const worker of this.#workers) if (worker.waiting.size < best.waiting.size) best = worker
    return best
  }

  #run(worker: PoolWorker, task: Task, moved: ArrayBuffer[]): Promise<HashReply> {
    return new Promise((resolve, reject) => {
      const id = this.#nextTask++
      worker.waiting.set(id, { resolve, reject })
      worker.thread.postMessage({ ...task, task: id }, moved)
    })
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
