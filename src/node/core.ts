import { ADMIN_TREES } from '../api/admin/variables.js'
import { type BlockRefRow, blockRefSchema } from '../block/block-ref.js'
import { CatchUp } from '../block/catch-up.js'
import type { Compression } from '../block/compression.js'
import type { DataDirs } from '../block/data-dirs.js'
import type { Disk } from '../block/disk.js'
import { BLOCK_TREES, BLOCKS_SYNC_NAME, BlockManager, type BlockOptions } from '../block/manager.js'
import { type Graces, RefCounts } from '../block/rc.js'
import type { PeerSpec } from '../cluster/address.js'
import { CheckedTransport } from '../cluster/checked-transport.js'
import type { ConsistencyMode } from '../cluster/layout/view.js'
import type { DiskReport, NodeStatus } from '../cluster/node-status.js'
import { CLUSTER_TREE } from '../cluster/peer-store.js'
import type { Dialer } from '../cluster/peering.js'
import { Quorum } from '../cluster/quorum.js'
import { ClusterSystem } from '../cluster/system.js'
import type { Db, TreeName } from '../db/db.js'
import type { Hashing } from '../model/content/hashing.js'
import type { EventOptions } from '../model/events/delivery.js'
import { k2vNotSupported } from '../model/k2v/store.js'
import type { LifecycleOptions } from '../model/lifecycle/worker.js'
import { MODEL_TREES, Model, TABLE_NAMES } from '../model/model.js'
import { INLINE_BYTES_MAX } from '../model/versions/record.js'
import type { Transport } from '../net/transport.js'
import { notSupported } from '../table/conditional.js'
import { DAMAGED_TREE, GC_TREE, RETRY_TREE, tableTrees } from '../table/row-keys.js'
import type { Table, TableEnv } from '../table/table.js'
import { TableSet, type TableSetOptions } from '../table/tables.js'
import type { Clock, Hlc } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import { Services } from '../util/services.js'

/** Every tree that a node's database has. */
export const ALL_TREES: readonly TreeName[] = [
  ...ADMIN_TREES,
  CLUSTER_TREE,
  GC_TREE,
  RETRY_TREE,
  DAMAGED_TREE,
  ...tableTrees({ name: 'block_ref' }),
  ...BLOCK_TREES,
  ...MODEL_TREES,
]

/** What a node is made of: the world as its layers see it, real or simulated. */
export interface CoreParts {
  clock: Clock
  hlc: Hlc
  random: Random
  log: Log
  db: Db
  transport: Transport
  dialer: Dialer
  disk: Disk
  dirs: DataDirs
  compression: Compression
  hashing: Hashing
  /** Takes the memory of a block that was read and is not needed any more. */
  recycle?: (block: Buffer) => void
  /** Stand in for the classes of quorum calls and blocks: with others that trace. */
  classes?: { Quorum: typeof Quorum; BlockManager: typeof BlockManager }
  /** Space of the file systems of metadata and data, for `status`. */
  diskSpace?: () => Promise<DiskReport>
}

export interface CoreOptions {
  replicationFactor: number
  consistencyMode: ConsistencyMode
  bootstrapPeers: readonly PeerSpec[]
  hostname: string
  version: string
  publicAddress?: string
  rpcPort: number
  /** The deadline of quorum calls, in ms; each has its own unless this is set. */
  callTimeoutMs?: number
  blockBytes: number
  /** The longest content kept in its row instead of in blocks, in bytes. */
  inlineBytesMax?: number
  /** Blocks of one body that are stored at the same time. */
  blocksInFlight?: number
  /** Memory for contents of all requests, in bytes; that of blocks unless told. */
  requestMemoryBytes?: number
  lifecycle?: LifecycleOptions
  events?: EventOptions
  blocks: BlockOptions
  /** Whether the slow walk that checks every block runs by itself. */
  scrub: boolean
  tables?: TableSetOptions
  /** See ModelDeps. */
  allowPunycode?: boolean
  /** Time between two comparisons of buckets, names and keys, in ms (see ControlFreshness). */
  controlRoundMs?: number
  /** How long blocks without references are kept (see GRACES). */
  graces?: Graces
  /** See ModelDeps. */
  contestsMs?: number
}

/** A node without its HTTP side: cluster, tables, blocks, model. */
export class Core implements Service {
  readonly name = 'core'
  readonly quorum: Quorum
  readonly cluster: ClusterSystem
  readonly tables: TableSet
  /** The replicated table of references to blocks. */
  readonly blockRefs: Table<BlockRefRow>
  readonly blocks: BlockManager
  readonly model: Model
  /** What this node has still to do. */
  readonly catchUp: CatchUp
  /** In the order of the layers: each needs those before it. */
  readonly #services: Services

  constructor(
    readonly parts: CoreParts,
    options: CoreOptions,
  ) {
    const { hlc, random, log, db, transport, dialer } = parts
    // Corrected by the peers' clocks, and in doubt while the machine's own is off: see PeerTime.
    const { clock } = hlc.peers
    const classes = parts.classes ?? { Quorum, BlockManager }
    this.quorum = new classes.Quorum(transport, clock, options.callTimeoutMs)
    this.cluster = new ClusterSystem({
      transport,
      dialer,
      quorum: this.quorum,
      db,
      clock,
      hlc,
      random,
      log,
      replicationFactor: options.replicationFactor,
      consistencyMode: options.consistencyMode,
      bootstrapPeers: options.bootstrapPeers,
      hostname: options.hostname,
      version: options.version,
      ...(options.publicAddress !== undefined && { publicAddress: options.publicAddress }),
      rpcPort: options.rpcPort,
      syncedTables: [...TABLE_NAMES, 'block_ref', BLOCKS_SYNC_NAME],
      ...(parts.diskSpace && { diskSpace: parts.diskSpace }),
      copies: () => this.tables.standing.counts(),
      damagedRows: () => this.tables.damaged.status().known,
      queueLength: () => this.catchUp.queueLength(),
    })
    this.quorum.readMark = () => this.cluster.layout.view.readMark
    const env: TableEnv = {
      db,
      transport: new CheckedTransport(transport, () => this.cluster.layout.view),
      quorum: this.quorum,
      placement: this.cluster.layout,
      clock,
      random,
      hlc,
      log,
      mayChange: () => {
        if (this.#isUnknownTo(({ conditionalWrites }) => conditionalWrites === false)) throw notSupported()
      },
      mayUseK2v: () => {
        if (this.#isUnknownTo(({ k2v }) => k2v === false)) throw k2vNotSupported()
      },
    }
    this.tables = new TableSet(env, options.tables)
    this.cluster.onWentBack(() => {
      this.tables.standing.demoteAll("a peer remembers a later state of this node's database")
      this.tables.lostVotes.begin()
    })
    const counts = new RefCounts(clock, options.graces)
    this.blockRefs = this.tables.add<BlockRefRow>(blockRefSchema(counts))
    this.blocks = new classes.BlockManager({
      ...{ clock, random, log, db, transport, counts },
      disk: parts.disk,
      dirs: parts.dirs,
      compression: parts.compression,
      placement: this.cluster.layout,
      caller: this.quorum,
      table: this.blockRefs,
      beginWrite: () => this.quorum.beginWrite(),
      rowScrub: () => this.tables.rowScrub(),
      options: options.blocks,
    })
    this.catchUp = new CatchUp({
      tables: this.tables,
      blocks: this.blocks,
      placement: this.cluster.layout,
      transport,
      clock,
    })
    // A copy of the references that is complete says which blocks must be here; those then take their time.
    this.cluster.layout.onSynced((name, ackedVersion) => {
      if (name === this.blockRefs.schema.name) this.blocks.refsSynced(ackedVersion)
    })
    this.model = new Model({
      env,
      tables: this.tables,
      blocks: this.blocks,
      enqueueRefs: (tx, ...reference) => this.blocks.refs.enqueue(tx, ...reference),
      hashing: parts.hashing,
      ...(parts.recycle && { recycle: parts.recycle }),
      blockBytes: options.blockBytes,
      inlineBytesMax: options.inlineBytesMax ?? INLINE_BYTES_MAX,
      blocksInFlight: options.blocksInFlight ?? 8,
      memoryBytes: options.requestMemoryBytes ?? options.blocks.memoryBytes,
      listsGraceMs: options.graces?.unreferencedMs,
      contestsMs: options.contestsMs,
      freshness: {
        ...(options.controlRoundMs !== undefined && { roundEveryMs: options.controlRoundMs }),
        mayBeOld: options.consistencyMode !== 'consistent',
      },
      allowPunycode: options.allowPunycode,
      ...(options.lifecycle && { lifecycle: options.lifecycle }),
      ...(options.events && { events: options.events }),
    })
    const { refs, resync, scrub } = this.blocks
    refs.isWanted = (reader, source) => this.model.stillRefers(reader, source)
    refs.isGone = (source) => this.model.isGone(env.db, source)
    this.#services = new Services(this.name, [
      this.cluster,
      this.tables,
      this.blocks,
      refs,
      resync,
      ...(options.scrub ? [scrub] : []),
      this.model,
    ])
  }

  /** Whether a node of the layout says that it does not know something. One that has not been heard of has no say, until it has. */
  #isUnknownTo(isOld: (status: NodeStatus) => boolean): boolean {
    const { layout, statuses } = this.cluster
    return layout.allNodes().some((node) => {
      const status = statuses.get(node)
      return status !== undefined && isOld(status)
    })
  }

  /** Starts the layers from the bottom up. The transport must answer already. */
  start(): Promise<void> {
    return this.#services.start()
  }

  /** Stops them from the top down; requests must have ended. Closes neither database nor transport. */
  stop(): Promise<void> {
    return this.#services.stop()
  }
}
