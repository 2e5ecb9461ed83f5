import { majority, type QuorumCaller } from '../cluster/placement.js'
import { type NodeId, Priority } from '../net/transport.js'
import { CarportError, errorCode } from '../util/errors.js'
import { CALL_TIMEOUT_MS, layoutNotReady, type TableEnv } from './env.js'
import type { LocalTable } from './local.js'
import type { RowWriter } from './quorum-write.js'
import { allAgree, type Copy } from './range-merge.js'
import { methodOf } from './replica.js'
import { parseCopy } from './replies.js'
import type { Row } from './rows.js'
import { type BodyFrom, isWanted, type Wanted } from './wanted.js'

/** How often a read starts over because the row changes. */
const ROUNDS_MAX = 20
/** Deadline for a body that only some replicas have, in ms: another round may find out without them. */
const FETCH_TIMEOUT_MS = 3_000
const KEPT_CHANGING = 'a row kept changing while it was read'

/** The merge of several copies of a row, and which nodes hold exactly it. */
export interface Resolved<E> {
  row: Row<E> | undefined
  holders: readonly NodeId[]
}

/**
 * Asks a quorum of each set; of the first alone, which has the data, if nodes of the others refuse. A node that does not
 * know of its partition yet has not acknowledged that layout, so nobody copies for it yet: a row that is on a quorum of
 * the older version now will be copied. A node that is still copying cannot say anything. Either way a row is shown only
 * after it was written back to the other sets.
 */
export async function readSets(
  quorum: QuorumCaller,
  sets: readonly (readonly NodeId[])[],
  method: string,
  query: unknown,
  options: Parameters<QuorumCaller['read']>[3],
): Promise<{ node: NodeId; body: unknown }[]> {
  try {
    return await quorum.readSets(sets, method, query, options)
  } catch (error) {
    const code = errorCode(error instanceof CarportError ? error.cause : undefined)
    if (sets.length === 1 || (code !== 'LayoutNotReady' && code !== 'NotCaughtUp')) throw error
    return quorum.read(sets[0]!, method, query, options)
  }
}

/** The reading side of a table, for single rows. */
export class RowReader<E> {
  readonly #method: string

  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: TableEnv,
    private readonly writer: () => RowWriter<E>,
    /** Finishes a conditional write, of which replicas do not take a copy as it is. */
    private readonly finish: (key: Buffer) => Promise<void>,
  ) {
    this.#method = methodOf(local.schema.name, 'get')
  }

  /**
   * Reads until what was found is (or was) the copy of a whole quorum of each set: only then may it be shown. A row that
   * later ones keep from a quorum is not: its writer is told that nobody has read it, and writes it again.
   *
   * While the layout changes, a row is shown only if a quorum of each live version has it. A write that failed may have
   * reached a quorum of the older version alone, after the newer one's nodes copied; whoever showed it from there
   * would let the next reader, who asks the newer version, go back.
   * @param needed how many replicas of each set are to answer
   */
  async get(
    key: Buffer,
    wanted: Wanted,
    replacedBy?: Buffer,
    writeBack = true,
    needed = this.env.placement.readQuorum,
  ): Promise<Row<E> | undefined> {
    let mayFail = true
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const sets = this.setsOf(key[0]!)
      const nodes = sets[0]!
      const query = this.#query(key, this.#bodyFrom(wanted, nodes), replacedBy)
      const copies = await this.#ask(sets, query, needed)
      const resolved = await this.resolve(key, copies, wanted, replacedBy).catch((error: unknown) => {
        // Whoever had the body is away since; the others may be able to answer without.
        if (!mayFail || errorCode(error) !== 'QuorumUnavailable') throw error
        mayFail = false
        return undefined
      })
      if (!resolved) continue
      if (!resolved.row || !writeBack || this.mayBeShown(sets, copies, resolved)) return resolved.row
      try {
        const row = await this.forWriteBack(key, copies, resolved.row, replacedBy)
        const { verdict } = await this.writer().write(row, { mayRepeat: true })
        if (verdict === 'taken') return row
      } catch (error) {
        // Perhaps only since a later row is on its way, which the next try finds.
        if (!mayFail) throw error
        if (this.local.schema.conditional?.ballotOf(resolved.row.entry)) await this.finish(key)
        else mayFail = false
      }
    }
    throw new CarportError('QuorumUnavailable', KEPT_CHANGING)
  }

  /**
   * The row as the nearest replica that answers has it: perhaps an older one, or that of a write that failed. Needs no
   * quorum, and writes nothing back.
   * @throws CarportError LayoutNotReady; QuorumUnavailable if no replica answers
   */
  async getAny(key: Buffer, wanted: Wanted): Promise<Row<E> | undefined> {
    const { placement, quorum } = this.env
    const nodes = placement.readSet(key[0]!)
    if (nodes.length === 0) throw layoutNotReady()
    let failure: unknown
    for (const node of quorum.nearestFirst(nodes)) {
      try {
        const query = this.#query(key, this.#bodyFrom(wanted, [node]), undefined)
        const options = { timeoutMs: FETCH_TIMEOUT_MS, priority: Priority.high }
        const copy = parseCopy(node, (await quorum.call(node, this.#method, query, options)).body)
        if (!copy.head) return undefined
        return this.parse(
          key,
          this.#suffices(copy, wanted) ? copy : await this.#fetch(key, copy, [copy], undefined),
        )
      } catch (error) {
        failure ??= error
        quorum.keptWaiting(node)
      }
    }
    throw new CarportError('QuorumUnavailable', `${this.#method}: no replica answers`, { cause: failure })
  }

  /**
   * The latest time of a row that hides this one, 0 if none does: on as many replicas of each live set as acknowledge a write, also
   * where reads ask fewer, since a write that counts on it is hidden for ever by one that it missed.
   */
  async latest(row: Row<E>): Promise<number> {
    const { schema } = this.local
    const { placement } = this.env
    const readsFewer = placement.readQuorum < placement.writeQuorum && schema.placement !== 'full'
    const sets = readsFewer ? placement.writeSets(row.partition) : this.setsOf(row.partition)
    if (sets.length === 0 || sets[0]!.length === 0) throw layoutNotReady()
    const quorum = Math.max(placement.readQuorum, placement.writeQuorum)
    const replies = await this.#ask(sets, this.#query(row.key, null, undefined), quorum)
    let laterUs = 0
    for (const copy of replies) {
      if (copy.head) laterUs = Math.max(laterUs, schema.hiddenBy!(row.entry, this.parse(row.key, copy).entry))
    }
    return laterUs
  }

  /** The replicas to ask, a quorum of each set; the first set has the data. @throws CarportError LayoutNotReady */
  setsOf(partition: number): readonly (readonly NodeId[])[] {
    const { placement } = this.env
    const full = this.local.schema.placement === 'full'
    const nodes = full ? placement.controlReadSet() : placement.readSet(partition)
    if (nodes.length === 0) throw layoutNotReady()
    if (full || placement.readQuorum < placement.writeQuorum) return [nodes]
    const all = placement.writeSets(partition)
    return all.length === 1 ? all : [nodes, ...all.filter((set) => set !== nodes)]
  }

  /** The row with its body, which a reader that did not ask for it has not got where all copies agreed. */
  async forWriteBack(
    key: Buffer,
    copies: Copy[],
    row: Row<E>,
    replacedBy: Buffer | undefined,
  ): Promise<Row<E>> {
    const hasBody = copies.some((copy) => copy.hasBody && copy.head!.equals(row.head))
    if (row.body !== undefined || !hasBody) return row
    const whole = await this.resolve(key, copies, true, replacedBy)
    return whole.row ?? row
  }

  /** Whether a quorum of each set holds the row, or all that were asked where the mode asks fewer. */
  mayBeShown(
    sets: readonly (readonly NodeId[])[],
    copies: readonly Copy[],
    { holders }: Resolved<E>,
  ): boolean {
    const { placement } = this.env
    if (sets.length === 1 && holders.length === copies.length) return true
    const full = this.local.schema.placement === 'full'
    return sets.every((set) => {
      const needed = full ? majority(set.length) : placement.writeQuorum
      return holders.reduce((n, node) => n + Number(set.includes(node)), 0) >= needed
    })
  }

  async #ask(
    sets: readonly (readonly NodeId[])[],
    query: unknown[],
    needed = this.env.placement.readQuorum,
  ): Promise<Copy[]> {
    const { quorum } = this.env
    const full = this.local.schema.placement === 'full'
    const options = {
      quorum: full ? majority(sets[0]!.length) : needed,
      timeoutMs: CALL_TIMEOUT_MS,
      priority: Priority.high,
    }
    const replies = await readSets(quorum, sets, this.#method, query, options)
    return replies.map(({ node, body }) => parseCopy(node, body))
  }

  /**
   * The merge of the copies, and who holds exactly it. Bodies that the merge, the reader or a write-back needs are fetched.
   */
  async resolve(
    key: Buffer,
    copies: Copy[],
    wanted: Wanted,
    replacedBy: Buffer | undefined,
  ): Promise<Resolved<E>> {
    const { codec, schema } = this.local
    for (let round = 0; ; round++) {
      if (round === ROUNDS_MAX) throw new CarportError('QuorumUnavailable', KEPT_CHANGING)
      if (allAgree(copies)) {
        const holders = copies.map((copy) => copy.node)
        if (copies[0]?.head === undefined) return { row: undefined, holders }
        const copy = copies.find((each) => this.#suffices(each, wanted))
        if (copy) return { row: this.parse(key, copy), holders }
      }
      // One copy of each distinct head, one that came with its body if there is one.
      const present = copies.filter((copy) => copy.head !== undefined)
      const distinct: Copy[] = []
      for (const copy of present) {
        const i = distinct.findIndex((other) => other.head!.equals(copy.head!))
        if (i < 0) distinct.push(copy)
        else if (!distinct[i]!.body && copy.body) distinct[i] = copy
      }
      const bare = distinct.filter((copy) => copy.hasBody && !copy.body)
      if (bare.length > 0) {
        // What is fetched may be later than what was seen: judge anew.
        const fetched = await Promise.all(bare.map((copy) => this.#fetch(key, copy, present, replacedBy)))
        copies = copies.map((copy) => fetched.find((other) => other.node === copy.node) ?? copy)
        continue
      }
      let row = this.parse(key, distinct[0]!)
      for (const copy of distinct.slice(1)) {
        const other = this.parse(key, copy)
        const merged = schema.merge(row.entry, other.entry)
        if (merged === other.entry) row = other
        else if (merged !== row.entry) row = codec.encode(merged)
      }
      const holders = copies.filter((copy) => copy.head?.equals(row.head)).map((copy) => copy.node)
      return { row, holders }
    }
  }

  parse(key: Buffer, copy: Copy): Row<E> {
    try {
      return this.local.codec.parseParts(key, copy.head!, copy.body)
    } catch (cause) {
      const what = `table ${this.local.schema.name}: node ${copy.node.slice(0, 16)} sent a row that does not decode`
      throw new CarportError('Corrupted', what, { cause })
    }
  }

  /** Whether a copy came with its body, if it has one that is wanted. */
  #suffices({ head, body, hasBody }: Copy, wanted: Wanted): boolean {
    return body !== undefined || !hasBody || !isWanted(this.local.schema, wanted, head!)
  }

  /** Who is to send the body (see Replica). */
  #bodyFrom(wanted: Wanted, nodes: readonly NodeId[]): BodyFrom {
    if (typeof wanted === 'boolean') return wanted ? this.nearest(nodes) : null
    return [wanted]
  }

  nearest(nodes: readonly NodeId[]): NodeId {
    const { quorum } = this.env
    return nodes.includes(quorum.self) ? quorum.self : quorum.nearestFirst(nodes)[0]!
  }

  /** A copy with its body, from its node or another one that had the same head. */
  async #fetch(
    key: Buffer,
    copy: Copy,
    present: readonly Copy[],
    replacedBy: Buffer | undefined,
  ): Promise<Copy> {
    const nodes = present.filter((other) => other.head!.equals(copy.head!)).map((other) => other.node)
    const { quorum } = this.env
    let failure: unknown
    for (const node of quorum.nearestFirst(nodes)) {
      try {
        const query = this.#query(key, node, replacedBy)
        const options = { timeoutMs: FETCH_TIMEOUT_MS, priority: Priority.high }
        return parseCopy(node, (await quorum.call(node, this.#method, query, options)).body)
      } catch (error) {
        failure ??= error
        quorum.keptWaiting(node)
      }
    }
    throw new CarportError('QuorumUnavailable', `${this.#method}: no replica sends the body`, {
      cause: failure,
    })
  }

  /** What a replica is asked for one row (see Replica). */
  #query(key: Buffer, bodyFrom: BodyFrom, replacedBy: Buffer | undefined): unknown[] {
    const at = 1 + this.local.schema.partitionKeyBytes
    return [key.subarray(1, at), key.subarray(at), bodyFrom, ...(replacedBy ? [replacedBy] : [])]
  }
}
