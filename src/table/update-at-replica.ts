import { TRANSACTION_BYTES_MAX, type Tx } from '../db/db.js'
import { Deadline } from '../net/deadline.js'
import { type NodeId, Priority, type RpcReply } from '../net/transport.js'
import { CarportError, type ErrorCode, errorCode } from '../util/errors.js'
import { BULK_TIMEOUT_MS, CALL_TIMEOUT_MS, layoutNotReady, type TableEnv } from './env.js'
import { LeafChanges } from './leaves.js'
import type { LocalTable } from './local.js'
import type { HeldRows } from './quorum-write.js'
import { checkWriter, methodOf } from './replica.js'
import type { Row } from './rows.js'
import { copyOf, type Standing } from './standing.js'
import type { Table } from './table.js'

/** How a table's rows are changed at a replica. `W` is one write, as it came from its caller. */
export interface UpdateSpec<E, W> {
  sortKey(write: W): Buffer
  /** About how many bytes the write takes in a message. */
  bytes(write: W): number
  /** The write as it is sent. */
  encode(write: W): unknown
  /** @throws CarportError InvalidArgument */
  decode(sent: unknown): W
  /**
   * The row that brings the change about, to be merged into every copy. Runs in the transaction that merges it into this
   * one, which is whole; perhaps more than once. @throws CarportError, which ends the whole call
   */
  change(tx: Tx, partitionKey: Buffer, current: E | undefined, write: W): E
}

/** Writes of one call, and of those the most that are made in one turn of the event loop. */
const UPDATES_MAX = 200
export const UPDATES_IN_TRANSACTION = 50
/** What a write costs, beside its bytes; see Db.transact. */
const UPDATE_STEPS = 4
/** The bytes of a call, and of its reply. */
const CALL_BYTES_MAX = 1 << 20
const REPLY_BYTES_MAX = 2 << 20
/** How long a replica is waited for while there is another one to ask, in ms. */
const FIRST_TIMEOUT_MS = 3_000

/** Errors of one replica, after which another one is asked: it may do what this one could not. */
const FALL_OVER: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'PeerUnreachable',
  'Timeout',
  'RemoteError',
  'LayoutNotReady',
  'LayoutOutdated',
  'NotCaughtUp',
  'ClockSkew',
  'StorageFull',
  'Corrupted',
  'Closed',
  'Internal',
])

/**
 * Writes whose row must be made where it is stored: one replica makes it in a transaction, from its own copy, and answers
 * with the change once that is durable; the caller then spreads the change to all replicas like any row.
 *
 * If the replica fails, another one is asked, and the write may take effect twice. If the spreading fails, it may take effect
 * later.
 */
export class UpdateAtReplica<E, W> {
  readonly #method: string

  constructor(
    private readonly table: Table<E>,
    private readonly env: TableEnv,
    private readonly standing: Standing,
    private readonly spec: UpdateSpec<E, W>,
  ) {
    this.#method = methodOf(table.schema.name, 'update')
    env.transport.handle(this.#method, (body) => this.#serve(body))
  }

  /**
   * Makes the writes, of one partition key, and resolves when they are durable on a quorum.
   * @throws CarportError QuorumUnavailable: they may take effect, wholly or in part, at once or later; LayoutNotReady,
   * ClockSkew; what `change` throws: the writes before that one may have taken effect
   */
  async write(partitionKey: Buffer, writes: readonly W[]): Promise<void> {
    let at = 0
    while (at < writes.length) {
      const { rows, held } = await this.#makeChanges(partitionKey, this.#callOf(writes, at))
      at += rows.length
      await this.table.spread(rows, held)
    }
  }

  /** The writes from `at` on that go into one call. */
  #callOf(writes: readonly W[], at: number): readonly W[] {
    let bytes = 0
    let end = at
    while (end < writes.length && end - at < UPDATES_MAX) {
      bytes += this.spec.bytes(writes[end]!)
      if (bytes > CALL_BYTES_MAX && end > at) break
      end++
    }
    return at === 0 && end === writes.length ? writes : writes.slice(at, end)
  }

  /** The changes of the first of these writes, at least of one, and who has stored them. */
  async #makeChanges(
    partitionKey: Buffer,
    writes: readonly W[],
  ): Promise<{ rows: readonly Row<E>[]; held: HeldRows }> {
    const { placement, quorum } = this.env
    const nodes = this.#replicas(this.table.local.codec.partitionOf(partitionKey))
    let failure: unknown
    for (const [i, node] of nodes.entries()) {
      const lastMs = writes.length > 1 ? BULK_TIMEOUT_MS : CALL_TIMEOUT_MS
      const timeoutMs = i === nodes.length - 1 ? lastMs : FIRST_TIMEOUT_MS
      const { layoutMark } = placement
      try {
        const rows =
          node === quorum.self
            ? await this.#makeHere(layoutMark, partitionKey, writes, timeoutMs)
            : await this.#askFor(node, layoutMark, partitionKey, writes, timeoutMs)
        return { rows, held: { by: node, layoutMark } }
      } catch (error) {
        const code = errorCode(error)
        if (code === undefined || !FALL_OVER.has(code)) throw error
        if (code === 'Timeout') quorum.keptWaiting(node)
        if (code === 'LayoutOutdated') await placement.catchUp(node)
        failure ??= error
      }
    }
    throw new CarportError('QuorumUnavailable', `${this.#method}: no replica takes the write`, {
      cause: failure,
    })
  }

  async #askFor(
    node: NodeId,
    layoutMark: number,
    partitionKey: Buffer,
    writes: readonly W[],
    timeoutMs: number,
  ): Promise<Row<E>[]> {
    const body = [layoutMark, partitionKey, writes.map((write) => this.spec.encode(write))]
    const options = { timeoutMs, priority: Priority.high }
    const reply = await this.env.quorum.call(node, this.#method, body, options)
    return this.#parse(partitionKey, writes, reply.body)
  }

  /** As a call to the own node, without a message. */
  #makeHere(
    layoutMark: number,
    partitionKey: Buffer,
    writes: readonly W[],
    timeoutMs: number,
  ): Promise<readonly Row<E>[]> {
    return new Promise((resolve, reject) => {
      const deadline = new Deadline(this.env.clock, timeoutMs, () => {
        reject(new CarportError('Timeout', `${this.#method}: not done within ${timeoutMs} ms`))
      })
      this.#make(layoutMark, partitionKey, writes).then(
        (rows) => {
          deadline.cancel()
          resolve(rows)
        },
        (error) => {
          deadline.cancel()
          const known = errorCode(error) !== undefined
          reject(known ? error : new CarportError('Internal', `${this.#method} failed`, { cause: error }))
        },
      )
    })
  }

  /** The replicas to ask, the own node or the nearest one first; those that hold the row in all live layouts before others. */
  #replicas(partition: number): NodeId[] {
    const { placement, quorum } = this.env
    const sets = placement.writeSets(partition)
    if (sets.length === 0 || sets[0]!.length === 0) throw layoutNotReady()
    const nodes = quorum.nearestFirst([...new Set(sets.flat())])
    const share = (node: NodeId) => sets.reduce((n, set) => n + Number(set.includes(node)), 0)
    return sets.length === 1 ? nodes : nodes.sort((a, b) => share(b) - share(a))
  }

  #parse(partitionKey: Buffer, writes: readonly W[], body: unknown): Row<E>[] {
    const { codec } = this.table.local
    if (!Array.isArray(body) || body.length === 0 || body.length > writes.length)
      throw this.#malformed('reply')
    return body.map((sent: unknown, i) => {
      if (!Array.isArray(sent) || !Buffer.isBuffer(sent[0])) throw this.#malformed('reply')
      const key = codec.keyOf(partitionKey, this.spec.sortKey(writes[i]!))
      return codec.parseParts(key, sent[0], Buffer.isBuffer(sent[1]) ? sent[1] : undefined)
    })
  }

  /**
   * [layout mark of the writer, partition key, writes] → for each the change: [head, body | null]; of the first ones
   * only, if those of all are too long, or the rows that they change, and only these are made.
   */
  async #serve(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || body.length !== 3) throw this.#malformed('call')
    const [layoutMark, partitionKey, sent] = body as unknown[]
    if (typeof layoutMark !== 'number' || !Array.isArray(sent) || sent.length > UPDATES_MAX) {
      throw this.#malformed('call')
    }
    this.table.local.codec.checkKeys(partitionKey, Buffer.alloc(0))
    const writes = sent.map((write) => this.spec.decode(write))
    const rows = await this.#make(layoutMark, partitionKey as Buffer, writes)
    return { body: rows.map(({ head, body }) => [head, body ?? null]) }
  }

  /** Makes and stores the changes of the first of these writes, at least of one; resolves when they are durable here. */
  async #make(layoutMark: number, partitionKey: Buffer, writes: readonly W[]): Promise<readonly Row<E>[]> {
    const { db, hlc, placement, transport } = this.env
    const { local } = this.table
    const partition = local.codec.partitionOf(partitionKey)
    checkWriter(placement, layoutMark)
    if (!placement.storageSet(partition).includes(transport.self)) {
      throw new CarportError('LayoutNotReady', `partition ${partition} is not on this node`)
    }
    hlc.peers.checkMayStamp()
    const keys = writes.map((write) => local.codec.keyOf(partitionKey, this.spec.sortKey(write)))
    const run = new Run(this.spec, local, partitionKey, writes, keys)
    const parts = run.parts.map((part) =>
      db.transact((tx) => {
        // Asked where the copy is read: it may have turned out to be worth less meanwhile.
        this.standing.checkVote(copyOf(local.schema, partition))
        return part.make(tx)
      }, part.steps),
    )
    const done = parts.length === 1 ? parts[0]! : Promise.all(parts).then((rows) => rows.flat())
    return local.underWay.follow(keys, done)
  }

  #malformed(what: string): CarportError {
    return new CarportError(
      what === 'call' ? 'InvalidArgument' : 'RemoteError',
      `malformed ${what} of ${this.#method}`,
    )
  }
}

/**
 * The writes of one call, in several transactions: each begins where the one before has ended, and makes nothing if that one
 * failed, or left writes to the next call. Transactions may run more than once.
 */
class Run<E, W> {
  readonly parts: { readonly steps: number; make(tx: Tx): Row<E>[] }[] = []
  /** For each part, the bytes of what it has made; undefined before, or if it failed. */
  readonly #bytes: (number | undefined)[] = []
  /** The first part that was cut short because the reply or the transaction got too long. */
  #cutAt = Number.POSITIVE_INFINITY

  constructor(
    private readonly spec: UpdateSpec<E, W>,
    private readonly local: LocalTable<E>,
    private readonly partitionKey: Buffer,
    private readonly writes: readonly W[],
    private readonly keys: readonly Buffer[],
  ) {
    for (let at = 0; at < writes.length || at === 0; at += UPDATES_IN_TRANSACTION) {
      const [part, start] = [this.parts.length, at]
      const end = Math.min(writes.length, start + UPDATES_IN_TRANSACTION)
      this.parts.push({
        steps: Math.max(1, (end - start) * UPDATE_STEPS),
        make: (tx) => this.#make(tx, part, start, end),
      })
    }
  }

  #make(tx: Tx, part: number, start: number, end: number): Row<E>[] {
    this.#bytes[part] = undefined
    if (this.#cutAt >= part) this.#cutAt = Number.POSITIVE_INFINITY
    if (this.#cutAt < part) return []
    let bytes = part === 0 ? 0 : this.#bytes[part - 1]
    if (bytes === undefined) throw new CarportError('Internal', 'the writes before these were not made')
    const { local } = this
    const leaves = end - start > 1 ? new LeafChanges() : undefined
    const refused: Row<E>[] = []
    const changes: Row<E>[] = []
    for (let i = start; i < end; i++) {
      const current = local.getByKey(tx, this.keys[i]!)
      const row = local.codec.encode(this.spec.change(tx, this.partitionKey, current, this.writes[i]!))
      local.apply(tx, row, leaves, refused)
      changes.push(row)
      bytes += row.head.length + (row.body?.length ?? 0)
      if (bytes > REPLY_BYTES_MAX || tx.bytes > TRANSACTION_BYTES_MAX) {
        if (i + 1 < this.writes.length) this.#cutAt = part
        break
      }
    }
    if (refused.length > 0) throw new CarportError('Corrupted', "this node's copy of the row is damaged")
    leaves?.flush(tx, local.trees)
    this.#bytes[part] = bytes
    return changes
  }
}
