import type { SeededRandom } from './seeded-random.js'
import { hasCopy } from './sim-aimed-faults.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import type { Profile } from './sim-profile.js'
import type { Script } from './sim-script.js'

/** How often nodes are struck; shares that are not given are 0. */
export type StrikeOptions = Pick<Profile, 'strikeShare' | 'promiseStrikeShare'> &
  Partial<
    Pick<
      Profile,
      | 'writeStrikeShare'
      | 'earlyReadStrikeShare'
      | 'deletionStrikeShare'
      | 'referenceStrikeShare'
      | 'promiseStrikesAll'
    >
  > & {
    /** The bucket whose deletions are struck. */
    bucket?: Buffer
  }

/** What strikes nodes. */
export interface Striker {
  /** Whether nothing is broken any more. */
  readonly isOver: boolean
  /** Whether another node may be down. */
  readonly mayStrike: boolean
  /** Begins a fault: its generator also draws how long it lasts. */
  draw(name: string): SeededRandom
  /** @param forMs how long the nodes stay down; by default as long as other faults last */
  strike(name: string, nodes: readonly SimNode[], what: 'process' | 'machine', forMs?: number): void
}

/** The trace of a promise to a conditional write, or of its refusal, which has arrived; with the node that gave it. */
const PROMISE = / answer to table\/object\/prepare (\w+) > /
/** The trace of a row of an object that arrives at a replica; with the node that sent it. */
const INSERT = /^\S+ table\/object\/insert (\w+) > /
/** The trace of references to blocks that arrive; with the node that carries them. */
const REFERENCES = /^\S+ table\/block_ref\/insert (\w+) > /
/** The longest time that a node is away which died after a message, in ms: it is back before what it promised is over. */
const BOUNCE_MS_MAX = 400

/** Faults at the very moment at which they would undo what somebody was just told. */
export class Strikes {
  #promises = 0
  #references = 0
  /** Nodes that die as soon as the row of an object that they sent arrives, by the begin of their ids as traces have it. */
  readonly #doomed = new Map<string, { node: SimNode; name: string }>()

  constructor(
    private readonly cluster: SimCluster,
    private readonly script: Script,
    private readonly options: StrikeOptions,
    private readonly striker: Striker,
  ) {}

  /** Is told of acknowledgements: at some of them the power goes off, on one node or on all. */
  onAcknowledged(node: SimNode, operationId: string, isWrite: boolean): void {
    const { cluster, striker } = this
    if (striker.isOver) return
    const { strikeShare, writeStrikeShare = 0 } = this.options
    const name = `strike/${operationId}`
    const random = striker.draw(name)
    if (!random.chance(strikeShare + (isWrite ? writeStrikeShare : 0))) return
    if (!this.script.happens(cluster.clock, name)) return
    const isBlackout = random.chance(0.5)
    if (!isBlackout && !striker.mayStrike) return
    if (isBlackout) striker.strike('blackout at an answer', cluster.nodes, 'machine')
    else striker.strike('power-off at an answer', [node], 'machine')
  }

  /** Is told of reads that show what was not acknowledged yet: it must stay, even if disks have no more than they must. */
  onEarlyRead(operationId: string): void {
    const { cluster, striker } = this
    const { earlyReadStrikeShare = 0 } = this.options
    if (striker.isOver || earlyReadStrikeShare === 0) return
    const name = `early/${operationId}`
    if (!striker.draw(name).chance(earlyReadStrikeShare) || !this.script.happens(cluster.clock, name)) return
    striker.strike('blackout at an early read', cluster.nodes, 'machine')
  }

  /** Is told of deletions: of nodes without a copy some die when one replica has heard of it. */
  onDeletion(node: SimNode, operationId: string): void {
    const { striker } = this
    const { deletionStrikeShare = 0, bucket } = this.options
    if (striker.isOver || deletionStrikeShare === 0 || !bucket || hasCopy(node, bucket)) return
    const name = `deletion/${operationId}`
    if (!striker.draw(name).chance(deletionStrikeShare) || !this.script.happens(this.cluster.clock, name))
      return
    this.#doomed.set(node.id.slice(0, 8), { node, name })
  }

  /** Gets each line of the trace: nodes die right after a promise or a message with a deletion, and are back at once. */
  traced(line: string): void {
    if (this.striker.isOver) return
    if (this.#doomed.size > 0) this.#deletionArrived(INSERT.exec(line)?.[1])
    if (this.options.promiseStrikeShare > 0) this.#promised(PROMISE.exec(line)?.[1])
    if (this.options.referenceStrikeShare) this.#carried(REFERENCES.exec(line)?.[1])
  }

  #deletionArrived(by: string | undefined): void {
    const { striker } = this
    const doomed = by === undefined ? undefined : this.#doomed.get(by)
    if (!doomed) return
    this.#doomed.delete(by!)
    if (!striker.mayStrike) return
    const forMs = 10 + striker.draw(`${doomed.name}/ms`).float() * BOUNCE_MS_MAX
    striker.strike('death after a deletion', [doomed.node], 'process', forMs)
  }

  #carried(by: string | undefined): void {
    if (by === undefined) return
    const { cluster, striker } = this
    const name = `reference/${this.#references++}`
    if (!striker.draw(name).chance(this.options.referenceStrikeShare!) || !striker.mayStrike) return
    const struck = cluster.nodes.find((node) => node.id.startsWith(by))
    if (!struck?.machine.platform || !this.script.happens(cluster.clock, name)) return
    striker.strike('power-off as references arrive', [struck], 'machine', BOUNCE_MS_MAX)
  }

  #promised(by: string | undefined): void {
    if (by === undefined) return
    const { cluster, striker } = this
    const name = `promise/${this.#promises++}`
    const random = striker.draw(name)
    if (!random.chance(this.options.promiseStrikeShare) || !striker.mayStrike) return
    const struck = cluster.nodes.find((node) => node.id.startsWith(by))
    if (!struck?.machine.platform || !this.script.happens(cluster.clock, name)) return
    const forMs = 10 + random.float() * BOUNCE_MS_MAX
    const { bucket, promiseStrikesAll } = this.options
    const nodes =
      promiseStrikesAll && bucket ? cluster.readyNodes().filter((node) => hasCopy(node, bucket)) : [struck]
    striker.strike('death after a promise', nodes, random.pick(['process', 'machine']), forMs)
  }
}
