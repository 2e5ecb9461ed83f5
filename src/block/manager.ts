import type { Placement, QuorumCaller } from '../cluster/placement.js'
import type { Db } from '../db/db.js'
import { Priority, type RpcHandler, type RpcReply, type Transport } from '../net/transport.js'
import type { RowScrub } from '../table/row-scrub.js'
import { ByteBudget } from '../util/byte-budget.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import type { BlockRefTable } from './block-ref.js'
import { CarriedReferences } from './carried-references.js'
import { ClaimCalls } from './claim-calls.js'
import { ClaimExchange } from './claim-exchange.js'
import { INCARNATION_BYTES } from './claims.js'
import { type Compression, compressBlock } from './compression.js'
import type { DataDirs } from './data-dirs.js'
import type { Disk } from './disk.js'
import { fetchBlock } from './fetch.js'
import { fileHead, matchesHash, plainContent, type StoredBlock } from './format.js'
import { LocalBlocks } from './local-blocks.js'
import { PutCalls, sendBlock } from './put-calls.js'
import { NO_OWNER, RC_TREES, type RefCounts } from './rc.js'
import { REFS_TREES, ReferenceQueue } from './reference-queue.js'
import { Repair } from './repair.js'
import { replicate } from './replicate.js'
import { BLOCKS_SYNC_NAME, Resync, type ResyncSettings } from './resync.js'
import { ERROR_TREES } from './resync-errors.js'
import { SCRUB_TREES, Scrub } from './scrub.js'
import { BlockStore } from './store.js'
import { UploadClaims } from './upload-claims.js'
import { asksForHash, checkGet, checkHashes, METHODS, singleChunk } from './wire.js'

/** The database trees of the block layer; the block_ref table's own come on top. */
export const BLOCK_TREES: readonly string[] = [...RC_TREES, ...REFS_TREES, ...ERROR_TREES, ...SCRUB_TREES]

export { BLOCKS_SYNC_NAME }

export interface BlockReadOptions {
  /** Length of the plain content, if known: a local copy is read at less cost. */
  plainBytes?: number
  /** Compute the hash of each copy: for a reader to whom one that has the right checksum and name is useless. */
  thorough?: boolean
  /** Asked for only when other nodes are: most reads need no signal. */
  signal?: (() => AbortSignal) | undefined
}

const TIMEOUT_MS = 60_000
/** How often the claims of an upload are renewed while they hold. */
const RENEWALS = 4
/** The memory counted for a block that is about to be read and sent, before its length is known. */
const SEND_BYTES_ASSUMED = 1 << 20
/** A replica this much slower than the quorum gives up its copy when memory is short, in ms. */
const STRAGGLER_MS = 2_000

export interface BlockManagerParts {
  clock: Clock
  random: Random
  log: Log
  db: Db
  disk: Disk
  dirs: DataDirs
  placement: Placement
  caller: QuorumCaller
  transport: Transport
  compression: Compression
  counts: RefCounts
  /** The replicated table of `blockRefSchema(counts)`. */
  table: BlockRefTable
  /** The walk over the tables' rows that is part of the scrub; asked for when the tables are complete. */
  rowScrub?: () => RowScrub
  /** Registers a write with the cluster layer while it runs, so that a layout version waits for it. */
  beginWrite?: () => () => void
  options: BlockOptions
}

export interface BlockOptions {
  /** Whether files and their folders are fsynced before an acknowledgement. */
  fsync: boolean
  /** Writes are refused when a folder's file system has less than this free, in bytes. */
  reserveBytes: number
  /** Memory for blocks on their way to replicas, in bytes; as much again for blocks sent to other nodes, and for long ones from them. */
  memoryBytes: number
  /** Most blocks read from disk at the same time (default 16). */
  readsMax?: number
  /** Whether a data folder may be written to; false while its disk seems not to be there. All may unless told. */
  isWritable?: (folder: string) => boolean
  /** Told when a data folder begins to fail, and (without an error) when it takes a write again. */
  onFailing?: (folder: string, error?: unknown) => void
  resync?: Partial<ResyncSettings>
  scrubTranquility?: number
  /** The longest time between two looks at the queues of `refs` and `resync`, in ms (default 5 s); set by tests alone. */
  pollMs?: number
}

/** Content-addressed blocks on their replicas, with the services that carry references, resync and scrub. */
export class BlockManager implements Service {
  readonly name = 'blocks'
  readonly refs: ReferenceQueue
  readonly resync: Resync
  readonly scrub: Scrub
  readonly repair: Repair
  readonly local: LocalBlocks
  readonly #claims: ClaimCalls
  readonly #exchange: ClaimExchange
  readonly #incarnation: Buffer
  readonly #writes: ByteBudget
  readonly #sends: ByteBudget
  readonly #puts: PutCalls
  readonly #stragglers = new Map<AbortController, number>()
  #stragglerTimer: Timer | undefined
  readonly #counters = {
    putBlocks: 0,
    putBytes: 0,
    getBlocks: 0,
    getBytes: 0,
    remoteGets: 0,
    failedCopies: 0,
  }

  constructor(private readonly parts: BlockManagerParts) {
    const { clock, random, log, db, disk, dirs, placement, caller, transport, counts, table, options } = parts
    const { compression } = parts
    const pollMs = options.pollMs ?? 5_000
    const store = new BlockStore(disk, dirs, clock, { ...options, codec: compression })
    this.local = new LocalBlocks(db, store, counts, clock, log)
    this.refs = new ReferenceQueue(db, table, placement, caller, clock, random, log, pollMs)
    this.resync = new Resync({
      ...{ local: this.local, placement, caller, compression, clock, random, log, pollMs },
      oldestRefMs: () => this.refs.oldestAgeMs(),
      carried: new CarriedReferences({ placement, caller, clock, log, transport, queue: this.refs }),
      ...(options.resync && { settings: options.resync }),
    })
    const { scrubTranquility: tranquility } = options
    this.scrub = new Scrub({
      ...{ local: this.local, disk, dirs, compression, clock, random, log },
      ...(tranquility !== undefined && { tranquility }),
      ...(parts.rowScrub && { rowScrub: parts.rowScrub }),
    })
    this.repair = new Repair(this.local, disk, dirs, table, clock)
    this.#incarnation = random.bytes(INCARNATION_BYTES)
    const common = { local: this.local, placement, caller, transport, incarnation: this.#incarnation }
    this.#claims = new ClaimCalls({ ...common, storeAgain: (hash, owner) => this.#storeAgain(hash, owner) })
    this.#exchange = new ClaimExchange({
      ...{ ...common, db, clock, random, log },
      onAdopted: (ackedVersion) => this.resync.refsSynced(ackedVersion),
    })
    this.#writes = new ByteBudget(options.memoryBytes, () => this.#watchStragglers())
    this.#sends = new ByteBudget(options.memoryBytes)
    this.#puts = new PutCalls(this.local, transport, options.memoryBytes)
    transport.handle(METHODS.get, this.#serveGet)
    transport.handle(METHODS.need, this.#serveNeed)
  }

  start(): void {
    this.#exchange.start()
  }

  async stop(): Promise<void> {
    await this.#exchange.stop()
    const closed = new CarportError('Closed', 'the node is shutting down')
    this.#writes.close(closed)
    this.#sends.close(closed)
    this.#puts.close(closed)
    this.#stragglerTimer?.cancel()
    for (const controller of this.#stragglers.keys()) controller.abort(closed)
  }

  /**
   * Stores a block on its replicas: resolves when a quorum of each live layout version has it durably; the others
   * get it in the background, or fetch it when its reference arrives. Waits when too much is in flight.
   * @param hash SHA-256 of `data`; `data` must not change afterwards
   * @param owner who will reference it (see `ReferenceQueue.enqueue`): the block is then deletable soon after that
   * reference is gone. Without an owner it is kept for the long grace, referenced or not.
   * @param onFree called once, when nothing reads `data` any more: its memory may be used again
   * @throws CarportError QuorumUnavailable, StorageFull, LayoutNotReady, Closed
   */
  async put(hash: Buffer, data: Buffer, owner: Buffer = NO_OWNER, onFree?: () => void): Promise<void> {
    const waiting = this.#writes.acquire(data.length)
    if (waiting) await waiting
    let block: StoredBlock
    try {
      block = await compressBlock(data, this.parts.compression)
    } catch (error) {
      this.#writes.release(data.length)
      onFree?.()
      throw error
    }
    this.#counters.putBlocks++
    this.#counters.putBytes += data.length
    await this.#replicate(hash, owner, block, () => {
      this.#writes.release(data.length)
      onFree?.()
    })
  }

  async #replicate(hash: Buffer, owner: Buffer, block: StoredBlock, release: () => void): Promise<void> {
    const { caller, placement, beginWrite, log, clock } = this.parts
    const end = beginWrite?.()
    const sets = placement.writeSets(hash[0]!)
    // Where this node is the only replica, nobody can be late.
    const abort = sets.flat().some((node) => node !== caller.self) ? new AbortController() : undefined
    const body = { hash, owner, incarnation: this.#incarnation, head: block.head, payload: block.payload }
    const options = {
      timeoutMs: TIMEOUT_MS,
      priority: Priority.normal,
      ...(abort && { signal: abort.signal }),
    }
    const { acknowledged, finished } = replicate(
      sets,
      placement.writeQuorum,
      (node) => sendBlock(caller, node, body, options),
      (node, error) => {
        this.#counters.failedCopies++
        log.debug({ node, error, block: hash.toString('hex') }, 'a replica did not take a block')
      },
    )
    void finished.then(() => {
      if (abort) this.#stragglers.delete(abort)
      release()
    })
    try {
      await acknowledged
      if (abort) {
        this.#stragglers.set(abort, clock.monotonicMs())
        void finished.then(() => this.#stragglers.delete(abort))
      }
    } catch (error) {
      abort?.abort(error)
      throw error
    } finally {
      end?.()
    }
  }

  /**
   * The block's plain content, verified by checksum. The local copy first, else the nearest replica, further ones on
   * failure or delay; a corrupted local copy is set aside and fetched again in the background.
   * @throws CarportError BlockMissing (every replica was asked), QuorumUnavailable (some could not be); the
   * signal's reason when it aborts while other nodes are asked.
   */
  get(hash: Buffer, options: BlockReadOptions = {}): Promise<Buffer> {
    return this.#get(hash, options).catch((error: unknown) => {
      // A copy that has its checksum and does not decompress: others may have a good one.
      if (options.thorough || errorCode(error) !== 'Corrupted') throw error
      return this.#get(hash, { ...options, thorough: true })
    })
  }

  async #get(hash: Buffer, options: BlockReadOptions): Promise<Buffer> {
    const { placement, caller, clock, compression } = this.parts
    const stored = placement.storageSet(hash[0]!)
    let block = stored.includes(caller.self) ? await this.#readLocal(hash, options.plainBytes) : undefined
    if (block && options.thorough && !(await matchesHash(block, hash, compression))) {
      await this.local.setAside(hash, true)
      block = undefined
    }
    if (!block) {
      const nodes = new Set([...placement.readSet(hash[0]!), ...stored])
      nodes.delete(caller.self)
      const order = caller.nearestFirst([...nodes])
      block = await fetchBlock(caller, clock, order, hash, {
        priority: Priority.normal,
        signal: options.signal?.(),
        thorough: options.thorough === true,
        matches: (candidate) => matchesHash(candidate, hash, compression),
      })
      this.#counters.remoteGets++
    }
    const plain = await plainContent(block, compression)
    this.#counters.getBlocks++
    this.#counters.getBytes += plain.length
    return plain
  }

  async #readLocal(hash: Buffer, plainBytes: number | undefined): Promise<StoredBlock | undefined> {
    try {
      return await this.local.read(hash, plainBytes)
    } catch (error) {
      // This node's disk or database fails; other replicas may not.
      this.parts.log.error({ error, block: hash.toString('hex') }, 'a block cannot be read here')
      return undefined
    }
  }

  /**
   * Keeps blocks alive for `owner` to reference later, as if it had put them again: what a copy must do before it
   * references the blocks of another row, which may be deleted meanwhile.
   * @throws CarportError QuorumUnavailable, LayoutNotReady; BlockMissing if no replica has a block any more
   */
  retain(owner: Buffer, hashes: readonly Buffer[]): Promise<void> {
    return this.#claims.retain(owner, hashes)
  }

  /**
   * The claims of an upload that is under way: renewed from now on until they are confirmed or released.
   * @param hashes the blocks that it has stored so far
   */
  uploadClaims(owner: Buffer, hashes: () => readonly Buffer[]): UploadClaims {
    const { clock, log, placement, counts } = this.parts
    const renewMs = counts.graces.unclaimedMs / RENEWALS
    return new UploadClaims({ clock, log, placement, renewMs, calls: this.#claims }, owner, hashes)
  }

  async #storeAgain(hash: Buffer, owner: Buffer): Promise<void> {
    await this.put(hash, await this.get(hash), owner)
  }

  /**
   * Tells that this node's copy of block_ref has everything of its partitions: what the table's anti-entropy passed to
   * `Placement.markSynced`. Once the blocks that those rows want are here, the layout is told the same of
   * `BLOCKS_SYNC_NAME`, so that older layouts' copies are kept until then.
   */
  refsSynced(ackedVersion: number): void {
    this.#exchange.adopt(ackedVersion)
  }

  /** Numbers for status and metrics: bytes and blocks since the start, lengths as of now. */
  stats() {
    const { db } = this.parts
    return {
      ...this.#counters,
      ...this.local.store.counters,
      ...this.local.counts.sizes(db),
      writeBytesInFlight: this.#writes.usedBytes,
      writesWaiting: this.#writes.waiting,
      sendBytesInFlight: this.#sends.usedBytes,
      compression: this.parts.compression.enabled,
      refs: this.refs.stats(),
      resync: this.resync.stats(),
      scrub: this.scrub.status(),
    }
  }

  /** While writers wait for memory, aborts what stragglers hold once they are late enough. */
  #watchStragglers(): void {
    this.#stragglerTimer ??= this.parts.clock.after(STRAGGLER_MS / 2, () => {
      this.#stragglerTimer = undefined
      const nowMs = this.parts.clock.monotonicMs()
      for (const [controller, sinceMs] of [...this.#stragglers]) {
        if (nowMs - sinceMs < STRAGGLER_MS) break
        controller.abort(new CarportError('Timeout', 'the replica is too slow for the memory that it holds'))
      }
      if (this.#writes.waiting > 0) this.#watchStragglers()
    })
  }

  readonly #serveGet: RpcHandler = async (body, { signal }): Promise<RpcReply> => {
    const hash = checkGet(body)
    let held = SEND_BYTES_ASSUMED
    const waiting = this.#sends.acquire(held)
    if (waiting) await waiting
    try {
      const block = await this.local.read(hash)
      if (!block) return { body: { found: false } }
      const { payload } = block
      // The own node reads its files itself, and one of the first release does not know the newer head.
      const head = asksForHash(body) ? fileHead(block, hash) : block.head
      const bytes = payload.length
      this.#sends.adjust(bytes - held)
      held = 0
      const stream = singleChunk(payload, signal, () => this.#sends.release(bytes))
      return { body: { found: true, head, bytes }, stream }
    } finally {
      if (held > 0) this.#sends.release(held)
    }
  }

  /** Which of the blocks this node should have and lacks. */
  readonly #serveNeed: RpcHandler = (body) => {
    const needed = checkHashes(body).map((hash) => {
      const record = this.local.counts.get(this.parts.db, hash)
      return record !== undefined && record.count > 0 && !record.present
    })
    return { body: { needed } }
  }
}
