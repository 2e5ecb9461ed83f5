import { EMPTY_CLOCK, isNewer, type VectorClock } from '../src/model/k2v/causality.js'
import { countsOf, indexRange, isSame, NO_COUNTS, plus } from '../src/model/k2v/counts.js'
import { clockOf, type K2vItem } from '../src/model/k2v/item.js'
import { partitionPrefix } from '../src/model/k2v/table.js'
import type { Model } from '../src/model/model.js'
import { bucketPartition } from '../src/model/sort-keys.js'
import { prefixEnd } from '../src/table/row-keys.js'
import { K2vHistory } from './k2v-history.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'

export const PARTITION_KEYS = ['p', 'q']
const SORT_KEYS = ['a', 'b', 'c']

export interface Place {
  name: string
  partitionKey: Buffer
  sortKey: Buffer
}

export const PLACES: readonly Place[] = PARTITION_KEYS.flatMap((pk) =>
  SORT_KEYS.map((sk) => ({ name: `${pk}/${sk}`, partitionKey: Buffer.from(pk), sortKey: Buffer.from(sk) })),
)

/** Runs an operation at a node; undefined if it failed in a way that must be expected. */
export type Attempt = <T>(
  node: SimNode,
  what: string,
  run: (model: Model) => Promise<T>,
) => Promise<T | undefined>

/** The last tokens that one client has, by item. */
export type Tokens = Map<string, VectorClock>

/** K2V items that clients read, write and poll in one bucket, with all that they saw of them. */
export class K2vItems {
  readonly history = new K2vHistory()
  #nextText = 0

  /**
   * @param problems takes descriptions of violated promises
   * @param counts counts polls that were answered
   */
  constructor(
    private readonly cluster: SimCluster,
    private readonly bucket: Buffer,
    private readonly problems: string[],
    private readonly counts: Record<string, number>,
  ) {}

  /** One operation of a client. */
  async step(node: SimNode, random: SeededRandom, tokens: Tokens, attempt: Attempt): Promise<void> {
    const place = random.pick(PLACES)
    const token = tokens.get(place.name) ?? EMPTY_CLOCK
    const roll = random.float()
    if (roll < 0.35) {
      const item = await this.#read(node, place, attempt)
      if (item) tokens.set(place.name, clockOf(item))
    } else if (roll < 0.9) {
      await this.#write(node, place, roll < 0.5 ? EMPTY_CLOCK : token, random, attempt)
    } else await this.#poll(node, place, token, attempt)
  }

  async #read(node: SimNode, place: Place, attempt: Attempt): Promise<K2vItem | undefined> {
    const callAt = this.history.moment()
    const found = await attempt(node, `k2v-read ${place.name}`, async ({ k2v }) => ({
      item: await k2v.read(this.bucket, place),
    }))
    if (found) this.history.read(place.name, found.item, callAt, this.note(node))
    return found?.item
  }

  async #write(
    node: SimNode,
    place: Place,
    context: VectorClock,
    random: SeededRandom,
    attempt: Attempt,
  ): Promise<void> {
    const isDeletion = random.chance(0.15) && context.size > 0
    const text = isDeletion ? null : `v${this.#nextText++}`.padEnd(random.pick([4, 2000]))
    const op = this.history.write(place.name, text, context, this.note(node))
    const content = text === null ? null : Buffer.from(text)
    const { partitionKey, sortKey } = place
    const write = { partitionKey, sortKey, context: context.size > 0 ? context : undefined, content }
    const done = await attempt(
      node,
      `k2v-write ${place.name} ${text?.trim() ?? 'nothing'}`,
      async ({ k2v }) => {
        await k2v.write(this.bucket, [write])
        return true
      },
    )
    if (done) this.history.answered(op)
  }

  async #poll(node: SimNode, place: Place, token: VectorClock, attempt: Attempt): Promise<void> {
    const callAt = this.history.moment()
    const found = await attempt(node, `k2v-poll ${place.name}`, async ({ k2vPolls }) => ({
      item: await k2vPolls.pollItem(this.bucket, place, token, { timeoutMs: 5000 }),
    }))
    if (!found?.item) return
    this.counts['poll answered'] = (this.counts['poll answered'] ?? 0) + 1
    if (!isNewer(clockOf(found.item), token))
      this.problems.push(`${this.note(node)}: a poll told nothing new`)
    this.history.read(place.name, found.item, callAt, `poll ${this.note(node)}`)
  }

  /** When nothing fails any more, a poll is told of what is written at another node. */
  async checkPolls(random: SeededRandom, attempt: Attempt): Promise<void> {
    for (const place of PLACES) {
      const nodes = this.cluster.nodes.filter(({ core }) => core!.cluster.layout.view.mayCoordinate)
      const [at, from] = [random.pick(nodes), random.pick(nodes)]
      const item = await this.#read(from, place, attempt)
      const token = item ? clockOf(item) : EMPTY_CLOCK
      const poll = at.core!.model.k2vPolls.pollItem(this.bucket, place, token, { timeoutMs: 20_000 })
      await this.cluster.clock.sleep(1000)
      await this.#write(from, place, EMPTY_CLOCK, random, attempt)
      const told = await poll.catch(
        (error: unknown) => void this.problems.push(`a poll failed in the end: ${error}`),
      )
      if (!told)
        this.problems.push(
          `a poll of ${place.name} at node${at.index} was not told of a write at node${from.index}`,
        )
    }
  }

  /** Reads every item at every node. @param onRead is told of each */
  async readAll(
    random: SeededRandom,
    onRead: (place: Place, item: K2vItem | undefined) => void = () => {},
  ): Promise<void> {
    for (const node of this.cluster.nodes) {
      if (!node.core!.cluster.layout.view.mayCoordinate) continue
      for (const place of PLACES) {
        const callAt = this.history.moment()
        const item = await this.cluster.retried(random, () => node.core!.model.k2v.read(this.bucket, place))
        this.history.read(place.name, item, callAt, `in the end ${this.note(node)}`)
        onRead(place, item)
      }
    }
  }

  /** Checks the history, and that all replicas have the same items and count them right. */
  check(): string[] {
    return [...this.#checkReplicas(), ...this.history.check()]
  }

  #checkReplicas(): string[] {
    const { cluster, bucket } = this
    const problems: string[] = []
    const ids = cluster.nodes[0]!.core!.cluster.layout.view.storageSet(bucketPartition(bucket))
    const states = cluster.nodes
      .filter((node) => ids.includes(node.id))
      .map((node) => {
        problems.push(...this.#checkCounts(node))
        const { db } = node.machine.platform!
        return node.core!.model.k2v.items.local.root(db, bucketPartition(bucket))?.toString('hex') ?? 'empty'
      })
    if (new Set(states).size > 1) problems.push(`the replicas of items differ: ${states.join(', ')}`)
    return problems
  }

  #checkCounts(node: SimNode): string[] {
    const { db } = node.machine.platform!
    const { local } = node.core!.model.k2v.items
    const all = { start: Buffer.alloc(0), end: undefined, reverse: false, limit: 100 }
    const counted = new Map(
      [...indexRange(db, this.bucket, all)].map((entry) => [entry.partitionKey.toString(), entry]),
    )
    return PARTITION_KEYS.flatMap((pk) => {
      const prefix = partitionPrefix(Buffer.from(pk))
      const rows = [...local.range(db, this.bucket, { start: prefix, end: prefixEnd(prefix)! })]
      const sum = rows.map(countsOf).reduce(plus, NO_COUNTS)
      return isSame(counted.get(pk) ?? NO_COUNTS, sum)
        ? []
        : [
            `node${node.index} counts ${JSON.stringify(counted.get(pk))} of ${pk}, and has ${JSON.stringify(sum)}`,
          ]
    })
  }

  note(node: SimNode): string {
    return `node${node.index}, ${this.cluster.clock.monotonicMs().toFixed(1)} ms`
  }
}
