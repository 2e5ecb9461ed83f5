import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'

export interface NemesisOptions {
  /** Time between two acts, in ms, on average. */
  everyMs: number
  /** How long a partition or a slow path lasts at most, and a node stays down, in ms. */
  lastsMs: number
  /** How many nodes may be down at the same time, power cuts of the whole cluster aside. */
  downMax: number
}

const ACTS = [
  'partition',
  'partition',
  'one-way',
  'slow',
  'lossy',
  'kill',
  'kill',
  'power-off',
  'power-off',
  'clock',
  'blackout',
] as const

/**
 * Breaks things, and mends them after a while: partitions, one-way cuts, slow and lossy paths, dead processes and
 * machines, clocks that jump, a power cut of everything. An acknowledged write is durable on a quorum of disks,
 * and no disk is lost, so no acknowledged write may be lost either.
 */
export class Nemesis {
  readonly acts: Record<string, number> = {}
  readonly #mend = new Set<() => void>()
  #down = 0

  constructor(
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
    private readonly options: NemesisOptions,
    /** Descriptions of violated promises, which must stay empty whatever fails. */
    private readonly problems: string[],
  ) {}

  async run(untilMs: number): Promise<void> {
    const { clock } = this.cluster
    for (;;) {
      await clock.sleep(this.random.exponential(this.options.everyMs))
      if (clock.monotonicMs() >= untilMs) return
      this.#act()
    }
  }

  /** Mends everything. Resolves when all nodes are up. */
  async end(): Promise<void> {
    for (const mend of [...this.#mend]) mend()
    this.cluster.resetPaths()
    const { clock, nodes } = this.cluster
    while (!nodes.every(({ ready }) => ready)) await clock.sleep(100)
  }

  #act(): void {
    const act = this.random.pick(ACTS)
    const { cluster, random } = this
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
      case 'clock': {
        const platform = a.machine.platform
        const offsetMs = (2 * random.float() - 1) * cluster.options.clockSkewMs
        a.machine.clockOffsetMs = offsetMs
        if (platform) platform.clock.offsetMs = offsetMs
        break
      }
      case 'blackout':
        // Power cuts are rarer than the other acts.
        if (random.chance(0.6)) return
        for (const node of cluster.nodes) if (node.machine.platform) this.#crash(node, 'machine')
        break
    }
    this.acts[act] = (this.acts[act] ?? 0) + 1
    cluster.network.trace(`nemesis: ${act} node${a.index} node${b.index}`)
  }

  #crash(node: SimNode, what: 'process' | 'machine'): void {
    this.#down++
    this.cluster.crash(node, what)
    this.#for(() => {
      this.#down--
      this.cluster.boot(node).catch((error: unknown) => {
        this.problems.push(`node${node.index} does not start again: ${String(error)}`)
      })
    })
  }

  /** Arranges that an act is mended later. */
  #for(mend: () => void): void {
    const once = () => {
      if (this.#mend.delete(once)) mend()
    }
    this.#mend.add(once)
    this.cluster.clock.after(500 + this.random.float() ** 2 * this.options.lastsMs, once)
  }

  #twoNodes(): [SimNode, SimNode] {
    const { nodes } = this.cluster
    const a = this.random.pick(nodes)
    return [a, this.random.pick(nodes.filter((node) => node !== a))]
  }

  /** Two groups that together are all nodes; often one node alone. */
  #groups(): [string[], string[]] {
    const { nodes } = this.cluster
    const alone = this.random.chance(0.5) ? this.random.pick(nodes) : undefined
    const left: string[] = []
    const right: string[] = []
    for (const node of nodes) {
      const isLeft = alone ? node === alone : this.random.chance(0.5)
      ;(isLeft ? left : right).push(node.id)
    }
    return [left, right]
  }
}
