import { Worker } from 'node:worker_threads'
import { type BodyHashing, type Hashing, inlineHashing } from '../model/hashing.js'
import { BufferPool } from '../util/buffer-pool.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { HashTask } from './hash-worker.js'

/** Bodies shorter than this are hashed where they are: two messages cost more than the digests. */
const MIN_BYTES = 256 * 1024
/** Idle workers are stopped after this time, since each holds several MiB. */
const IDLE_MS = 30_000
const MAX_FAILURES = 3
/** Blocks' buffers kept for the next ones. */
const BUFFERS_KEPT = 64

interface PoolWorker {
  thread: Worker
  waiting: Map<number, { resolve: (digest: Buffer) => void; reject: (error: unknown) => void }>
}

type Task = HashTask extends infer T ? (T extends { task: number } ? Omit<T, 'task'> : never) : never

/**
 * Hashes large bodies in worker threads. Blocks are shared, not copied, if their memory is a SharedArrayBuffer (see
 * `allocate`). MD5 is serial, so each body has one worker for it; SHA-256 goes to whichever worker has least to do.
 */
export class HashPool implements Hashing {
  readonly #workers: PoolWorker[] = []
  readonly #memory: BufferPool
  #nextTask = 0
  #nextBody = 0
  #open = 0
  #failures = 0
  #idle: Timer | undefined

  constructor(
    private readonly clock: Clock,
    private readonly threads: number,
    blockBytes: number,
  ) {
    this.#memory = new BufferPool(blockBytes, BUFFERS_KEPT, (bytes) => new SharedArrayBuffer(bytes))
  }

  /** A buffer that workers see without a copy. */
  allocate(bytes: number): Buffer {
    return this.#memory.take(bytes)
  }

  release(buffer: Buffer): void {
    this.#memory.give(buffer)
  }

  start(expectedBytes: number | undefined): BodyHashing {
    // Threads that keep ending cannot be had: hashing here is slower, but works.
    const usable = this.threads > 0 && this.#failures < MAX_FAILURES
    if (!usable || (expectedBytes !== undefined && expectedBytes < MIN_BYTES)) {
      return inlineHashing.start(expectedBytes)
    }
    this.#wake()
    this.#open++
    const body = this.#nextBody++
    const worker = this.#workers[body % this.#workers.length]!
    let ended = false
    const end = () => {
      if (ended) return false
      ended = true
      if (--this.#open === 0) this.#idle = this.clock.after(IDLE_MS, () => void this.stop())
      return true
    }
    return {
      add: (plain, sealed) => {
        const added = this.#run(worker, { kind: 'md5-add', body, data: plain })
        const digest = this.#run(this.#leastBusy(worker), { kind: 'sha256', data: sealed })
        return Promise.all([digest, added]).then(([sha256]) => sha256)
      },
      md5: async () => {
        const digest = await this.#run(worker, { kind: 'md5-end', body })
        end()
        return digest
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

  #wake(): void {
    this.#idle?.cancel()
    while (this.#workers.length < this.threads) this.#workers.push(this.#spawn())
  }

  #spawn(): PoolWorker {
    const thread = new Worker(new URL('./hash-worker.js', import.meta.url))
    const worker: PoolWorker = { thread, waiting: new Map() }
    thread.unref()
    thread.on('message', ([task, digest]: [number, Uint8Array | undefined]) => {
      const waiting = worker.waiting.get(task)
      worker.waiting.delete(task)
      waiting?.resolve(digest ? Buffer.from(digest.buffer, digest.byteOffset, digest.length) : EMPTY)
    })
    const fail = (cause: unknown) => {
      const error = new CarportError('Closed', 'a hashing thread ended', { cause })
      for (const { reject } of worker.waiting.values()) reject(error)
      worker.waiting.clear()
      const index = this.#workers.indexOf(worker)
      if (index < 0) return // stopped on purpose
      this.#workers.splice(index, 1)
      this.#failures++
    }
    thread.on('error', fail)
    thread.on('exit', fail)
    return worker
  }

  #leastBusy(usual: PoolWorker): PoolWorker {
    let best = usual
    for (const worker of this.#workers) if (worker.waiting.size < best.waiting.size) best = worker
    return best
  }

  #run(worker: PoolWorker, task: Task): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const id = this.#nextTask++
      worker.waiting.set(id, { resolve, reject })
      worker.thread.postMessage({ ...task, task: id })
    })
  }
}

const EMPTY = Buffer.alloc(0)
