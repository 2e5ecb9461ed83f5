import type { Compression } from '../src/block/compression.js'
import { DataDirs } from '../src/block/data-dirs.js'
import type { Graces } from '../src/block/rc.js'
import type { ConsistencyMode } from '../src/cluster/layout/view.js'
import type { RoleChange } from '../src/cluster/layout-manager.js'
import { inlineHashing } from '../src/model/content/hashing.js'
import type { EventOptions } from '../src/model/events/delivery.js'
import type { LifecycleOptions } from '../src/model/lifecycle/worker.js'
import type { NodeId } from '../src/net/transport.js'
import { ALL_TREES, Core } from '../src/node/core.js'
import type { TableSetOptions } from '../src/table/tables.js'
import { CarportError } from '../src/util/errors.js'
import type { Log } from '../src/util/log.js'
import { SeededRandom } from './seeded-random.js'
import { SimClock } from './sim-clock.js'
import { actAsEarlier, unsealRows } from './sim-first-release.js'
import { SimMachine } from './sim-machine.js'
import { SimNetwork } from './sim-network.js'
import type { PathProfile } from './sim-paths.js'

/** The longest body that the nodes keep in its row, in bytes: short, so that most have blocks. */
export const INLINE_BYTES_MAX = 16 * 1024

export interface SimClusterOptions {
  seed: number | string
  nodes: number
  zones: number
  /** How many more nodes there are that have a role without capacity; none unless told. */
  gateways?: number
  /** How many of them begin as nodes of the first release; none unless told. */
  earlierNodes?: number
  replicationFactor: number
  blockBytes: number
  /** The most that a wall clock is off, either way, in milliseconds. */
  clockSkewMs: number
  /** The path between zones; within a zone the latency is a tenth. */
  path: PathProfile
  /** The shortest and longest time from a commit of the databases to its durability, in ms (default 0.2 to 5). */
  commitDelayMs?: readonly [number, number]
  tables: TableSetOptions
  graces: Graces
  /** Targets of event notifications of a node. */
  events?: (node: number) => EventOptions
  /** How lifecycle rules count days; as in reality unless told. */
  lifecycle?: LifecycleOptions
  /** See Contests; as in reality unless told. */
  contestsMs?: number
  /** Time between two comparisons of control rows; a minute unless told, since only the S3 API asks for more. */
  controlRoundMs?: number
  /** 'consistent' unless told. */
  consistencyMode?: ConsistencyMode
  /** See SimClockOptions. */
  isQuick?: boolean
  /** Gets one line for each message and event. */
  trace?: (line: string) => void
  log?: (node: number) => Log
}

/** One place in the cluster: the machine, and the node's process while it runs. */
export class SimNode {
  core: Core | undefined
  /** Whether it is up and has started: clients may talk to it. */
  ready = false
  /** Whether bits flipped on its disk. */
  hasRot = false
  /** Whether it is of the first release, and whether it was until its last stop: see sim-first-release.ts. */
  isEarlier = false
  hasEarlierRows = false
  /** Resolves when the process that runs now dies. */
  died: Promise<void> = Promise.resolve()
  tellDeath: () => void = () => {}

  constructor(
    readonly index: number,
    readonly zone: string,
    readonly machine: SimMachine,
  ) {}

  get id(): NodeId {
    return this.machine.self
  }
}

const CAPACITY_BYTES = 1e12
const RPC_PORT = 3901
/** Memory for blocks on their way, of each node, in bytes. */
export const BLOCK_MEMORY_BYTES = 64 << 20
const noCompression: Compression = { enabled: false, compress: (data) => data, decompress: (data) => data }

/** The error of a wait for a process that died. */
export class NodeDied extends Error {
  override name = 'NodeDied'
}

/**
 * A whole cluster in one process: real nodes (everything of src/node/core.ts) on simulated machines. Time goes on
 * only while `clock` runs; the same options give the same run.
 */
export class SimCluster {
  readonly clock: SimClock
  readonly random: SeededRandom
  readonly network: SimNetwork
  readonly nodes: SimNode[] = []

  constructor(readonly options: SimClusterOptions) {
    this.clock = new SimClock(undefined, { isQuick: options.isQuick ?? false })
    this.random = new SeededRandom(options.seed)
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.random.fork('network'),
      profile: options.path,
      ...(options.trace && { trace: options.trace }),
    })
    for (let i = 0; i < options.nodes + (options.gateways ?? 0); i++) this.#addMachine(i)
    const from = options.nodes - (options.earlierNodes ?? 0)
    for (const node of this.nodes.slice(from, options.nodes)) node.isEarlier = true
    this.resetPaths()
  }

  #addMachine(index: number): SimNode {
    const { clockSkewMs, commitDelayMs, zones, log } = this.options
    const machine = new SimMachine({
      network: this.network,
      name: `node${index}`,
      address: { host: `node${index}`, port: RPC_PORT },
      trees: ALL_TREES,
      clockOffsetMs: (2 * this.random.float() - 1) * clockSkewMs,
      ...(commitDelayMs && { commitDelayMs }),
      ...(log && { log: log(index) }),
    })
    const node = new SimNode(index, `zone${index % zones}`, machine)
    this.nodes.push(node)
    return node
  }

  /** Boots all nodes and gives each a role. Resolves when every node uses the layout. */
  async start(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.boot(node)))
    const peers = Math.min(1, this.nodes.length - 1)
    await this.#until(() => this.nodes.every(({ core }) => core!.cluster.peering.connected().length >= peers))
    await this.changeLayout(
      this.nodes.map((node, i) => ({
        node: node.id,
        role: i < this.options.nodes ? roleOf(node) : { ...roleOf(node), capacityBytes: null },
      })),
      this.nodes[0]!,
    )
    await this.#until(() => this.nodes.every(({ core }) => core!.cluster.layout.layoutVersion === 1))
  }

  /** Adds a machine, boots it, and waits until it knows the others. It has no role yet. */
  async grow(): Promise<SimNode> {
    const node = this.#addMachine(this.nodes.length)
    this.resetPaths()
    await this.boot(node)
    await this.#until(() => !node.ready || (node.core?.cluster.peering.connected().length ?? 0) > 0)
    return node
  }

  /** Stages roles and applies them as the next version, by one node. */
  async changeLayout(roles: readonly RoleChange[], by: SimNode): Promise<void> {
    const { cluster } = by.core!
    await this.surviving(by, cluster.stageLayout({ roles }))
    await this.surviving(by, cluster.applyLayout(cluster.layout.layoutVersion + 1))
  }

  /** Starts the process of a node that was down. Resolves when it serves, or has died before. */
  async boot(node: SimNode): Promise<void> {
    const { options } = this
    const platform = node.machine.boot()
    node.died = new Promise((resolve) => {
      node.tellDeath = resolve
    })
    const { transport } = platform
    const core = new Core(
      {
        ...platform,
        dialer: transport,
        dirs: new DataDirs([{ path: '/data', capacity: 1, readOnly: false }]),
        compression: noCompression,
        hashing: inlineHashing,
      },
      {
        replicationFactor: options.replicationFactor,
        consistencyMode: options.consistencyMode ?? 'consistent',
        bootstrapPeers: this.nodes
          .filter((other) => other !== node)
          .map(({ id, index }) => ({ id, address: { host: `node${index}`, port: RPC_PORT } })),
        hostname: `node${node.index}`,
        version: 'simulated',
        publicAddress: `node${node.index}:${RPC_PORT}`,
        rpcPort: RPC_PORT,
        blockBytes: options.blockBytes,
        inlineBytesMax: INLINE_BYTES_MAX,
        blocks: { fsync: true, reserveBytes: 0, memoryBytes: BLOCK_MEMORY_BYTES, scrubTranquility: 0 },
        scrub: true,
        tables: options.tables,
        graces: options.graces,
        ...(options.events && { events: options.events(node.index) }),
        ...(options.lifecycle && { lifecycle: options.lifecycle }),
        ...(options.contestsMs !== undefined && { contestsMs: options.contestsMs }),
        controlRoundMs: options.controlRoundMs ?? 60_000,
      },
    )
    node.core = core
    if (node.isEarlier) actAsEarlier(core, platform)
    try {
      if (node.hasEarlierRows) await this.surviving(node, unsealRows(platform))
      node.hasEarlierRows = false
      await this.surviving(node, core.start())
      node.ready = true
    } catch (error) {
      if (!(error instanceof NodeDied)) throw error
    }
  }

  /** Ends the process in the middle of its work; with 'machine', everything not synced is lost too. */
  crash(node: SimNode, what: 'process' | 'machine'): void {
    node.ready = false
    node.core = undefined
    node.machine.crash(what)
    node.tellDeath()
  }

  /** Settles as `promise`, or rejects with NodeDied when the node's process ends first. */
  surviving<T>(node: SimNode, promise: Promise<T>): Promise<T> {
    const { died } = node
    return Promise.race([
      promise,
      died.then(() => {
        throw new NodeDied(`node${node.index} died`)
      }),
    ])
  }

  /** Sets all paths as they were at the start, with the given changes. */
  resetPaths(changes: Partial<PathProfile> = {}): void {
    const path = { ...this.options.path, ...changes }
    const near = { ...path, latencyMs: path.latencyMs / 10, jitterMs: path.jitterMs / 10 }
    for (const a of this.nodes) {
      for (const b of this.nodes) {
        if (a.index < b.index) this.network.setPath(a.id, b.id, a.zone === b.zone ? near : path)
      }
    }
  }

  readyNodes(): SimNode[] {
    return this.nodes.filter(({ ready }) => ready)
  }

  /** Tries at nodes that are up until one attempt succeeds. */
  async retried<T>(random: SeededRandom, run: (node: SimNode) => Promise<T>, retries = 100): Promise<T> {
    for (let i = 0; ; i++) {
      const ready = this.readyNodes()
      try {
        if (ready.length === 0) throw new CarportError('PeerUnreachable', 'no node is up')
        const node = random.pick(ready)
        return await this.surviving(node, run(node))
      } catch (error) {
        if (i === retries) throw error
        await this.clock.sleep(2000)
      }
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.clock.sleep(20)
  }
}

/** The role of a storage node. */
export function roleOf(node: SimNode): NonNullable<RoleChange['role']> {
  return { zone: node.zone, capacityBytes: CAPACITY_BYTES, tags: [] }
}
