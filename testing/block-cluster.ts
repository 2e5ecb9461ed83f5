/**
 * A cluster of nodes that hold only blocks and their references, for the block layer's tests: real tables and quorum
 * calls over the fake network, a Db and a disk that can crash.
 */
import { createHash } from 'node:crypto'
import { deflateSync, inflateSync } from 'node:zlib'
import { type BlockRefRow, blockRefSchema } from '../src/block/block-ref.js'
import type { Compression } from '../src/block/compression.js'
import { type DataDir, DataDirs } from '../src/block/data-dirs.js'
import {
  type Disk,
  type DiskEntry,
  type DiskSpace,
  type FileStat,
  parentFolder,
  TEMPORARY_SUFFIX,
  type WriteStep,
} from '../src/block/disk.js'
import { BLOCK_TREES, BlockManager } from '../src/block/manager.js'
import { RefCounts } from '../src/block/rc.js'
import { Quorum } from '../src/cluster/quorum.js'
import type { NodeId } from '../src/net/transport.js'
import { tableTrees } from '../src/table/row-keys.js'
import type { Table } from '../src/table/table.js'
import { TableSet } from '../src/table/tables.js'
import { type Clock, Hlc } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'
import { silentLog } from '../src/util/log.js'
import { FakeNet, type FakeNode, ManualClock, SeededRandom } from './cluster-fakes.js'
import { MemoryDb } from './memory-db.js'
import { StaticPlacement } from './table-cluster.js'

/** Steps of the disk at which a test may interpose: those of a write, and around a removal. */
export type DiskStep = WriteStep | 'remove' | 'removed'

interface CrashFile {
  content: Buffer
  /** The content after a crash; undefined if it was never synced. */
  synced: Buffer | undefined
  mtimeMs: number
}

/** Files in memory; a crash loses all that was not synced. */
export class CrashDisk implements Disk {
  /** Called after each step; an error that it throws fails the operation, as an I/O error would. */
  onStep: (step: DiskStep, path: string) => void | Promise<void> = () => {}
  freeBytes = 2 ** 40
  crashed = false
  #temporaries = 0
  /** The names after a crash: those whose folder was synced, or that existed at the start. */
  readonly #durable: Map<string, CrashFile>

  constructor(
    private readonly clock: Clock,
    readonly files: Map<string, CrashFile> = new Map(),
  ) {
    this.#durable = new Map(files)
  }

  /**
   * The files that a restarted node finds. A crash may leave any part of unsynced changes: here either nothing, or
   * (`keepNames`) all names with the synced part of their content.
   */
  reopen(keepNames: boolean): CrashDisk {
    this.crashed = true
    const left = new Map<string, CrashFile>()
    for (const [path, file] of keepNames ? this.files : this.#durable) {
      const content = file.synced ?? Buffer.alloc(0)
      left.set(path, { content, synced: content, mtimeMs: file.mtimeMs })
    }
    return new CrashDisk(this.clock, left)
  }

  async read(path: string): Promise<Buffer | undefined> {
    await this.#alive()
    const file = this.files.get(path)
    return file && Buffer.from(file.content)
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer | undefined> {
    return (await this.read(path))?.subarray(offset, offset + length)
  }

  async writeDurable(path: string, parts: readonly Buffer[], options: { fsync: boolean }): Promise<void> {
    const temporary = `${path}.${this.#temporaries++}${TEMPORARY_SUFFIX}`
    const content = Buffer.concat(parts)
    if (content.length > this.freeBytes) throw new CarportError('StorageFull', 'no space left')
    const file: CrashFile = { content: Buffer.alloc(0), synced: undefined, mtimeMs: this.clock.nowMs() }
    try {
      this.files.set(temporary, file)
      await this.#step('create', path)
      file.content = content
      await this.#step('write', path)
      if (options.fsync) file.synced = content
      await this.#step('fsync', path)
      this.files.delete(temporary)
      this.files.set(path, file)
      await this.#step('rename', path)
      if (options.fsync) await this.syncFolder(parentFolder(path))
      await this.#step('fsync-folder', path)
    } catch (error) {
      this.files.delete(temporary)
      throw error
    }
  }

  async syncFolder(folder: string): Promise<void> {
    await this.#alive()
    for (const path of this.#durable.keys()) {
      if (parentFolder(path) === folder && !this.files.has(path)) this.#durable.delete(path)
    }
    for (const [path, file] of this.files) if (parentFolder(path) === folder) this.#durable.set(path, file)
  }

  async remove(path: string): Promise<boolean> {
    await this.#step('remove', path)
    const removed = this.files.delete(path)
    await this.#step('removed', path)
    return removed
  }

  async rename(from: string, to: string): Promise<boolean> {
    await this.#alive()
    const file = this.files.get(from)
    if (!file) return false
    this.files.delete(from)
    this.files.set(to, file)
    return true
  }

  async list(folder: string): Promise<DiskEntry[]> {
    await this.#alive()
    const entries = new Map<string, DiskEntry>()
    for (const path of this.files.keys()) {
      if (!path.startsWith(`${folder}/`)) continue
      const [name, ...below] = path.slice(folder.length + 1).split('/')
      entries.set(name!, { name: name!, isFolder: below.length > 0 })
    }
    return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async stat(path: string): Promise<FileStat | undefined> {
    await this.#alive()
    const file = this.files.get(path)
    return file && { size: file.content.length, mtimeMs: file.mtimeMs }
  }

  async space(): Promise<DiskSpace> {
    await this.#alive()
    return { freeBytes: this.freeBytes, totalBytes: 2 ** 40 }
  }

  async #step(step: DiskStep, path: string): Promise<void> {
    await this.#alive()
    await this.onStep(step, path)
    await this.#alive()
  }

  /** Never settles after a crash: a dead process sees neither success nor failure. */
  #alive(): Promise<void> {
    return this.crashed ? new Promise(() => {}) : Promise.resolve()
  }
}

/** Compresses by deflate, without threads. */
export const syncCompression: Compression = {
  enabled: true,
  compress: (data) => deflateSync(data, { level: 1 }),
  decompress: (data) => inflateSync(data),
}

export interface BlockNode {
  readonly id: NodeId
  readonly db: MemoryDb
  readonly disk: CrashDisk
  readonly transport: FakeNode
  readonly placement: StaticPlacement
  readonly counts: RefCounts
  readonly tables: TableSet
  readonly table: Table<BlockRefRow>
  readonly blocks: BlockManager
}

export interface BlockClusterOptions {
  nodes: number
  seed?: number
  dirs?: readonly DataDir[]
  reserveBytes?: number
  memoryBytes?: number
  compression?: Compression
}

const DIRS: readonly DataDir[] = [{ path: '/data', capacity: 1, readOnly: false }]
const TREES = [...BLOCK_TREES, ...tableTrees({ name: 'block_ref' })]

export class BlockCluster {
  readonly clock = new ManualClock()
  readonly net = new FakeNet(this.clock)
  readonly random: SeededRandom
  readonly nodes: BlockNode[] = []

  constructor(private readonly options: BlockClusterOptions) {
    this.random = new SeededRandom(options.seed ?? 1)
    for (let i = 0; i < options.nodes; i++) {
      this.nodes.push(this.#build(i, new MemoryDb({ trees: TREES }), new CrashDisk(this.clock)))
    }
    const ids = this.ids()
    for (const node of this.nodes) node.placement.set(ids, 1, () => [ids.slice(0, 3)])
    for (const node of this.nodes) this.connect(node.id)
  }

  ids(): NodeId[] {
    return this.nodes.map(({ id }) => id)
  }

  #build(i: number, db: MemoryDb, disk: CrashDisk): BlockNode {
    const transport = this.net.add(`node${i}`, { host: `node${i}`, port: 1 })
    return this.#process(transport, new StaticPlacement(transport.self), db, disk)
  }

  #process(transport: FakeNode, placement: StaticPlacement, db: MemoryDb, disk: CrashDisk): BlockNode {
    const { clock, random, options } = this
    const quorum = new Quorum(transport, clock)
    const base = { db, transport, placement, clock, random, log: silentLog }
    const tables = new TableSet({ ...base, quorum, hlc: new Hlc(clock) })
    const counts = new RefCounts(clock)
    const table = tables.add(blockRefSchema(counts))
    const blocks = new BlockManager({
      ...{ ...base, disk, counts, table, caller: quorum },
      dirs: new DataDirs(options.dirs ?? DIRS),
      compression: options.compression ?? syncCompression,
      beginWrite: () => quorum.beginWrite(),
      rowScrub: () => tables.rowScrub(),
      options: {
        fsync: true,
        reserveBytes: options.reserveBytes ?? 0,
        memoryBytes: options.memoryBytes ?? 64 << 20,
        resync: { workers: 2, tranquility: 0 },
        scrubTranquility: 0,
        pollMs: 600_000,
      },
    })
    return { id: transport.self, db, disk, transport, placement, counts, tables, table, blocks }
  }

  /** Makes another process of the node, which shares database and files and answers no calls. */
  sibling(i: number): BlockManager {
    const { db, disk, placement } = this.nodes[i]!
    const transport = new FakeNet(this.clock).add(`node${i}`, { host: `node${i}`, port: 1 })
    return this.#process(transport, placement, db, disk).blocks
  }

  connect(id: NodeId): void {
    for (const other of this.net.nodes.keys()) if (other !== id) this.net.link(id, other)
  }

  /** Starts the background services of the nodes (default: all). */
  async start(nodes: readonly BlockNode[] = this.nodes): Promise<void> {
    for (const { blocks } of nodes) {
      blocks.start()
      await this.run(Promise.all([blocks.refs.start(), blocks.resync.start(), blocks.scrub.start()]))
    }
  }

  async stop(nodes: readonly BlockNode[] = this.nodes): Promise<void> {
    for (const { blocks } of nodes) {
      await this.run(
        Promise.all([blocks.refs.stop(), blocks.resync.stop(), blocks.scrub.stop(), blocks.stop()]),
      )
    }
  }

  /** Cuts the power of the node's machine: all that was not durable is gone, or its names are left (`keepNames`). */
  crash(i: number, keepNames = false): BlockNode {
    const old = this.nodes[i]!
    this.net.kill(old.id)
    old.db.crash()
    // A dead process's loops must not go on. They cannot finish their work either, so nobody waits for them.
    for (const service of [old.blocks.refs, old.blocks.resync, old.blocks.scrub]) void service.stop()
    const node = this.#build(i, old.db.reopen(), old.disk.reopen(keepNames))
    const others = this.nodes.find((other) => other !== old)?.placement ?? old.placement
    node.placement.set(others.allNodes(), others.layoutVersion, (p) => others.writeSets(p))
    this.nodes[i] = node
    this.connect(node.id)
    return node
  }

  /** Waits for a promise while the time goes on. */
  async run<T>(promise: Promise<T>, withinMs = 600_000): Promise<T> {
    let done = false
    const settled = promise.finally(() => {
      done = true
    })
    settled.catch(() => {})
    await this.clock.until(() => done, withinMs, 5)
    return settled
  }

  /** Puts the reference rows of an owner, or their deletion, into the table at once. */
  async reference(node: BlockNode, owner: Buffer, hashes: readonly Buffer[], deleted = false): Promise<void> {
    await this.run(node.table.insertMany(hashes.map((hash) => ({ hash, owner, deleted }))))
    // insertMany resolves at the quorum: let the last replica get the rows too.
    await this.clock.advance(50)
  }
}

/** Makes a compressible block and its hash, different for every `n`, and in `partition` if one is given. */
export function blockOf(n: number, bytes = 5000, partition?: number): { hash: Buffer; data: Buffer } {
  for (let salt = 0; ; salt++) {
    const data = Buffer.alloc(bytes, `block ${n} ${salt} `)
    const hash = createHash('sha256').update(data).digest()
    if (partition === undefined || hash[0] === partition) return { hash, data }
  }
}

export function ownerOf(n: number): Buffer {
  const owner = Buffer.alloc(16, 0x77)
  owner.writeUInt32BE(n, 0)
  return owner
}

export function pathOf(hash: Buffer, dir = '/data'): string {
  const name = hash.toString('hex')
  return `${dir}/${name.slice(0, 2)}/${name}`
}
