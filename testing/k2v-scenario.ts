import type { Bucket } from '../src/model/buckets/buckets.js'
import { EMPTY_CLOCK, isNewer, type VectorClock } from '../src/model/k2v/causality.js'
import { clockOf } from '../src/model/k2v/item.js'
import { SeenMarker } from '../src/model/k2v/seen-marker.js'
import type { Model } from '../src/model/model.js'
import { CarportError } from '../src/util/errors.js'
import { SeededRandom } from './seeded-random.js'
import { NodeDied, roleOf, SimCluster, type SimNode } from './sim-cluster.js'
import { K2vItems, PARTITION_KEYS, type Tokens } from './sim-k2v.js'
import { Nemesis, type NemesisOptions } from './sim-nemesis.js'
import { Pace } from './sim-pace.js'
import { Script } from './sim-script.js'

export interface K2vScenarioOptions {
  seed: number
  /**
   * 'faults': partitions, crashes, clocks. 'layout': the same while a node comes and another one goes. 'amnesia': databases
   * are lost, or go back to a snapshot, one after the other.
   */
  kind: 'faults' | 'layout' | 'amnesia'
  loadMs: number
}

export interface K2vScenarioResult {
  problems: string[]
  counts: Record<string, number>
}

const CLIENTS = 6
const WATCHERS = 3
const LIMIT_MS = 24 * 3600_000
/** Time in which nothing fails before the final checks, in ms: hints are sent, copies compared, tombstones collected. */
const QUIET_MS = 10 * 60_000

const NEMESIS: NemesisOptions = {
  acts: [
    'partition',
    'partition',
    'one-way',
    'slow',
    'lossy',
    'kill',
    'kill',
    'power-off',
    'clock',
    'blackout',
  ],
  ...{ everyMs: 3000, lastsMs: 20_000, outageMs: [0, 0], downMax: 2, promiseStrikeShare: 0, strikeShare: 0 },
}

/** Runs clients of K2V on a simulated cluster while things break; the same options give the same run. */
export async function runK2vScenario(options: K2vScenarioOptions): Promise<K2vScenarioResult> {
  const random = new SeededRandom(`k2v/${options.kind}/${options.seed}`)
  const cluster = new SimCluster({
    seed: options.seed,
    nodes: options.kind === 'amnesia' ? 4 : 5,
    zones: 3,
    replicationFactor: 3,
    blockBytes: 4096,
    clockSkewMs: random.pick([5, 200, 3000]),
    path: {
      latencyMs: random.pick([2, 20, 50]),
      jitterMs: 5,
      lossShare: random.pick([0, 0.005]),
      bytesPerMs: 10_000,
    },
    tables: { tombstoneDelayMs: 120_000, syncIntervalMs: 60_000, syncSoonMs: 2000 },
    graces: { unreferencedMs: 60_000, unclaimedMs: 300_000 },
  })
  const scenario = new K2vScenario(options, cluster, random)
  await cluster.clock.runUntil(scenario.run(), LIMIT_MS)
  return { problems: scenario.problems, counts: scenario.counts }
}

class K2vScenario {
  readonly problems: string[] = []
  readonly counts: Record<string, number> = {}
  #bucket!: Bucket
  #items!: K2vItems
  #isLoad = true

  constructor(
    private readonly options: K2vScenarioOptions,
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
  ) {}

  async run(): Promise<void> {
    const { cluster, random, options, problems } = this
    await cluster.start()
    this.#bucket = await cluster.retried(random, (node) => node.core!.model.buckets.create('items'))
    this.#items = new K2vItems(cluster, this.#bucket.id, problems, this.counts)
    const pace = Pace.atOnce(cluster.clock.monotonicMs(), options.loadMs)
    const untilMs = pace.endMs
    const clients = Array.from({ length: CLIENTS }, (_, i) =>
      this.#client(random.fork(`client${i}`), untilMs),
    )
    const watchers = Array.from({ length: WATCHERS }, (_, i) => this.#watch(random.fork(`watcher${i}`), i))
    const nemesis = new Nemesis(cluster, random.fork('nemesis'), new Script(), NEMESIS, problems)
    const breaking =
      options.kind === 'amnesia' ? this.#forget(untilMs) : nemesis.run(pace).then(() => nemesis.end())
    const layouts = options.kind === 'layout' ? this.#changeLayouts() : undefined
    await Promise.all([...clients, breaking, layouts])
    cluster.resetPaths({ lossShare: 0 })
    await cluster.clock.sleep(60_000)
    await this.#items.checkPolls(random, this.#try)
    this.#isLoad = false
    await this.#checkWatchers(await Promise.all(watchers))
    await cluster.clock.sleep(QUIET_MS)
    await this.#items.readAll(random)
    problems.push(...this.#items.check())
  }

  async #client(random: SeededRandom, untilMs: number): Promise<void> {
    const { cluster } = this
    const tokens: Tokens = new Map()
    while (cluster.clock.monotonicMs() < untilMs) {
      await cluster.clock.sleep(random.exponential(150))
      const ready = cluster.readyNodes()
      if (ready.length > 0) await this.#items.step(random.pick(ready), random, tokens, this.#try)
    }
  }

  /** Returns undefined if the operation failed, whatever for. */
  readonly #try = async <T>(
    node: SimNode,
    what: string,
    run: (model: Model) => Promise<T>,
  ): Promise<T | undefined> => {
    const kind = what.split(' ')[0]!
    this.#count(kind)
    try {
      return await this.cluster.surviving(node, run(node.core!.model))
    } catch (error) {
      this.#count(`${kind}!`)
      if (error instanceof NodeDied || error instanceof CarportError) return undefined
      this.problems.push(
        `${kind} at node${node.index}: ${error instanceof Error ? error.stack : String(error)}`,
      )
      return undefined
    }
  }

  #count(kind: string): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
  }

  /** Follows a partition key by PollRange from node to node, and returns what it has seen of each item. */
  async #watch(random: SeededRandom, i: number): Promise<Map<string, VectorClock>> {
    const partitionKey = Buffer.from(PARTITION_KEYS[i % PARTITION_KEYS.length]!)
    const seen = new Map<string, VectorClock>()
    let marker: SeenMarker | undefined
    /** Polls since the load ended that had nothing to tell. */
    let quiet = 0
    while (this.#isLoad || quiet < 2) {
      await this.cluster.clock.sleep(random.exponential(200))
      const ready = this.cluster.readyNodes()
      if (ready.length === 0) continue
      const node = random.pick(ready)
      const given = marker
      const told = await this.#try(node, 'watch', async ({ k2vPolls }) => ({
        news: await k2vPolls.pollRange(this.#bucket.id, partitionKey, {}, given, { timeoutMs: 3000 }),
      }))
      if (!told) continue
      const { news } = told
      if (!news) {
        if (!this.#isLoad) quiet++
        continue
      }
      quiet = 0
      this.#count('watch answered')
      for (const item of news.items) {
        const name = `${partitionKey}/${item.sortKey}`
        this.#items.history.see(name, item, `watch ${this.#items.note(node)}`)
        seen.set(name, clockOf(item))
      }
      marker = SeenMarker.decode(news.marker.encode())
    }
    return seen
  }

  /** Databases are lost or go back to snapshots, one after the other, each when the one before has caught up. */
  async #forget(untilMs: number): Promise<void> {
    const { cluster, random } = this
    const isWhole = () =>
      cluster.nodes.every(({ ready, core }) => {
        // A database that is empty, or went back, does not know it before it has heard of its peers.
        if (!ready || core!.cluster.layout.layoutVersion === 0 || !core!.cluster.layout.confirmed)
          return false
        const { copies } = core!.cluster.ownStatus()
        return copies?.whole === copies?.total
      })
    let round = 0
    while (cluster.clock.monotonicMs() < untilMs) {
      const node = random.pick(cluster.nodes)
      const goesBack = random.chance(0.6)
      const folder = `snap-${round++}`
      if (goesBack) {
        await node.machine.platform!.db.snapshot(folder)
        // As the node itself does after a snapshot.
        await node.core!.cluster.layout.age.raise()
        await cluster.clock.sleep(random.float() * 15_000)
      }
      cluster.crash(node, random.pick(['process', 'machine']))
      if (goesBack) node.machine.restoreSnapshot(folder)
      else node.machine.wipe()
      this.#count(goesBack ? 'went back' : 'wiped')
      await cluster.clock.sleep(random.float() * 5000)
      await cluster.boot(node)
      while (!isWhole()) await cluster.clock.sleep(500)
      await cluster.clock.sleep(random.float() * 5000)
    }
  }

  async #changeLayouts(): Promise<void> {
    const { cluster, random } = this
    const everyMs = this.options.loadMs / 3
    await cluster.clock.sleep(everyMs / 2)
    const newcomer = await cluster.grow()
    await cluster.retried(random, (by) =>
      cluster.changeLayout([{ node: newcomer.id, role: roleOf(newcomer) }], by),
    )
    await cluster.clock.sleep(everyMs)
    const leaver = random.pick(cluster.nodes.slice(1, 5))
    await cluster.retried(random, (by) => cluster.changeLayout([{ node: leaver.id, role: null }], by))
  }

  /** Reads all items. What watchers have seen of them must be no more. */
  async #checkWatchers(watched: readonly Map<string, VectorClock>[]): Promise<void> {
    await this.#items.readAll(this.random, (place, item) => {
      for (const [i, seen] of watched.entries()) {
        if (!item || PARTITION_KEYS[i % PARTITION_KEYS.length] !== place.partitionKey.toString()) continue
        if (isNewer(clockOf(item), seen.get(place.name) ?? EMPTY_CLOCK))
          this.problems.push(`watcher ${i} has missed something of ${place.name}`)
      }
    })
  }
}
