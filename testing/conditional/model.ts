/**
 * A small model of conditional writes, checked over random histories: the protocol of src/table/conditional.ts without
 * the rest of the store. Five replicas, of which a change of the layout takes the copies from {0, 1, 2} to {2, 3, 4}; clients
 * that create, replace and delete on a condition beside others that put, delete and read; messages that are late or lost;
 * replicas that restart, clients that die, anti-entropy at any time. Each history is compared with a register
 * (register.ts), and the versions that are left at the end with the answers that clients got.
 *
 * Rows are ordered by (time, root, generation, ballot). A plain row is its own root and has generation 0. A conditional row
 * keeps time and root of the row that it was judged on, its base, with the next generation.
 */

import { SeededRandom } from '../seeded-random.js'
import { type Client, type Message, ModelClients, NEW, OLD, QUORUM, VIEWS } from './clients.js'
import { type ModelOp, possibleHistory } from './register.js'
import { keepLater, ModelReplica } from './replica.js'
import { type Flaw, isBeaten, isSame, NOTHING, newestOf, type Row } from './rows.js'

const CLIENTS = 6
const EVENTS_MAX = 900

/** What one run found. */
export interface ModelRun {
  readonly ops: readonly ModelOp[]
  readonly problem: string | undefined
}

export function runModel(seed: number, flaw?: Flaw): ModelRun {
  return new Model(new SeededRandom(seed), flaw).run()
}

class Model {
  readonly #replicas: ModelReplica[] = []
  readonly #clients: Client[] = []
  readonly #protocol: ModelClients
  readonly #net: Message[] = []
  readonly #ops: ModelOp[] = []
  readonly #isVersioned: boolean
  readonly #copiedFrom = NEW.map(() => new Set<number>())
  /** How often the change of the layout goes on, beside each other event. */
  readonly #layoutShare: number
  readonly #beginShare: number
  #moment = 0
  #values = 0
  #stage = 0

  constructor(
    private readonly random: SeededRandom,
    private readonly flaw: Flaw | undefined,
  ) {
    this.#isVersioned = random.chance(0.5)
    this.#layoutShare = random.pick([0, 0.05, 0.5])
    this.#beginShare = this.#layoutShare === 0.5 ? 0.02 : 0.1
    for (let i = 0; i < 5; i++) {
      this.#replicas.push(new ModelReplica(OLD.includes(i), this.#isVersioned, flaw))
    }
    this.#protocol = new ModelClients(
      random,
      this.#isVersioned,
      flaw,
      (message) => void this.#net.push(message),
    )
    const changing: ModelOp['kind'][][] = [
      ['create'],
      ['create', 'replace'],
      ['read', 'replace'],
      ['put'],
      ['put', 'delete'],
      ['read', 'delete-if'],
    ]
    for (let i = 0; i < CLIENTS; i++) {
      const program =
        i < 4 ? random.pick(changing).slice() : (['read', 'read', 'read'] as ModelOp['kind'][]).slice(i - 4)
      const state = {
        clock: 0,
        dead: false,
        thinks: false,
        view: VIEWS[0]!,
        epoch: undefined,
        op: undefined,
        steps: undefined,
        seen: null,
        proposals: [],
      }
      this.#clients.push({ index: i, program, ...state })
    }
  }

  run(): ModelRun {
    for (let i = 0; i < EVENTS_MAX && this.#event(); i++);
    const problem = this.#judge()
    return { ops: this.#ops, problem }
  }

  // ---- What happens next ----

  #event(): boolean {
    const { random } = this
    const idle = this.#clients.filter((client) => !client.dead && !client.steps && client.program.length > 0)
    if (random.chance(this.#layoutShare)) this.#moveLayout()
    const roll = random.float()
    if (idle.length > 0 && roll < this.#beginShare) this.#begin(random.pick(idle))
    else if (roll < 0.13) this.#antiEntropy()
    else if (roll < 0.145) this.#restart(random.pick(this.#replicas))
    else if (roll < 0.16) this.#die(random.pick(this.#clients))
    else if (roll < 0.17) this.#wait()
    else if (roll < 0.17 + this.#beginShare / 4 && this.#clients.some((client) => client.thinks))
      this.#think()
    else if (this.#net.length > 0) this.#deliver()
    else return idle.length > 0 || this.#clients.some((client) => !client.dead && client.steps)
    return true
  }

  #begin(client: Client): void {
    const kind = client.program.shift()!
    const value = kind === 'read' || kind === 'delete' || kind === 'delete-if' ? null : `v${this.#values++}`
    const op: ModelOp = {
      kind,
      value,
      expected: client.seen,
      callAt: this.#moment++,
      returnAt: undefined,
      outcome: undefined,
    }
    this.#ops.push(op)
    client.op = op
    client.epoch = client.view
    client.steps = this.#protocol.steps(client, op)
    this.#resume(client, undefined)
  }
  #resume(client: Client, message: Message | undefined): void {
    const { value: outcome, done } = client.steps!.next(message)
    if (!done) return
    const op = client.op!
    if (outcome.kind !== 'unknown') op.returnAt = this.#moment++
    op.outcome = outcome
    if (outcome.kind === 'value') client.seen = outcome.value
    else if (outcome.kind === 'done') client.seen = op.value
    client.steps = undefined
    client.epoch = undefined
  }

  /** A client that was judging a condition goes on. */
  #think(): void {
    const client = this.random.pick(this.#clients.filter(({ thinks }) => thinks))
    client.thinks = false
    if (!client.dead) this.#resume(client, undefined)
  }

  /** A client has waited for long enough. */
  #wait(): void {
    const waiting = this.#clients.filter((client) => !client.dead && client.steps)
    for (const client of waiting) client.thinks = false
    if (waiting.length > 0) this.#resume(this.random.pick(waiting), undefined)
  }

  #deliver(): void {
    const { random } = this
    const [message] = this.#net.splice(random.below(this.#net.length), 1) as [Message]
    if (random.chance(0.03)) return
    const { client } = message
    if (message.reply) {
      if (!client.dead && !client.thinks && client.steps) this.#resume(client, message)
      return
    }
    // Replicas refuse writers of a layout that all others have left behind.
    if (message.stage === 0 && this.#stage >= 1 && client.dead) return
    const reply = this.#replicas[message.to]!.serve(message.body)
    this.#net.push({ ...message, reply: { ...reply, node: message.to } })
  }

  #antiEntropy(): void {
    const [from, to] = [this.random.below(5), this.random.below(5)]
    const { row, noncurrent, withdrawn } = this.#replicas[from]!
    if (from === to || row === NOTHING) return
    this.#replicas[to]!.serve({ kind: 'push', row })
    for (const id of withdrawn) this.#replicas[to]!.withdrawn.add(id)
    for (const version of noncurrent.values()) this.#replicas[to]!.keep(version)
  }

  #restart(replica: ModelReplica): void {
    replica.had = new Map()
    replica.remembersFrom = Math.max(...this.#clients.map(({ clock }) => clock), 0) * 8 + 8
    if (this.flaw === 'promise not durable') replica.promise = 0
  }

  #die(client: Client): void {
    if (!client.steps || client.index > 3 || this.random.chance(0.5)) return
    client.dead = true
    for (let i = this.#net.length - 1; i >= 0; i--) {
      const message = this.#net[i]!
      if (message.client === client && (message.reply || this.random.chance(0.5))) this.#net.splice(i, 1)
    }
  }

  /** One step of a change of the layout; see the argument in src/cluster/layout/history.ts. */
  #moveLayout(): void {
    const { random } = this
    if (this.#stage === 0 && random.chance(0.9)) return
    if (this.#stage === 0) this.#stage = 1
    for (const client of this.#clients) {
      if (client.view.stage < this.#stage && random.chance(0.5)) client.view = VIEWS[this.#stage]!
    }
    const isThere = (client: Client) =>
      client.dead ||
      (client.view.stage === this.#stage && (client.epoch?.stage ?? this.#stage) === this.#stage)
    if (!this.#clients.every(isThere)) return
    if (this.#stage === 1) {
      if (this.#copy()) this.#stage = 2
    } else if (this.#stage === 2) this.#stage = 3
  }

  /** A replica of the new layout takes what one of the old layout has. Returns whether all have enough. */
  #copy(): boolean {
    const at = this.random.below(NEW.length)
    const node = NEW[at]!
    const from = this.random.pick(OLD)
    const { row, noncurrent, withdrawn } = this.#replicas[from]!
    const reply =
      from === node || row === NOTHING ? { taken: true } : this.#replicas[node]!.serve({ kind: 'push', row })
    const replica = this.#replicas[node]!
    for (const id of withdrawn) replica.withdrawn.add(id)
    for (const version of noncurrent.values()) replica.keep(version)
    // A row that a promise keeps out is finished by whoever promised, or by the replica itself: it is copied later.
    if (!reply.held) this.#copiedFrom[at]!.add(from)
    for (const [i, sources] of this.#copiedFrom.entries()) {
      if (sources.size >= OLD.length - QUORUM + 1) this.#replicas[NEW[i]!]!.whole = true
    }
    return NEW.every(
      (each) => this.#replicas[each]!.whole && this.#copiedFrom[NEW.indexOf(each)]!.size >= QUORUM,
    )
  }
  #judge(): string | undefined {
    const attempted = this.#ops.filter((op) => op.outcome?.kind !== 'conflict')
    if (!possibleHistory(attempted)) return 'not linearizable'
    if (!this.#isVersioned) return undefined
    const newest = newestOf(this.#replicas.map(({ row }) => row))
    for (const replica of this.#replicas) if (!isSame(replica.row, newest)) replica.store(newest)
    const withdrawn = new Set(this.#replicas.flatMap((replica) => [...replica.withdrawn]))
    const left = new Map<string, Row>()
    for (const { noncurrent } of this.#replicas) for (const row of noncurrent.values()) keepLater(left, row)
    for (const id of withdrawn) left.delete(id)
    const versions = [...left.values(), newest]
    const keepsLosers = this.flaw === 'version of a losing proposal kept'
    const isReal = (row: Row) => keepsLosers || !versions.some((other) => isBeaten(row, other))
    const values = new Set(versions.filter(isReal).map(({ value }) => value))
    for (const { value, outcome } of this.#ops) {
      if (value === null || !outcome) continue
      if (outcome.kind === 'done' && !values.has(value)) return `acknowledged version ${value} is lost`
      if ((outcome.kind === 'refused' || outcome.kind === 'conflict') && values.has(value))
        return `version ${value}, which was refused, is there`
    }
    // Versions tell of every write whether it took effect.
    for (const op of attempted) if (op.value !== null) op.hasEffect = values.has(op.value)
    return possibleHistory(attempted) ? undefined : 'the versions are not those of a linearizable history'
  }
}
