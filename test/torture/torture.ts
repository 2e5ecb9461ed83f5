import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RawS3, type Target } from '../../bench/load/raw-s3.js'
import { memoryOf } from '../../bench/proc.js'
import { freePorts } from '../../bench/stores/server-process.js'
import { RegisterHistory } from '../../testing/register-history.js'
import { SeededRandom } from '../../testing/seeded-random.js'
import { LifeCluster, until } from '../life/kit/life-cluster.js'
import type { LifeNode } from '../life/kit/life-node.js'
import type { AccessKey } from '../support/fill-store.js'
import { Disks } from './disks.js'
import type { EarlierRelease } from './earlier.js'
import { Gates } from './gates.js'
import { BUCKET, TortureLoad } from './load.js'

const WATCH_EVERY_MS = 500

/** What a scenario did to a cluster, and how the cluster took it. */
export interface TortureReport {
  name: string
  seconds: number
  requests: number
  /** Answers of 5xx, at all nodes. */
  refused: number
  /** Connections that failed, at all nodes. */
  broken: number
  /** Requests that failed at nodes to which nothing was done, and the longest time of these nodes without a success. */
  unexpected: ReadonlyMap<string, number>
  longestGapMs: number
  /** The longest time until a node served again after what was done to it had ended; undefined if nothing was. */
  recoveryMs: number | undefined
  /** How long it took in the end until all nodes had all that they must have. */
  settledMs: number
  /** The most that a node had in each third of the run: memory that it allocated, in MiB, and descriptors. */
  memoryMiB: readonly number[]
  descriptors: readonly number[]
  /** Median and 99th of 100 of the time of a request in thirds of the run, ms. */
  latencies: readonly { p50: number; p99: number }[]
  /** What must never be: a history that is impossible, a content that nobody wrote, a refusal at rest. */
  violations: readonly string[]
  /** What else is worth knowing of the run. */
  notes: readonly string[]
}

export interface TortureOptions {
  nodes?: number
  /** Whether each node has a disk of its own. */
  hasDisks?: boolean
  /** After how many seconds deletions and blocks without references are forgotten. */
  graceSeconds?: number | undefined
  /** More of each node's configuration. */
  settings?: string | undefined
  /** The release on which the nodes start. */
  earlier?: EarlierRelease | undefined
}

/** Settings that the first release knows, too: short blocks, so that contents have lists of them, and a key for encryption. */
const EARLIER_SETTINGS = `block_size = "64KiB"\nsse_master_key = "${'cd'.repeat(32)}"\n`

/** A cluster on real processes, whose network, disks and clocks are in the scenario's hands, with clients at each node. */
export class Torture {
  readonly history = new RegisterHistory()
  readonly random: SeededRandom
  readonly load: TortureLoad
  readonly disks: Disks
  #recoveryMs: number | undefined
  /** What the nodes had all the while: of each look the most. */
  readonly #allocated: number[] = []
  readonly #descriptors: number[] = []
  readonly notes: string[] = []
  credentials: AccessKey = { accessKeyId: '', secretAccessKey: '' }
  #hosts = 1
  /** More of each node's configuration. */
  #settings = ''

  private constructor(
    readonly cluster: LifeCluster,
    readonly gates: Gates,
    seed: number,
    private readonly earlier?: EarlierRelease,
  ) {
    this.random = new SeededRandom(seed)
    this.load = new TortureLoad(this.history, this.random.fork('load'))
    this.disks = new Disks(join(cluster.dir, 'disks'))
  }

  /** Starts nodes a, b, c, …, one zone each. */
  static async begin(seed: number, options: TortureOptions = {}): Promise<Torture> {
    const { nodes = 3, hasDisks = false, graceSeconds, settings = '', earlier } = options
    const torture = new Torture(await LifeCluster.create(3), new Gates(), seed, earlier)
    const { cluster } = torture
    torture.#settings = settings
    if (graceSeconds !== undefined) torture.#settings += durationsOf(graceSeconds)
    if (earlier) torture.#settings += EARLIER_SETTINGS
    torture.load.isConditional = !earlier
    try {
      const names = [...'abcdefg'].slice(0, nodes)
      for (const [i, name] of names.entries()) await torture.addNode(name, `z${i + 1}`, hasDisks)
      const all = names.map((name) => cluster.node(name))
      if (earlier) torture.credentials = await earlier.layOut(cluster, all)
      else {
        await cluster.layOut(all[0]!, { assign: all })
        await cluster.settled()
        torture.credentials = await cluster.createKey()
      }
      await torture.makeBucket(BUCKET)
      for (const node of all) torture.load.addNode(node.name, torture.targetOf(node))
      return torture
    } catch (error) {
      await torture.end()
      throw error
    }
  }

  get nodes(): LifeNode[] {
    return this.cluster.running()
  }

  /** How clients reach a node. */
  targetOf(node: LifeNode): Target {
    return { endpoint: node.endpoint, region: 'garage', ...this.credentials }
  }

  /** Draws a node. */
  draw(): LifeNode {
    const { nodes } = this
    return nodes[Math.floor(this.random.float() * nodes.length)]!
  }

  /** All nodes in a drawn order. */
  shuffled(): LifeNode[] {
    return this.nodes
      .map((node) => ({ node, at: this.random.float() }))
      .sort((a, b) => a.at - b.at)
      .map(({ node }) => node)
  }

  /** Starts one more node, without a role and without clients. */
  async addNode(name: string, zone: string, hasDisk = false): Promise<LifeNode> {
    const host = `127.0.9.${this.#hosts++}`
    const clock = join(this.cluster.dir, `${name}.clock`)
    const preload = join(import.meta.dirname, 'clock.mjs')
    const node = await this.cluster.makeNode(name, zone, {
      host,
      top: `rpc_bind_outgoing = true\n${this.#settings}`,
      ...(this.earlier && { program: this.earlier.program, k2vPort: (await freePorts(1))[0]! }),
      env: {
        TORTURE_CLOCK: clock,
        NODE_OPTIONS: `--import=${preload} --import=${join(import.meta.dirname, '../life/kit/hosts.mjs')}`,
      },
    })
    node.settings.publicAddress = `127.0.0.1:${await this.gates.open(name, host, node.settings.rpcPort)}`
    if (hasDisk) this.disks.attach(name, node.dir, 400)
    await this.cluster.start(node)
    if (!this.earlier) await node.hurry()
    return node
  }

  /** Lets clients use a node that was added. */
  addClients(node: LifeNode): void {
    this.load.addNode(node.name, this.targetOf(node))
  }

  /** Makes a bucket, and waits until all nodes know it. */
  async makeBucket(name: string): Promise<void> {
    for (const [i, node] of this.nodes.entries()) {
      const s3 = new RawS3(this.targetOf(node), 1)
      if (i === 0) await s3.request('PUT', `/${name}`)
      await until(30_000, `${node.name} knows the bucket "${name}"`, () =>
        s3.request('GET', `/${name}`).then(
          () => true,
          () => false,
        ),
      )
      s3.close()
    }
  }

  /** Puts a node's wall clock off by so many ms. */
  setClock(node: LifeNode, offMs: number): void {
    writeFileSync(join(this.cluster.dir, `${node.name}.clock`), String(offMs))
  }

  /** Does something to nodes: their requests may fail until it is over and they serve again. */
  async harm(nodes: readonly LifeNode[], act: () => Promise<void>): Promise<void> {
    for (const { name } of nodes) this.load.setHarmed(name, true)
    await act()
    for (const { name } of nodes) {
      const tookMs = await this.load.untilServed(name)
      this.#recoveryMs = Math.max(this.#recoveryMs ?? 0, tookMs)
      this.load.setHarmed(name, false)
    }
  }

  /** Runs a scenario under load, and looks at everything afterwards. */
  async run(name: string, scenario: (torture: Torture) => Promise<void>): Promise<TortureReport> {
    const watch = setInterval(() => this.#watch(), WATCH_EVERY_MS)
    const startMs = performance.now()
    const violations: string[] = []
    let seconds = 0
    let settledMs = 0
    this.load.start()
    try {
      try {
        await scenario(this)
      } finally {
        seconds = (performance.now() - startMs) / 1000
        await this.load.stop()
      }
      const restMs = performance.now()
      await this.cluster.settled()
      await this.cluster.allDone()
      settledMs = performance.now() - restMs
      await this.load.readAll()
    } catch (error) {
      violations.push((error as Error).message)
    } finally {
      clearInterval(watch)
    }
    return {
      ...this.#report(name, seconds),
      settledMs,
      violations: [...violations, ...this.load.violations, ...this.history.check()],
      notes: this.notes,
    }
  }

  async end(): Promise<void> {
    this.load.destroy()
    this.gates.close()
    await Promise.all([...this.cluster.nodes.values()].map(({ process }) => process.stop('SIGKILL')))
    this.disks.close()
    await this.cluster.dispose()
  }

  #report(name: string, seconds: number): Omit<TortureReport, 'settledMs' | 'violations' | 'notes'> {
    const tallies = [...this.load.tallies.values()]
    const sum = (of: (tally: (typeof tallies)[number]) => number) =>
      tallies.reduce((all, tally) => all + of(tally), 0)
    const unexpected = new Map<string, number>()
    for (const tally of tallies) {
      for (const [what, count] of tally.unexpected) unexpected.set(what, (unexpected.get(what) ?? 0) + count)
    }
    return {
      name,
      seconds,
      requests: sum(({ requests }) => requests),
      refused: sum(({ refused }) => refused),
      broken: sum(({ broken }) => broken),
      unexpected,
      longestGapMs: Math.max(...tallies.map(({ longestGapMs }) => longestGapMs)),
      recoveryMs: this.#recoveryMs,
      memoryMiB: thirds((third) => Math.max(0, ...thirdOf(this.#allocated, third)) / 1024 / 1024),
      descriptors: thirds((third) => Math.max(0, ...thirdOf(this.#descriptors, third))),
      latencies: thirds((third) =>
        percentiles(tallies.flatMap(({ latencies }) => thirdOf(latencies, third))),
      ),
    }
  }

  #watch(): void {
    const pids = this.nodes.map(({ process }) => process.pid)
    this.#allocated.push(Math.max(0, ...pids.map((pid) => memoryOf([pid]).anon)))
    this.#descriptors.push(Math.max(0, ...pids.map(descriptorsOf)))
  }
}

function durationsOf(seconds: number): string {
  const keys = ['tombstone', 'unreferenced_block', 'unclaimed_block', 'comparison']
  return `[durations_for_tests]\n${keys.map((key) => `${key}_seconds = ${seconds}\n`).join('')}`
}

function descriptorsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    // The process ended, or this is no Linux.
    return 0
  }
}

function thirds<T>(of: (third: number) => T): T[] {
  return [0, 1, 2].map(of)
}

function thirdOf(values: readonly number[], third: number): number[] {
  return values.slice((values.length * third) / 3, (values.length * (third + 1)) / 3)
}

function percentiles(values: number[]): { p50: number; p99: number } {
  const sorted = values.sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0
  return { p50: at(0.5), p99: at(0.99) }
}
