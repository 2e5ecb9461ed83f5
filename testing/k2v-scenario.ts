import type { Bucket } from '../src/model/buckets/buckets.js'
import { EMPTY_CLOCK, isNewer, type VectorClock } from '../src/model/k2v/causality.js'
import { countsOf, indexRange, isSame, NO_COUNTS, plus } from '../src/model/k2v/counts.js'
import { clockOf, type K2vItem } from '../src/model/k2v/item.js'
import { SeenMarker } from '../src/model/k2v/seen-marker.js'
import { partitionPrefix } from '../src/model/k2v/table.js'
import { bucketPartition } from '../src/model/sort-keys.js'
import { prefixEnd } from '../src/table/row-keys.js'
import { CarportError } from '../src/util/errors.js'
import { K2vHistory } from './k2v-history.js'
import { SeededRandom } from './seeded-random.js'
import { NodeDied, roleOf, SimCluster, type SimNode } from './sim-cluster.js'
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
const PARTITION_KEYS = ['p', 'q']
const SORT_KEYS = ['a', 'b', 'c']
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

interface Place {
  name: string
  partitionKey: Buffer
  sortKey: Buffer
}

const PLACES: Place[] = PARTITION_KEYS.flatMap((pk) =>
  SORT_KEYS.map((sk) => ({ name: `${pk}/${sk}`, partitionKey: Buffer.from(pk), sortKey: Buffer.from(sk) })),
)

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
  readonly history = new K2vHistory()
  readonly problems: string[] = []
  readonly counts: Record<string, number> = {}
  #bucket!: Bucket
  #nextText = 0
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
    await this.#checkPolls()
    this.#isLoad = false
    const seen = await Promise.all(watchers)
    await this.#readAll(seen)
    await cluster.clock.sleep(QUIET_MS)
    await this.#readAll([])
    this.#checkReplicas()
    problems.push(...this.history.check())
  }

  async #client(random: SeededRandom, untilMs: number): Promise<void> {
    const { cluster } = this
    /** The last token of each item that this client has. */
    const tokens = new Map<string, VectorClock>()
    while (cluster.clock.monotonicMs() < untilMs) {
      await cluster.clock.sleep(random.exponential(150))
      const ready = cluster.readyNodes()
      if (ready.length === 0) continue
      const node = random.pick(ready)
      const place = random.pick(PLACES)
      const dice = random.float()
      if (dice < 0.35) {
        const item = await this.#read(node, place)
        if (item) tokens.set(place.name, clockOf(item))
      } else if (dice < 0.5) await this.#write(node, place, EMPTY_CLOCK, random)
      else if (dice < 0.9) await this.#write(node, place, tokens.get(place.name) ?? EMPTY_CLOCK, random)
      else await this.#poll(node, place, tokens.get(place.name) ?? EMPTY_CLOCK)
    }
  }

  /** Returns undefined if the operation failed, whatever for. */
  async #try<T>(node: SimNode, kind: string, run: () => Promise<T>): Promise<{ value: T } | undefined> {
    this.#count(kind)
    try {
      return { value: await this.cluster.surviving(node, run()) }
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

  async #read(node: SimNode, place: Place): Promise<K2vItem | undefined> {
    const callAt = this.history.moment()
    const found = await this.#try(node, 'read', () => node.core!.model.k2v.read(this.#bucket.id, place))
    if (found) this.history.read(place.name, found.value, callAt, this.#note(node))
    return found?.value
  }

  async #write(node: SimNode, place: Place, context: VectorClock, random: SeededRandom): Promise<void> {
    const text =
      random.chance(0.15) && context.size > 0 ? null : `v${this.#nextText++}`.padEnd(random.pick([4, 2000]))
    const op = this.history.write(place.name, text, context, this.#note(node))
    const content = text === null ? null : Buffer.from(text)
    const { partitionKey, sortKey } = place
    const write = { partitionKey, sortKey, context: context.size > 0 ? context : undefined, content }
    const done = await this.#try(node, 'write', () => node.core!.model.k2v.write(this.#bucket.id, [write]))
    if (done) this.history.answered(op)
  }

  async #poll(node: SimNode, place: Place, token: VectorClock): Promise<void> {
    const callAt = this.history.moment()
    const options = { timeoutMs: 5000 }
    const { k2vPolls } = node.core!.model
    const found = await this.#try(node, 'poll', () =>
      k2vPolls.pollItem(this.#bucket.id, place, token, options),
    )
    if (!found?.value) return
    this.#count('poll answered')
    if (!isNewer(clockOf(found.value), token))
      this.problems.push(`${this.#note(node)}: a poll told nothing new`)
    this.history.read(place.name, found.value, callAt, `poll ${this.#note(node)}`)
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
      const { k2vPolls } = node.core!.model
      const options = { timeoutMs: 3000 }
      const given = marker
      const news = await this.#try(node, 'watch', () =>
        k2vPolls.pollRange(this.#bucket.id, partitionKey, {}, given, options),
      )
      if (!news) continue
      if (!news.value) {
        if (!this.#isLoad) quiet++
        continue
      }
      quiet = 0
      this.#count('watch answered')
      for (const item of news.value.items) {
        const name = `${partitionKey}/${item.sortKey}`
        this.history.see(name, item, `watch ${this.#note(node)}`)
        seen.set(name, clockOf(item))
      }
      marker = SeenMarker.decode(news.value.marker.encode())
    }
    return seen
  }

  /** When nothing fails any more, a poll is told of what is written at another node. */
  async #checkPolls(): Promise<void> {
    for (const place of PLACES) {
      const nodes = this.cluster.nodes.filter(({ core }) => core!.cluster.layout.view.mayCoordinate)
      const [at, from] = [this.random.pick(nodes), this.random.pick(nodes)]
      const item = await this.#read(from, place)
      const token = item ? clockOf(item) : EMPTY_CLOCK
      const poll = at.core!.model.k2vPolls.pollItem(this.#bucket.id, place, token, { timeoutMs: 20_000 })
      await this.cluster.clock.sleep(1000)
      await this.#write(from, place, EMPTY_CLOCK, this.random)
      const told = await poll.catch(
        (error: unknown) => void this.problems.push(`a poll failed in the end: ${error}`),
      )
      if (!told)
        this.problems.push(
          `a poll of ${place.name} at node${at.index} was not told of a write at node${from.index}`,
        )
    }
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

  /** Reads every item at every node. What watchers have seen must be no less. */
  async #readAll(watched: readonly Map<string, VectorClock>[]): Promise<void> {
    for (const node of this.cluster.nodes) {
      if (!node.core!.cluster.layout.view.mayCoordinate) continue
      for (const place of PLACES) {
        const callAt = this.history.moment()
        const item = await this.cluster.retried(this.random, () =>
          node.core!.model.k2v.read(this.#bucket.id, place),
        )
        this.history.read(place.name, item, callAt, `in the end ${this.#note(node)}`)
        for (const [i, seen] of watched.entries()) {
          if (!item || PARTITION_KEYS[i % PARTITION_KEYS.length] !== place.partitionKey.toString()) continue
          if (isNewer(clockOf(item), seen.get(place.name) ?? EMPTY_CLOCK)) {
            this.problems.push(`watcher ${i} has missed something of ${place.name}`)
          }
        }
      }
    }
  }

  /** All replicas have the same items, and count them right. */
  #checkReplicas(): void {
    const { cluster, problems } = this
    const { id } = this.#bucket
    const ids = cluster.nodes[0]!.core!.cluster.layout.view.storageSet(bucketPartition(id))
    const states = cluster.nodes
      .filter((node) => ids.includes(node.id))
      .map((node) => {
        const { db } = node.machine.platform!
        const { local } = node.core!.model.k2v.items
        const all = { start: Buffer.alloc(0), end: undefined, reverse: false, limit: 100 }
        const counted = new Map(
          [...indexRange(db, id, all)].map((entry) => [entry.partitionKey.toString(), entry]),
        )
        for (const pk of PARTITION_KEYS) {
          const prefix = partitionPrefix(Buffer.from(pk))
          const rows = [...local.range(db, id, { start: prefix, end: prefixEnd(prefix)! })]
          const sum = rows.map(countsOf).reduce(plus, NO_COUNTS)
          if (!isSame(counted.get(pk) ?? NO_COUNTS, sum)) {
            problems.push(
              `node${node.index} counts ${JSON.stringify(counted.get(pk))} of ${pk}, and has ${JSON.stringify(sum)}`,
            )
          }
        }
        return local.root(db, bucketPartition(id))?.toString('hex') ?? 'empty'
      })
    if (new Set(states).size > 1) problems.push(`the replicas differ: ${states.join(', ')}`)
  }

  #note(node: SimNode): string {
    return `node${node.index}, ${this.cluster.clock.monotonicMs().toFixed(1)} ms`
  }
}
