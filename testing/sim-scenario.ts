import { createHash } from 'node:crypto'
import type { Bucket } from '../src/model/buckets/buckets.js'
import { CarportError } from '../src/util/errors.js'
import { RegisterHistory } from './register-history.js'
import { SeededRandom } from './seeded-random.js'
import { Contents, SimClient, type Workload } from './sim-clients.js'
import { roleOf, SimCluster, type SimNode } from './sim-cluster.js'
import { checkQuiescent } from './sim-invariants.js'
import { Nemesis } from './sim-nemesis.js'

export interface ScenarioOptions {
  seed: number
  /** With 'faults' the five nodes stay; with 'layout' a sixth node comes and another one goes. */
  kind: 'faults' | 'layout'
  /** The number of copies of everything (default 3). */
  replicationFactor?: number
  /** How long clients work while things break, in ms of virtual time. */
  loadMs: number
  /** Time that a client thinks between two operations, in ms, on average; by default drawn from the seed. */
  thinkMs?: number
  /**
   * How long nothing fails before the final checks, in ms: time to collect all that is left over, several
   * rounds of graces and tombstones one after the other. 0: no check of what is stored.
   */
  quietMs?: number
  /** Gets every line of the trace. */
  onTrace?: (line: string) => void
}

export interface ScenarioResult {
  /** Descriptions of all faults; empty if there were none. */
  problems: string[]
  /** Equal for equal runs. */
  traceHash: string
  /** The number of operations by kind; `kind!` counts failures. */
  counts: Record<string, number>
  /** The number of the nemesis's acts by kind. */
  acts: Record<string, number>
  /** The number of reads and writes of registers. */
  operations: number
}

const CLIENTS = 8
const KEYS = ['a', 'b', 'b/c', 'b/d', 'e', 'f']
const VERSIONED_KEYS = ['v', 'v/w', 'x']
const QUIET_MS = 10 * 60_000
/** The longest that a run may take, in ms of virtual time. */
const LIMIT_MS = 24 * 3600_000

/**
 * Runs one seed: clients of all kinds at five nodes while things break, then rest, then every check there is. The same
 * options give the same run, message by message.
 */
export async function runScenario(options: ScenarioOptions): Promise<ScenarioResult> {
  const random = new SeededRandom(`scenario/${options.kind}/${options.seed}`)
  const hash = createHash('sha256')
  const blockBytes = random.pick([4096, 32 * 1024])
  const cluster = new SimCluster({
    seed: options.seed,
    nodes: 5,
    zones: random.pick([3, 5]),
    replicationFactor: options.replicationFactor ?? 3,
    blockBytes,
    clockSkewMs: random.pick([5, 200, 3000]),
    path: {
      latencyMs: random.pick([2, 20, 50]),
      jitterMs: 5,
      lossShare: random.pick([0, 0.005]),
      bytesPerMs: 10_000,
    },
    tables: { tombstoneDelayMs: 120_000, syncIntervalMs: 60_000, syncSoonMs: 2000 },
    graces: { unreferencedMs: 60_000, unclaimedMs: 300_000 },
    trace: (line) => {
      hash.update(line)
      options.onTrace?.(line)
    },
  })
  const problems: string[] = []
  const scenario = new Scenario(options, cluster, random, blockBytes, problems)
  await cluster.clock.runUntil(scenario.run(), LIMIT_MS)
  return {
    problems,
    traceHash: hash.digest('hex'),
    counts: scenario.counts,
    acts: scenario.acts,
    operations: scenario.history.size,
  }
}

class Scenario {
  readonly history = new RegisterHistory()
  readonly counts: Record<string, number> = {}
  acts: Record<string, number> = {}

  constructor(
    private readonly options: ScenarioOptions,
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
    private readonly blockBytes: number,
    private readonly problems: string[],
  ) {}

  async run(): Promise<void> {
    const { cluster, random, options, problems } = this
    await cluster.start()
    const w = await this.#workload()
    const nemesis = new Nemesis(
      cluster,
      random.fork('nemesis'),
      { everyMs: 3000, lastsMs: 20_000, downMax: 2 },
      problems,
    )
    const untilMs = cluster.clock.monotonicMs() + options.loadMs
    const clients = Array.from({ length: CLIENTS }, (_, i) =>
      new SimClient(w, random.fork(`client${i}`), `client${i}`).run(untilMs),
    )
    const layouts = options.kind === 'layout' ? this.#changeLayouts() : undefined
    await Promise.all([...clients, layouts, nemesis.run(untilMs).then(() => nemesis.end())])
    this.acts = nemesis.acts
    await this.#readAll(w)
    for (const bucket of [w.bucket, w.versionedBucket])
      await this.#retried((node) => node.core!.model.uploads.endAll(bucket.id))
    // The scrub finds the files that were being written at a crash.
    for (const { core } of cluster.nodes) await core!.blocks.scrub.begin()
    const { quietMs = QUIET_MS } = options
    await cluster.clock.sleep(quietMs)
    await this.#readAll(w)
    problems.push(...this.history.check())
    if (quietMs === 0) return
    // The checks ask only once, so no message may get lost.
    cluster.resetPaths({ lossShare: 0 })
    problems.push(...(await checkQuiescent(w)))
  }

  async #workload(): Promise<Workload> {
    const { cluster } = this
    const bucket = await this.#retried((node) => node.core!.model.buckets.create('plain'))
    let versionedBucket: Bucket = await this.#retried((node) => node.core!.model.buckets.create('versioned'))
    await this.#retried((node) =>
      node.core!.model.buckets.setDocument(versionedBucket, 'versioning', 'enabled'),
    )
    const known = () => cluster.nodes[0]!.core!.model.buckets.byId(versionedBucket.id)
    while (known()?.versioning !== 'enabled') await cluster.clock.sleep(100)
    versionedBucket = known()!
    return {
      ...{ cluster, bucket, versionedBucket, keys: KEYS, versionedKeys: VERSIONED_KEYS },
      history: this.history,
      contents: new Contents(this.blockBytes),
      problems: this.problems,
      versions: new Map(),
      deletedVersions: new Map(),
      thinkMs: this.options.thinkMs ?? this.random.pick([20, 150, 400]),
      counts: this.counts,
    }
  }

  /** A sixth node joins and gets a role, then another one loses its, while everything goes on. */
  async #changeLayouts(): Promise<void> {
    const { cluster, random } = this
    const everyMs = this.options.loadMs / 3
    await cluster.clock.sleep(everyMs / 2)
    const newcomer = await cluster.grow()
    await this.#retried((by) => cluster.changeLayout([{ node: newcomer.id, role: roleOf(newcomer) }], by))
    await cluster.clock.sleep(everyMs)
    // Node 0 stays, since the checks ask it. The node that goes stays up until its data is elsewhere.
    const leaver = random.pick(cluster.nodes.slice(1, 5))
    await this.#retried((by) => cluster.changeLayout([{ node: leaver.id, role: null }], by))
  }

  /** Reads every key at every node. */
  async #readAll(w: Workload): Promise<void> {
    for (const node of this.cluster.nodes) {
      if (!node.core!.cluster.layout.view.mayCoordinate) continue
      for (const [bucket, keys, prefix] of [
        [w.bucket, w.keys, ''],
        [w.versionedBucket, w.versionedKeys, 'versioned/'],
      ] as const) {
        for (const key of keys) {
          const op = this.history.call(`${prefix}${key}`, 'read', null, `at the end at node${node.index}`)
          const version = await this.#retried(() => node.core!.model.objects.get(bucket.id, Buffer.from(key)))
          this.history.answered(op, version?.state === 'object' ? version.etag.toString('hex') : null)
        }
      }
    }
  }

  /** Tries at nodes that are up until one attempt succeeds. */
  async #retried<T>(run: (node: SimNode) => Promise<T>): Promise<T> {
    const { cluster, random } = this
    for (let i = 0; ; i++) {
      const ready = cluster.readyNodes()
      try {
        if (ready.length === 0) throw new CarportError('PeerUnreachable', 'no node is up')
        const node = random.pick(ready)
        return await cluster.surviving(node, run(node))
      } catch (error) {
        if (i === 100) throw error
        await cluster.clock.sleep(2000)
      }
    }
  }
}
