import type { SeededRandom } from './seeded-random.js'
import { cutPaths, delaySome, isolate, partFromLone, partViews, rolesOf } from './sim-aimed-faults.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { Coverage } from './sim-coverage.js'
import { fullDisk, rot, slowDisk } from './sim-disk-faults.js'
import { type LossTools, loneChange } from './sim-losses.js'
import type { Pace } from './sim-pace.js'
import type { Profile } from './sim-profile.js'
import type { Script } from './sim-script.js'
import { type StrikeOptions, type Striker, Strikes } from './sim-strikes.js'

export type NemesisOptions = Pick<Profile, 'acts' | 'everyMs' | 'lastsMs' | 'outageMs' | 'downMax'> &
  Partial<Pick<Profile, 'restEveryMs' | 'restLastsMs'>> &
  StrikeOptions & {
    /** Aimed faults hit the replicas of this bucket. */
    bucket?: Buffer
  }

/** Nodes tell images of their databases that are younger from those of now only by chance, in ms. */
const IMAGE_MS_MIN = 90_000

/**
 * Breaks things, and mends them after a while: partitions, one-way cuts, slow and lossy paths, dead processes and
 * machines, clocks that jump, a power cut of everything. An acknowledged write is durable on a quorum of disks,
 * and no disk is lost, so no acknowledged write may be lost either.
 */
export class Nemesis implements Striker {
  readonly acts: Record<string, number> = {}
  readonly strikes: Strikes
  readonly #mend = new Set<() => void>()
  #down = 0
  #isOver = false
  #full = 0
  #random: SeededRandom
  /** The longest that the act that goes on now lasts, in ms. */
  #lastsMs: number
  /** The act that goes on now, or the strike. */
  #name = ''

  constructor(
    private readonly cluster: SimCluster,
    private readonly seed: SeededRandom,
    private readonly script: Script,
    private readonly options: NemesisOptions,
    /** Descriptions of violated promises, which must stay empty whatever fails. */
    private readonly problems: string[],
    private readonly coverage = new Coverage(),
  ) {
    this.#random = seed
    this.#lastsMs = options.lastsMs
    this.strikes = new Strikes(cluster, script, options, this)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  get mayStrike(): boolean {
    return this.#down < this.options.downMax
  }

  /** What aimed losses are done with. */
  get #losses(): LossTools {
    return {
      cluster: this.cluster,
      isOver: () => this.#isOver,
      broken: () => this.#mend.size,
      mayLose: (node) => this.#mayLose(node),
      until: (name, mend, afterMs) => {
        this.#name = name
        this.#for(mend, afterMs)
      },
      crash: (name, node, forMs) => {
        this.#name = name
        this.#crash(node, 'machine', forMs)
      },
    }
  }

  draw(name: string): SeededRandom {
    this.#random = this.seed.fork(name)
    this.#lastsMs = this.options.lastsMs
    return this.#random
  }

  strike(name: string, nodes: readonly SimNode[], what: 'process' | 'machine', forMs?: number): void {
    this.#name = name
    for (const node of nodes) if (node.machine.platform) this.#crash(node, what, forMs)
    this.#count(name)
  }

  /** Breaks things until the last spell of load is over. */
  async run(pace: Pace): Promise<void> {
    const { restEveryMs = 0, restLastsMs = 0 } = this.options
    await Promise.all([
      this.#run(pace),
      pace.spells.length > 1 && restEveryMs > 0 && this.#runRests(pace, restEveryMs, restLastsMs),
    ])
  }

  async #run(pace: Pace): Promise<void> {
    const { clock } = this.cluster
    for (let i = 0; ; i++) {
      const random = this.seed.fork(String(i))
      const waitMs = pace.untilLoad(clock.monotonicMs(), random.exponential(this.options.everyMs))
      const isKept = await this.script.wait(clock, `nemesis/${i}`, waitMs)
      if (clock.monotonicMs() >= pace.endMs) return
      if (isKept) this.#act(random, this.options.lastsMs)
    }
  }

  /** While clients rest, faults are rarer and last for long. */
  async #runRests(pace: Pace, everyMs: number, lastsMs: number): Promise<void> {
    const { clock } = this.cluster
    for (let i = 0; ; i++) {
      const random = this.seed.fork(`rest/${i}`)
      const waitMs = random.exponential(everyMs)
      const isKept = await this.script.wait(clock, `rest/${i}`, waitMs)
      const nowMs = clock.monotonicMs()
      if (nowMs >= pace.endMs) return
      if (!isKept || pace.isLoad(nowMs)) continue
      // Into the next spell of load it lasts no longer than one that began there.
      this.#act(random, Math.min(lastsMs, pace.untilLoad(nowMs, 0) + this.options.lastsMs))
    }
  }

  /** Mends everything. Resolves when all nodes are up. */
  async end(): Promise<void> {
    this.#isOver = true
    for (const mend of [...this.#mend]) mend()
    this.cluster.resetPaths()
    const { clock, nodes } = this.cluster
    while (!nodes.every(({ ready }) => ready)) await clock.sleep(100)
  }

  #act(random: SeededRandom, lastsMs: number): void {
    const act = random.pick(this.options.acts)
    this.#random = random
    this.#lastsMs = lastsMs
    this.#name = act
    const { cluster } = this
    const [a, b] = this.#twoNodes()
    switch (act) {
      case 'partition': {
        const [left, right] = this.#groups()
        this.#for(cluster.network.partition(left, right))
        break
      }
      case 'one-way':
        this.#for(cluster.network.block([a.id], [b.id]))
        break
      case 'slow':
      case 'lossy': {
        const path = cluster.network.path(a.id, b.id)
        const worse =
          act === 'slow'
            ? { ...path, latencyMs: 200 + random.float() * 800, jitterMs: 200 }
            : { ...path, lossShare: 0.05 + random.float() * 0.4 }
        cluster.network.setPath(a.id, b.id, worse)
        this.#for(() => cluster.network.setPath(a.id, b.id, path))
        break
      }
      case 'kill':
      case 'power-off': {
        // A node may be hit while it starts, too.
        if (!a.machine.platform || this.#down >= this.options.downMax) return
        this.#crash(a, act === 'kill' ? 'process' : 'machine')
        break
      }
      case 'outage': {
        if (!a.machine.platform || this.#down >= this.options.downMax) return
        const [leastMs, mostMs] = this.options.outageMs
        const forMs = leastMs + random.float() * (mostMs - leastMs)
        // Often it loses touch with another one before: then it keeps writes for that one until it is back.
        const cutMs = random.pick([0, 3000, 12_000])
        if (cutMs > 0) this.#for(cluster.network.partition([a.id], [b.id]), cutMs)
        cluster.clock.after(cutMs, () => {
          if (this.#isOver || !a.machine.platform || this.#down >= this.options.downMax) return
          this.#name = act
          this.#crash(a, 'machine', forMs)
        })
        break
      }
      case 'wipe': {
        // Often another node misses what is written before, so that a third one alone has it afterwards.
        const cutMs = random.pick([0, 2000, 5000])
        if (cutMs > 0) {
          const others = cluster.nodes.filter((node) => node !== b).map(({ id }) => id)
          this.#for(cluster.network.partition([b.id], others), cutMs + 50)
        }
        cluster.clock.after(cutMs, () => {
          if (this.#isOver || !this.#mayLose(a)) return
          this.#name = act
          this.#crash(a, 'machine', random.pick([50, undefined]))
          a.machine.wipe()
        })
        break
      }
      case 'lone-copy':
        if (!this.#loneCopy(random)) return
        break
      case 'lone-change':
        if (!loneChange(this.#losses, this.#roles(random), random)) return
        break
      case 'cut-paths': {
        const roles = this.#roles(random)
        if (!roles) return
        this.#for(cutPaths(cluster, roles))
        break
      }
      case 'gaps': {
        const roles = this.#roles(random)
        if (!roles) return
        this.#for(delaySome(cluster, roles, random), 50 + random.float() * lastsMs)
        break
      }
      case 'part-views': {
        const roles = this.#roles(random)
        if (!roles || this.#mend.size > 0) return
        this.#for(partViews(cluster, roles))
        break
      }
      case 'save':
        if (!a.ready) return
        void saveSnapshot(a)
        break
      case 'restore': {
        if (!a.machine.platform) return
        // An earlier state is saved first.
        if (a.machine.savedAtMs === undefined) return void a.machine.save()
        if (!this.#mayLose(a) || !this.#isToldApart(a)) return
        this.#crash(a, 'machine')
        a.machine.restoreSaved()
        break
      }
      case 'slow-disk':
        this.#for(slowDisk(a, random))
        break
      case 'full':
        // A write quorum has room.
        if (this.#full > 0) return
        this.#full++
        this.#for(both(fullDisk(a), () => this.#full--))
        break
      case 'rot':
        // One and the same node, so that all others have intact copies.
        if (cluster.options.replicationFactor < 3) return
        rot(cluster.nodes[cluster.options.nodes - 1]!, random)
        break
      case 'clock': {
        const platform = a.machine.platform
        const offsetMs = (2 * random.float() - 1) * cluster.options.clockSkewMs
        a.machine.clockOffsetMs = offsetMs
        if (platform) platform.clock.offsetMs = offsetMs
        this.#for(() => {})
        break
      }
      case 'blackout':
        // Power cuts are rarer than the other acts.
        if (random.chance(0.6)) return
        for (const node of cluster.nodes) if (node.machine.platform) this.#crash(node, 'machine')
        break
    }
    this.#count(act)
    cluster.network.trace(`nemesis: ${act} node${a.index} node${b.index}`)
  }

  /**
   * One replica misses writes, and another one loses its database: they are parted from the third one, which has all. Nothing else
   * is broken then: what a write without a quorum left on a replica goes with it, and its references stay.
   */
  #loneCopy(random: SeededRandom): boolean {
    const { cluster } = this
    const roles = this.#roles(random)
    if (!roles || this.#mend.size > 0 || !this.#mayLose(roles.replicas[0])) return false
    const [lost, behind] = roles.replicas
    const missesMs = random.pick([1000, 3000])
    const apartMs = 3000 + random.float() * 4000
    this.#for(isolate(cluster, behind), missesMs + 50)
    cluster.clock.after(missesMs, () => {
      if (this.#isOver || this.#mend.size > 1 || !this.#mayLose(lost)) return
      this.#name = 'lone-copy'
      this.#for(partFromLone(cluster, roles, random), apartMs)
      this.#crash(lost, 'machine', 50)
      lost.machine.wipe()
    })
    return true
  }

  #roles(random: SeededRandom) {
    const { bucket } = this.options
    return bucket && rolesOf(this.cluster, bucket, random)
  }

  /** Whether all others have what was acknowledged, so that a database may be lost: one at a time, of several. */
  #mayLose({ machine }: SimNode): boolean {
    const { nodes, options } = this.cluster
    const isCopied = options.replicationFactor > 1
    return machine.platform !== undefined && isCopied && this.#down === 0 && nodes.every(isWhole)
  }

  /** Whether all others would tell what was saved of a node's database from what it has now. */
  #isToldApart({ core, id, machine }: SimNode): boolean {
    if (!machine.isSnapshot) return this.cluster.clock.monotonicMs() - machine.savedAtMs! >= IMAGE_MS_MIN
    const own = core!.cluster.layout.age.own()
    return this.cluster.nodes.every((other) => {
      const known = other.core!.cluster.layout.age.remembered(id)
      return other.id === id || (known?.step === own.step && known.generation === own.generation)
    })
  }

  #count(act: string): void {
    this.acts[act] = (this.acts[act] ?? 0) + 1
  }

  /** @param forMs how long it stays down; by default as long as other faults last */
  #crash(node: SimNode, what: 'process' | 'machine', forMs?: number): void {
    this.#down++
    this.cluster.crash(node, what)
    this.#for(() => {
      this.#down--
      this.cluster.boot(node).catch((error: unknown) => {
        this.problems.push(`node${node.index} does not start again: ${String(error)}`)
      })
    }, forMs)
  }

  /** Arranges that an act is mended later. */
  #for(mend: () => void, afterMs = 500 + this.#random.float() ** 2 * this.#lastsMs): void {
    const over = this.coverage.fault(this.#name)
    const once = () => {
      if (!this.#mend.delete(once)) return
      over()
      mend()
    }
    this.#mend.add(once)
    this.cluster.clock.after(afterMs, once)
  }

  #twoNodes(): [SimNode, SimNode] {
    const { nodes } = this.cluster
    const a = this.#random.pick(nodes)
    return [a, this.#random.pick(nodes.filter((node) => node !== a))]
  }

  /** Two groups that together are all nodes; often one node alone. */
  #groups(): [string[], string[]] {
    const { nodes } = this.cluster
    const alone = this.#random.chance(0.5) ? this.#random.pick(nodes) : undefined
    const left: string[] = []
    const right: string[] = []
    for (const node of nodes) {
      const isLeft = alone ? node === alone : this.#random.chance(0.5)
      ;(isLeft ? left : right).push(node.id)
    }
    return [left, right]
  }
}

/** A node that has started writes a snapshot of its database, which gets older by that. */
function saveSnapshot({ machine, core }: SimNode): Promise<void> {
  const { age } = core!.cluster.layout
  return machine.saveSnapshot(() => age.raise())
}

function both(first: () => void, second: () => void): () => void {
  return () => {
    first()
    second()
  }
}

/** Whether a node is up, and its copies have all that was acknowledged. */
function isWhole(node: SimNode): boolean {
  if (!node.ready) return false
  const { cluster, tables } = node.core!
  const { whole, total } = tables.standing.counts()
  // A node whose database was lost, or went back, does not know what it lacks before it has heard of the others.
  return cluster.layout.layoutVersion > 0 && cluster.layout.confirmed && whole === total
}
