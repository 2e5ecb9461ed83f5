import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { Coverage } from './sim-coverage.js'
import { fullDisk, rot, slowDisk } from './sim-disk-faults.js'
import type { Pace } from './sim-pace.js'
import type { Profile } from './sim-profile.js'
import type { Script } from './sim-script.js'

export type NemesisOptions = Pick<
  Profile,
  'acts' | 'everyMs' | 'lastsMs' | 'outageMs' | 'downMax' | 'strikeShare' | 'promiseStrikeShare'
> &
  Partial<Pick<Profile, 'restEveryMs' | 'restLastsMs' | 'writeStrikeShare' | 'earlyReadStrikeShare'>>

/** The trace of a promise to a conditional write, or of its refusal, which has arrived; with the node that gave it. */
const PROMISE = / answer to table\/object\/prepare (\w+) > /
/** Nodes tell images of their databases that are younger from those of now only by chance, in ms. */
const IMAGE_MS_MIN = 90_000
/** The longest time that a node is away which died after a promise, in ms: it is back before what it promised is over. */
const BOUNCE_MS_MAX = 400

/**
 * Breaks things, and mends them after a while: partitions, one-way cuts, slow and lossy paths, dead processes and
 * machines, clocks that jump, a power cut of everything. An acknowledged write is durable on a quorum of disks,
 * and no disk is lost, so no acknowledged write may be lost either.
 */
export class Nemesis {
  readonly acts: Record<string, number> = {}
  readonly #mend = new Set<() => void>()
  #down = 0
  #isOver = false
  #promises = 0
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
      case 'restore': {
        if (!a.machine.platform) return
        // An earlier state is saved first.
        if (a.machine.savedAtMs === undefined) return void a.machine.save()
        if (cluster.clock.monotonicMs() - a.machine.savedAtMs < IMAGE_MS_MIN) return
        if (!this.#mayLose(a)) return
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

  /** Is told of acknowledgements: at some of them the power goes off, on one node or on all. */
  onAcknowledged(node: SimNode, operationId: string, isWrite: boolean): void {
    if (this.#isOver) return
    const { strikeShare, writeStrikeShare = 0 } = this.options
    this.#random = this.seed.fork(`strike/${operationId}`)
    this.#lastsMs = this.options.lastsMs
    if (!this.#random.chance(strikeShare + (isWrite ? writeStrikeShare : 0))) return
    if (!this.script.happens(this.cluster.clock, `strike/${operationId}`)) return
    const { nodes } = this.cluster
    const isBlackout = this.#random.chance(0.5)
    if (!isBlackout && this.#down >= this.options.downMax) return
    this.#name = isBlackout ? 'blackout at an answer' : 'power-off at an answer'
    for (const struck of isBlackout ? nodes : [node])
      if (struck.machine.platform) this.#crash(struck, 'machine')
    this.#count(this.#name)
  }

  /** Is told of reads that show what was not acknowledged yet: it must stay, even if no disk has more than was promised. */
  onEarlyRead(operationId: string): void {
    const { earlyReadStrikeShare = 0, lastsMs } = this.options
    if (this.#isOver || earlyReadStrikeShare === 0) return
    this.#random = this.seed.fork(`early/${operationId}`)
    this.#lastsMs = lastsMs
    if (!this.#random.chance(earlyReadStrikeShare)) return
    if (!this.script.happens(this.cluster.clock, `early/${operationId}`)) return
    this.#name = 'blackout at an early read'
    for (const node of this.cluster.nodes) if (node.machine.platform) this.#crash(node, 'machine')
    this.#count(this.#name)
  }

  /** Gets each line of the trace: nodes die right after a promise, and are back at once. */
  traced(line: string): void {
    if (this.#isOver || this.options.promiseStrikeShare === 0) return
    const id = PROMISE.exec(line)?.[1]
    if (id === undefined) return
    const name = `promise/${this.#promises++}`
    this.#random = this.seed.fork(name)
    if (!this.#random.chance(this.options.promiseStrikeShare) || this.#down >= this.options.downMax) return
    const struck = this.cluster.nodes.find((node) => node.id.startsWith(id))
    if (!struck?.machine.platform || !this.script.happens(this.cluster.clock, name)) return
    this.#name = 'death after a promise'
    const forMs = 10 + this.#random.float() * BOUNCE_MS_MAX
    this.#crash(struck, this.#random.pick(['process', 'machine']), forMs)
    this.#count(this.#name)
  }

  /** Whether all others have what was acknowledged, so that a database may be lost: one at a time, of several. */
  #mayLose({ machine }: SimNode): boolean {
    const { nodes, options } = this.cluster
    const isCopied = options.replicationFactor > 1
    return machine.platform !== undefined && isCopied && this.#down === 0 && nodes.every(isWhole)
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

function both(first: () => void, second: () => void): () => void {
  return () => {
    first()
    second()
  }
}

/** Whether a node is up, and its copies have all that was acknowledged. */
function isWhole(node: SimNode): boolean {
  if (!node.ready) return false
  const { whole, total } = node.core!.tables.standing.counts()
  return whole === total
}
