import type { SeededRandom } from '../seeded-random.js'
import { ModelProposal } from './fates.js'
import type { ModelOp, Outcome } from './register.js'
import type { Body, Reply } from './replica.js'
import { type Flaw, isSame, LINEAGE_MAX, NOTHING, newestOf, type Row } from './rows.js'

export interface View {
  readonly stage: number
  readonly readSet: readonly number[]
  readonly writeSets: readonly (readonly number[])[]
}

export const OLD = [0, 1, 2]
export const NEW = [2, 3, 4]
export const VIEWS: readonly View[] = [
  { stage: 0, readSet: OLD, writeSets: [OLD] },
  { stage: 1, readSet: OLD, writeSets: [OLD, NEW] },
  { stage: 2, readSet: NEW, writeSets: [OLD, NEW] },
  { stage: 3, readSet: NEW, writeSets: [NEW] },
]
export const QUORUM = 2
export const hasQuorum = (sets: readonly (readonly number[])[], nodes: readonly number[]) =>
  sets.every((set) => set.filter((node) => nodes.includes(node)).length >= QUORUM)

export interface Message {
  to: number
  client: Client
  call: number
  stage: number
  body: Body
  reply?: Reply
}

/** A client's operation: it takes replies, and undefined when it has waited for long enough. */
export type Steps<T> = Generator<undefined, T, Message | undefined>

export interface Client {
  readonly index: number
  readonly program: ModelOp['kind'][]
  clock: number
  dead: boolean
  /** Whether it judges a condition, between the two phases. */
  thinks: boolean
  /** The newest view that it knows, and the one of the operation under way. */
  view: View
  epoch: View | undefined
  op: ModelOp | undefined
  steps: Steps<Outcome> | undefined
  /** The last content that it saw: the base of its conditions. */
  seen: string | null
  /** The rows that its operation under way proposed. */
  proposals: ModelProposal[]
}

const TRIES = 4

/** What clients do, step by step: the protocol's other side. */
export class ModelClients {
  #calls = 0

  constructor(
    private readonly random: SeededRandom,
    private readonly isVersioned: boolean,
    private readonly flaw: Flaw | undefined,
    private readonly send: (message: Message) => void,
  ) {}

  steps(client: Client, op: ModelOp): Steps<Outcome> {
    if (op.kind === 'read') return this.#read(client)
    return op.kind === 'put' || op.kind === 'delete' ? this.#put(client, op) : this.#change(client, op)
  }
  *#ask<T>(client: Client, body: Body, done: (replies: Reply[]) => T | undefined): Steps<T | null> {
    const view = client.epoch!
    const nodes = [...new Set([...view.readSet, ...view.writeSets.flat()])]
    const call = this.#calls++
    for (const to of nodes) this.send({ to, client, call, stage: view.stage, body })
    const replies: Reply[] = []
    for (;;) {
      const message = yield
      if (message === undefined) return null
      this.#hear(client, message)
      if (message.call !== call) continue
      replies.push(message.reply!)
      const result = done(replies)
      if (result !== undefined) return result
      if (replies.length === nodes.length) return null
    }
  }

  /** Late replies tell of proposals as well. */
  #hear({ proposals }: Client, { body, reply }: Message): void {
    const { node, told, taken } = reply!
    for (const proposal of proposals) {
      if (told) proposal.heard(node, told)
      if (body.kind === 'accept' && taken && body.row.id === proposal.row.id)
        proposal.voted(node, body.row.ballot)
    }
  }

  /** @param ofAll whether a write is lost only when no set can take it, so that no client can have read it */
  #taken(view: View, ofAll = false) {
    return (replies: Reply[]): { later: number; isTaken: boolean } | undefined => {
      const taken = replies.filter((reply) => reply.taken)
      if (
        hasQuorum(
          view.writeSets,
          taken.map(({ node }) => node),
        )
      )
        return { isTaken: true, later: 0 }
      const refusing = replies.filter((reply) => !reply.taken)
      const isLostTo = (set: readonly number[]) =>
        set.filter((node) => refusing.some((reply) => reply.node === node)).length > set.length - QUORUM
      if (!(ofAll ? view.writeSets.every(isLostTo) : view.writeSets.some(isLostTo))) return undefined
      return { isTaken: false, later: Math.max(...refusing.map((reply) => reply.later ?? 0)) }
    }
  }

  /** Times and ballots have one scale, and are unique by client. */
  #time(client: Client, later: number): number {
    client.clock = Math.max(client.clock + 1, Math.floor(later / 8) + 1)
    return client.clock * 8 + client.index
  }

  *#put(client: Client, op: ModelOp): Steps<Outcome> {
    let later = this.random.below(4) * 8
    for (let i = 0; i < TRIES; i++) {
      const time = this.#time(client, later)
      const id = `${op.value ?? 'deleted'}@${time}`
      const row: Row = { time, root: id, generation: 0, ballot: 0, id, value: op.value, lineage: [] }
      const written = yield* this.#ask(client, { kind: 'put', row }, this.#taken(client.epoch!, true))
      if (written?.isTaken) return { kind: 'done' }
      if (!written) return { kind: 'unknown' }
      later = written.later
    }
    return { kind: 'unknown' }
  }

  #prepared(view: View) {
    return (replies: Reply[]): { replies: Reply[] } | { later: number } | undefined => {
      const granted = replies.filter((reply) => reply.row)
      const voting = granted.filter((reply) => reply.votes)
      const nodes = granted.map(({ node }) => node)
      if (
        hasQuorum(view.writeSets, nodes) &&
        hasQuorum(
          [view.readSet],
          voting.map(({ node }) => node),
        )
      )
        return { replies: granted }
      const refused = replies.filter((reply) => !reply.row)
      const isLost = view.writeSets.some(
        (set) =>
          set.filter((node) => refused.some((reply) => reply.node === node)).length > set.length - QUORUM,
      )
      return isLost ? { later: Math.max(...refused.map((reply) => reply.later!)) } : undefined
    }
  }

  /** The newest row of a quorum that promised, once a quorum of each set has it. */
  *#finish(
    client: Client,
    rows: readonly Reply[],
    ballot: number,
  ): Steps<{ base: Row; wasThere: boolean } | undefined> {
    const view = client.epoch!
    const newest = newestOf(rows.map((reply) => reply.row!))
    const holders = rows.filter((reply) => isSame(reply.row!, newest)).map(({ node }) => node)
    const isThere = hasQuorum(view.writeSets, holders) || newest === NOTHING
    if (isThere || this.flaw === 'base that no quorum has') return { base: newest, wasThere: true }
    const row = newest.generation > 0 ? { ...newest, ballot } : newest
    const kind = newest.generation > 0 ? 'accept' : 'back'
    const written = yield* this.#ask(client, { kind, row }, this.#taken(view))
    return written?.isTaken ? { base: row, wasThere: kind === 'accept' } : undefined
  }

  /** A write that depends on the row that it replaces. */
  *#change(client: Client, op: ModelOp): Steps<Outcome> {
    const proposed: ModelProposal[] = []
    client.proposals = proposed
    let later = this.random.below(4) * 8
    for (let i = 0; i < TRIES; i++) {
      const ballot = this.#time(client, later)
      const mine = proposed.map(({ row }) => row.id)
      const prepared = yield* this.#ask(
        client,
        { kind: 'prepare', ballot, mine },
        this.#prepared(client.epoch!),
      )
      if (!prepared) return { kind: proposed.length > 0 ? 'unknown' : 'conflict' }
      later = ballot
      if ('later' in prepared) {
        later = prepared.later
        continue
      }
      const finished = yield* this.#finish(client, prepared.replies, ballot)
      if (!finished) continue
      const { base, wasThere } = finished
      if (this.flaw !== 'own finished attempt taken for another') {
        const fates = proposed.map((proposal) => {
          const fate = proposal.fate(base, client.epoch!, ballot, wasThere, QUORUM, this.flaw)
          proposal.isDead = fate === 'dead'
          return fate
        })
        if (fates.includes('chosen')) return { kind: 'done' }
        if (fates.includes('unknown')) continue
      }
      const holds =
        op.kind === 'create' ? base.value === null : base.value === op.expected && base.value !== null
      if (!holds) {
        const ids = proposed.map(({ row }) => row.id)
        if (ids.length > 0 && this.isVersioned && this.flaw !== 'refused proposal not withdrawn') {
          const withdrawn = yield* this.#ask(client, { kind: 'withdraw', ids }, this.#taken(client.epoch!))
          if (!withdrawn?.isTaken) return { kind: 'unknown' }
        }
        return { kind: 'refused' }
      }
      const { time, root } = base
      const lineage = [base.id, ...base.lineage].slice(0, LINEAGE_MAX)
      const id = `${op.value ?? 'deleted'}@${ballot}`
      const row: Row = { time, root, generation: base.generation + 1, ballot, id, value: op.value, lineage }
      proposed.push(new ModelProposal(row, client.epoch!.stage))
      const isShort = this.flaw === 'epoch that spans one phase'
      if (this.random.chance(0.4)) {
        client.thinks = true
        if (isShort) client.epoch = undefined
        yield
      }
      if (isShort) client.epoch = client.view
      const written = yield* this.#ask(client, { kind: 'accept', row }, this.#taken(client.epoch!))
      if (written?.isTaken) return { kind: 'done' }
      later = written?.later ?? ballot
    }
    return { kind: proposed.length > 0 ? 'unknown' : 'conflict' }
  }

  *#read(client: Client): Steps<Outcome> {
    const view = client.epoch!
    for (let i = 0; i < TRIES; i++) {
      const replies = yield* this.#ask(client, { kind: 'get' }, (got) => {
        const voting = got.filter((reply) => reply.votes).map(({ node }) => node)
        return hasQuorum([view.readSet], voting) &&
          hasQuorum(
            view.writeSets,
            got.map(({ node }) => node),
          )
          ? got.slice()
          : undefined
      })
      if (!replies) return { kind: 'unknown' }
      const newest = newestOf(replies.map((reply) => reply.row!))
      const holders = replies.filter((reply) => isSame(reply.row!, newest)).map(({ node }) => node)
      if (newest === NOTHING || hasQuorum(view.writeSets, holders))
        return { kind: 'value', value: newest.value }
      const written = yield* this.#ask(client, { kind: 'back', row: newest }, this.#taken(view))
      if (written?.isTaken) return { kind: 'value', value: newest.value }
      if (!written || newest.generation === 0) continue
      const ballot = this.#time(client, written.later)
      const prepared = yield* this.#ask(client, { kind: 'prepare', ballot, mine: [] }, this.#prepared(view))
      if (!prepared || 'later' in prepared) continue
      const finished = yield* this.#finish(client, prepared.replies, ballot)
      if (finished) return { kind: 'value', value: finished.base.value }
    }
    return { kind: 'unknown' }
  }
}
