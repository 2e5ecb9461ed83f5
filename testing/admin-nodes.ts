/** Whole nodes without HTTP, over the fake network, that an operator's client calls. */
import { createHash } from 'node:crypto'
import type { OperationArgs, OperationName } from '../src/api/admin/operation-schemas.js'
import { ADMIN_CALL_METHOD, type OperationResult } from '../src/api/admin/operations.js'
import { type AdminService, serveAdmin } from '../src/api/admin/serve.js'
import type { MachineFacts, MultiResponse } from '../src/api/admin/types.js'
import { DataDirs } from '../src/block/data-dirs.js'
import { parsePeerSpec } from '../src/cluster/address.js'
import type { Bucket } from '../src/model/buckets/buckets.js'
import { inlineHashing } from '../src/model/content/hashing.js'
import type { UploadRow } from '../src/model/uploads/tables.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { NodeId } from '../src/net/transport.js'
import { ALL_TREES, Core } from '../src/node/core.js'
import { Hlc } from '../src/util/clock.js'
import { CarportError } from '../src/util/errors.js'
import { silentLog } from '../src/util/log.js'
import { CrashDisk, syncCompression } from './block-cluster.js'
import { FakeNet, type FakeNode, ManualClock, SeededRandom } from './cluster-fakes.js'
import { MemoryDb } from './memory-db.js'

export const CLIENT: NodeId = 'c1'.repeat(32)
/** The most bytes that are kept inline, and the size of a block. */
export const BLOCK_BYTES = 20_000

/** A healthy machine. */
export const MACHINE: MachineFacts = {
  secrets: [{ what: 'metadata', path: '/meta', mode: 0o700 }],
  volumes: [
    {
      ...{ use: 'metadata', path: '/meta', readOnly: false, lost: false },
      ...{ available: 50e9, total: 100e9, fsyncMs: 2, problem: null },
    },
    {
      ...{ use: 'data', path: '/data', readOnly: false, lost: false },
      ...{ available: 500e9, total: 1000e9, fsyncMs: 2, problem: null },
    },
  ],
  snapshots: { count: 0, newestSecsAgo: null, intervalSecs: null },
}

export interface AdminNode {
  id: NodeId
  transport: FakeNode
  db: MemoryDb
  disk: CrashDisk
  core: Core
  admin: AdminService
  /** Paths of the snapshots that were asked for. */
  snapshots: string[]
}

export class AdminCluster {
  readonly clock = new ManualClock()
  readonly net = new FakeNet(this.clock)
  readonly nodes: AdminNode[] = []
  /** Operations that were called. */
  readonly called = new Set<OperationName>()

  constructor(
    nodes: number,
    private readonly replicationFactor = nodes,
  ) {
    for (let i = 0; i < nodes; i++) this.#build(i)
  }

  #build(i: number, db = new MemoryDb({ trees: ALL_TREES }), disk = new CrashDisk(this.clock)): AdminNode {
    const { clock, net, replicationFactor } = this
    const transport = net.add(`n${i}`, { host: `n${i}`, port: 3901 })
    const random = new SeededRandom(i + 1)
    const core = new Core(
      {
        ...{ clock, random, db, transport, disk, log: silentLog },
        hlc: new Hlc(clock),
        dialer: transport,
        dirs: new DataDirs([{ path: '/data', capacity: 1, readOnly: false }]),
        compression: syncCompression,
        hashing: inlineHashing,
        diskSpace: async () => ({
          metadata: { available: 50e9, total: 100e9 },
          data: { available: 500e9, total: 1000e9 },
        }),
      },
      {
        replicationFactor,
        consistencyMode: 'consistent',
        bootstrapPeers: i === 0 ? [] : [parsePeerSpec('n0:3901')],
        hostname: `n${i}`,
        version: '1.2.3',
        rpcPort: 3901,
        blockBytes: BLOCK_BYTES,
        inlineBytesMax: 16_384,
        blocks: { fsync: true, reserveBytes: 0, memoryBytes: 64 << 20 },
        scrub: true,
      },
    )
    const snapshots: string[] = []
    const admin = serveAdmin(transport, {
      ...{ clock, random, db, log: silentLog, replicationFactor, scrubs: true },
      consistencyMode: 'consistent',
      machine: {
        uptimeSecs: () => clock.monotonicMs() / 1000,
        facts: async () => MACHINE,
        acceptFolders: async () => {},
        probe: async (address) => ({ id: this.#idAt(address), incarnation: address }),
      },
      api: {
        runtime: 'Node.js 24',
        connectionParameters: { region: 'garage', s3Endpoint: null, s3UsePathStyle: null, k2vEndpoint: null },
        canEncrypt: true,
        configuredTokens: [],
      },
      ...{ cluster: core.cluster, tables: core.tables, blockRefs: core.blockRefs },
      ...{ blocks: core.blocks, model: core.model, catchUp: core.catchUp },
      snapshot: async () => {
        const path = `/snapshots/${snapshots.length}`
        await db.snapshot(path)
        snapshots.push(path)
        return path
      },
    })
    const node: AdminNode = { id: transport.self, transport, db, disk, core, admin, snapshots }
    this.nodes[i] = node
    return node
  }

  #idAt(address: string): NodeId {
    const at = this.nodes.find((_, i) => address === `n${i}:3901`)
    if (!at) throw new CarportError('PeerUnreachable', `${address}: nobody is there`)
    return at.id
  }

  /** Starts all nodes; they find each other. */
  async start(): Promise<void> {
    for (const { core } of this.nodes) await this.run(core.start())
    const all = this.nodes.length - 1
    await this.clock.until(
      () => this.nodes.every(({ core }) => core.cluster.peering.connected().length === all),
      10_000,
    )
    // Load the argument checks now, the slowest part to load: the fake clock knows nothing of loading.
    await Promise.all(this.nodes.map(({ admin }) => admin.load()))
  }

  /** Applies a layout with all nodes, each in its own zone. */
  async layOut(): Promise<void> {
    const roles = this.nodes.map(({ id }, i) => ({ id, zone: `z${i}`, tags: [], capacity: 1e12 }))
    await this.call('layout.stage', { roles })
    await this.call('layout.apply', { version: 1 })
    await this.clock.until(
      () => this.nodes.every(({ core }) => core.cluster.layout.layoutVersion === 1),
      10_000,
    )
  }

  async stop(): Promise<void> {
    for (const { core, admin } of this.nodes) {
      await this.run(admin.stop())
      await this.run(core.stop())
    }
  }

  /** Starts a new process on the stored data of a node. */
  async restart(i: number): Promise<AdminNode> {
    const { id, db, disk, core, admin } = this.nodes[i]!
    await this.run(admin.stop())
    await this.run(core.stop())
    this.net.kill(id)
    const node = this.#build(i, db, disk)
    await this.run(node.core.start())
    await node.admin.load()
    return node
  }

  /** Calls an operation at node `i`, as the command line does. */
  call<N extends OperationName>(operation: N, args: OperationArgs<N>, i = 0): Promise<OperationResult<N>> {
    this.called.add(operation)
    return this.callRaw({ operation, args }, i) as Promise<OperationResult<N>>
  }

  /** The first node's answer, of the answers by node. */
  async onSelf<T>(response: Promise<MultiResponse<T>>): Promise<T> {
    const { success, error } = await response
    const { id } = this.nodes[0]!
    if (error[id] !== undefined) throw new Error(error[id])
    return success[id]!
  }

  async newBucket(name: string): Promise<{ id: string; bucket: () => Bucket }> {
    const { id } = await this.call('bucket.create', { globalAlias: name })
    return { id, bucket: () => this.nodes[0]!.core.model.buckets.byId(Buffer.from(id, 'hex'))! }
  }

  /** Calls an operation with any body, from a client or another node. */
  async callRaw(body: unknown, i = 0, from: NodeId = CLIENT): Promise<unknown> {
    const reply = await this.run(this.nodes[i]!.transport.serve(from, ADMIN_CALL_METHOD, body))
    return (reply.body as { result: unknown }).result
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

  async putObject(bucket: Bucket, key: string, content: Buffer, i = 0): Promise<VersionRecord> {
    const { model } = this.nodes[i]!.core
    const stored = await this.run(model.blobs.write(sourceOf(content)))
    return this.run(
      model.objects.put(
        {
          ...{ bucket: bucket.id, key: Buffer.from(key), etag: stored.md5, etagParts: 0, owner: '' },
          ...{ headers: { 'content-type': 'text/plain' }, metadata: { color: 'red' }, mutable: {} },
        },
        stored,
        bucket.versioning,
      ),
    )
  }

  async startUpload(bucket: Bucket, key: string, parts: readonly Buffer[]): Promise<UploadRow> {
    const { model } = this.nodes[0]!.core
    const upload = await this.run(
      model.uploads.create({
        ...{ bucket: bucket.id, key: Buffer.from(key), owner: '', headers: {}, metadata: {}, mutable: {} },
      }),
    )
    for (const [number, content] of parts.entries()) {
      const stored = await this.run(model.blobs.write(sourceOf(content), { inline: false }))
      await this.run(model.uploads.putPart(upload, { number: number + 1, etag: stored.md5 }, stored))
    }
    return upload
  }
}

/** Makes a content that is equal to no other. */
export function contentOf(name: string, bytes: number): Buffer {
  const content = Buffer.alloc(bytes, createHash('sha256').update(name).digest())
  content.write(name)
  return content
}

function sourceOf(content: Buffer) {
  return {
    length: content.length,
    readAll: async () => content,
    async *stream() {
      yield content
    },
  }
}
