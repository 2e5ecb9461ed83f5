import { createHash } from 'node:crypto'
import type { Placement } from '../cluster/placement.js'
import type { Db, Tx } from '../db/db.js'
import type { RpcReply, Transport } from '../net/transport.js'
import type { Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { inParts } from './in-parts.js'
import { LeafChanges } from './leaves.js'
import type { LocalTable } from './local.js'
import type { Page, PageRow } from './range-merge.js'
import { rowHashOf, rowKeyOf } from './row-keys.js'
import type { Row } from './rows.js'
import { headOf } from './seal.js'
import { copyOf, type Standing } from './standing.js'
import { isWanted } from './wanted.js'

/** A range reply ends after about this many bytes; the asker goes on from there. */
export const PAGE_BYTES_MAX = 4 << 20
export const PAGE_ROWS_MAX = 10_000

const EMPTY = Buffer.alloc(0)

/** Name of a table's RPC method. */
export function methodOf(table: string, name: string): string {
  return `table/${table}/${name}`
}

/** Fingerprint of a page: replicas that hold the same rows answer with the same one. */
export function pageFingerprint(page: { rows: readonly PageRow[]; more: boolean }): Buffer {
  const hash = createHash('sha256')
  const lengths = Buffer.allocUnsafe(page.rows.length * 6 + 1)
  let at = lengths.writeUInt8(page.more ? 1 : 0)
  for (const row of page.rows) {
    at = lengths.writeUInt16BE(row.sortKey.length, at)
    at = lengths.writeUInt32BE(row.head.length, at)
    hash.update(row.sortKey)
    hash.update(row.head)
  }
  return hash.update(lengths).digest().subarray(0, 16)
}

/**
 * Serves one table's rows to the other nodes, and to the own one. What it answers is durable: a row that is committed
 * but not yet on the disk could be lost after it was read.
 */
export class Replica<E> {
  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: { db: Db; transport: Transport; placement: Placement; hlc: Hlc },
    private readonly standing: Standing,
  ) {
    const { transport } = env
    const table = local.schema.name
    transport.handle(methodOf(table, 'insert'), (body) => this.#insert(body))
    transport.handle(methodOf(table, 'get'), (body) => this.#get(body))
    transport.handle(methodOf(table, 'range'), (body) => this.#range(body))
  }

  /**
   * [layout mark of the writer, rows] → null, or, when a row was hidden by a later one, its time `later` and whether
   * the row `was` this node's copy before (it came by another way), null if that is not known. Of a conditional row that is here
   * under another ballot, `later` is 0. A copy that may lack what was acknowledged is `blind`, and knows of no row that it is late.
   */
  async #insert(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || body.length !== 2 || typeof body[0] !== 'number')
      throw this.#malformed('insert')
    const rows = this.local.codec.parseAll(body[1])
    const { placement } = this.env
    checkWriter(placement, body[0])
    // A writer that knows an older layout must not count this node, if the current layouts left it out.
    if (body[0] < placement.layoutVersion) for (const row of rows) this.#checkOwn(row.partition)
    this.#checkTimes(rows)
    const blind = rows.length === 1 && this.#isBlind(rows[0]!)
    const { later, refused } = await this.#applyWithVote(rows)
    if (refused.length > 0) {
      if (rows.length > 1 || !this.local.promises?.wasHeld(refused[0]!)) throw this.#damaged()
      // Whether it may be read here is not for this call to say: it has to be voted on again.
      return { body: { later: 0, was: null } }
    }
    const [row] = rows
    if (later === 0) {
      const vote = rows.length === 1 ? this.#voteOf(row!) : null
      return { body: blind ? { ...(vote ?? { later, was: true }), blind } : vote }
    }
    if (rows.length === 1) await this.#untilShown(row!)
    // Asked now that the transactions of before are through, so that what they replaced is remembered.
    const was = rows.length === 1 ? this.local.replaced?.has(rowHashOf(row!.key, row!.head)) : false
    // What hides the row here may be far earlier than what it has to be later than.
    if (blind) return { body: { later, was: was || null, blind } }
    return { body: { later, was: was ?? null } }
  }

  /** Whether this copy cannot tell that a row of a table whose rows hide others is late. */
  #isBlind({ partition }: Row<E>): boolean {
    const { schema } = this.local
    return schema.hiddenBy !== undefined && this.standing.isBlind(copyOf(schema, partition))
  }

  /** Copies of a conditional row under two ballots make no quorum that every later coordinator meets. */
  #voteOf(row: Row<E>): { later: 0; was: true | null } | null {
    const { promises, replaced } = this.local
    if (!promises?.isUnderAnother(row)) return null
    return { later: 0, was: replaced?.has(rowHashOf(row.key, row.head)) || null }
  }

  /** Applies rows, the one of this node's own write as such; and if others bring that one, not before it is decided. */
  async #applyWithVote(rows: readonly Row<E>[]): Promise<{ later: number; refused: Row<E>[] }> {
    const { votes } = this.local
    if (!votes || votes.size === 0 || rows.length > 1) return this.#apply(rows)
    const { key, head } = rows[0]!
    const own = votes.own(key, head)
    if (!own) {
      await votes.undecided(key, head)?.settled
      return this.#apply(rows)
    }
    try {
      return await this.#apply(rows)
    } finally {
      votes.done(own)
    }
  }

  /**
   * A row that is hidden counts as replaced (WriteCall), so a read must meet it or what hides it. If that is this node's own
   * write, which is not shown yet, a read would find neither here: the outcome is waited for, which depends on none of an
   * earlier row.
   */
  async #untilShown({ key, head, entry }: Row<E>): Promise<void> {
    const { codec, schema, votes } = this.local
    for (;;) {
      const instead = votes?.instead(key)
      if (!instead) return
      const { row } = instead
      if (row?.head.equals(head)) return
      if (
        row &&
        schema.hiddenBy!(
          entry,
          codec.decodeStored(row.head, () => row.body),
        ) > 0
      )
        return
      await votes!.nextShown(key)
    }
  }

  #apply(rows: readonly Row<E>[]): Promise<{ later: number; refused: Row<E>[] }> {
    const { db } = this.env
    const apply = (tx: Tx, part: Iterable<Row<E>>) => {
      const refused: Row<E>[] = []
      const later = applyRows(tx, this.local, part, refused)
      return { later, refused }
    }
    return this.local.underWay.follow(
      rows.map((row) => row.key),
      rows.length === 1
        ? db.transact((tx) => apply(tx, rows))
        : inParts(db, rows, apply).then((parts) => ({
            later: Math.max(0, ...parts.map(({ later }) => later)),
            refused: parts.flatMap(({ refused }) => refused),
          })),
    )
  }

  /**
   * [partition key, sort key, who sends the body (BodyFrom), what replaced a row that moves here (or left out)] → null,
   * or [head, body | has a body]
   */
  #get(query: unknown): RpcReply | Promise<RpcReply> {
    if (!Array.isArray(query) || (query.length !== 3 && query.length !== 4)) throw this.#malformed('get')
    const [partitionKey, sortKey, bodyFrom, replacedBy] = query as [Buffer, Buffer, unknown, unknown]
    const { db } = this.env
    const { stored, codec } = this.local
    const key = codec.keyOf(partitionKey, sortKey)
    this.#checkOwn(key[0]!)
    this.standing.checkVote(copyOf(this.local.schema, key[0]!))
    const undecided = Buffer.isBuffer(replacedBy) && this.local.schema.undecided?.(db, partitionKey, sortKey)
    if (undecided) return undecided.then(() => this.#get(query))
    const instead = this.local.votes?.instead(key)
    const isAsked = (at: Buffer) => at.equals(sortKey)
    const isMoving = !instead && Buffer.isBuffer(replacedBy)
    const row = isMoving ? this.#moving(partitionKey, sortKey, replacedBy, isAsked) : instead?.row
    if (row) {
      const { head, body } = row
      const sent = this.#sendsBody(bodyFrom, head) ? (body ?? false) : body !== undefined
      return this.local.underWay.after(key, { body: [head, sent] })
    }
    const value = instead ? undefined : stored.value(db, key)
    if (!value) return { body: null }
    const head = headOf(value)
    const sends = this.#sendsBody(bodyFrom, head)
    const body = sends ? (stored.body(db, key, value) ?? false) : stored.hasBody(db, key, value)
    return this.local.underWay.after(key, { body: [head, body] })
  }

  #sendsBody(bodyFrom: unknown, head: Buffer): boolean {
    if (!Array.isArray(bodyFrom)) return bodyFrom === this.env.transport.self
    const [known] = bodyFrom as unknown[]
    return Buffer.isBuffer(known) && isWanted(this.local.schema, known, head)
  }

  /** The row that moves to a place that is asked for, merged with the one that is there, and encoded; undefined if it adds nothing. */
  #moving(
    partitionKey: Buffer,
    start: Buffer,
    replacedBy: Buffer,
    isAsked: (sortKey: Buffer) => boolean,
  ): PageRow | undefined {
    const { codec, schema } = this.local
    const { db } = this.env
    const entry = schema.moving?.(db, partitionKey, start, replacedBy)
    const sortKey = entry && schema.sortKey(entry)
    if (!sortKey || !isAsked(sortKey)) return undefined
    const here = this.local.get(db, partitionKey, sortKey)
    const merged = here ? schema.merge(here, entry) : entry
    if (merged === here) return undefined
    const { head, body } = codec.encode(merged)
    return { sortKey, head, body, hasBody: body !== undefined }
  }

  /**
   * [partition key, start | null, end | null, reverse, limit, with bodies, node that sends the page, or null for all,
   * what replaced a row that moves here (or left out)] → [rows, more] with rows [sort key, head, body | has a body], or a fingerprint of the same page
   */
  #range(body: unknown): RpcReply | Promise<RpcReply> {
    if (!Array.isArray(body) || (body.length !== 7 && body.length !== 8)) throw this.#malformed('range')
    const [partitionKey, start, end, reverse, limit, withBodies, pageFrom, replacedBy] = body as unknown[]
    if (
      !Buffer.isBuffer(partitionKey) ||
      !(start === null || Buffer.isBuffer(start)) ||
      !(end === null || Buffer.isBuffer(end)) ||
      !Number.isInteger(limit) ||
      (limit as number) < 1
    ) {
      throw this.#malformed('range')
    }
    this.local.codec.checkKeys(partitionKey, EMPTY)
    const partition = this.local.codec.partitionOf(partitionKey)
    this.#checkOwn(partition)
    this.standing.checkVote(copyOf(this.local.schema, partition))
    const page = this.page(partitionKey, {
      ...(start ? { start } : {}),
      ...(end ? { end } : {}),
      reverse: reverse === true,
      limit: Math.min(limit as number, PAGE_ROWS_MAX),
      withBodies: withBodies === true,
      ...(Buffer.isBuffer(replacedBy) && { replacedBy }),
    })
    const prefix = rowKeyOf(partition, partitionKey, EMPTY)
    if (pageFrom !== null && pageFrom !== this.env.transport.self) {
      return this.local.underWay.afterAll(prefix, { body: pageFingerprint(page) })
    }
    const rows = page.rows.map((row) => [row.sortKey, row.head, row.body ?? row.hasBody])
    return this.local.underWay.afterAll(prefix, { body: [rows, page.more] })
  }

  /** A page of the own copy, at least one row long if there is one. */
  page(
    partitionKey: Buffer,
    query: {
      start?: Buffer
      end?: Buffer
      reverse: boolean
      limit: number
      withBodies: boolean
      replacedBy?: Buffer
    },
  ): Omit<Page, 'node'> {
    const { db } = this.env
    const { stored } = this.local
    const { start, end, reverse, replacedBy } = query
    const mayHaveBodies = db.count(stored.trees.body) > 0
    const sortKeyAt = 1 + this.local.schema.partitionKeyBytes
    const rows: PageRow[] = []
    let bytes = 0
    const isAsked = (at: Buffer) => at.compare(start!) >= 0 && (!end || at.compare(end) < 0)
    let moving = replacedBy && start && this.#moving(partitionKey, start, replacedBy, isAsked)
    /** Adds a row; false if the page is full without it. */
    const add = (row: PageRow) => {
      bytes += row.sortKey.length + row.head.length + (row.body?.length ?? 0) + 16
      if (rows.length >= query.limit || (bytes > PAGE_BYTES_MAX && rows.length > 0)) return false
      rows.push(row)
      return true
    }
    const addMoving = (row: PageRow) => {
      moving = undefined
      return add(query.withBodies ? row : { ...row, body: undefined })
    }
    const values = this.local.values(db, partitionKey, { ...query, limit: query.limit + 1 })
    for (const { key, value } of values) {
      const sortKey = key.subarray(sortKeyAt)
      if (moving) {
        const order = moving.sortKey.compare(sortKey) * (reverse ? -1 : 1)
        if (order <= 0 && !addMoving(moving)) return { rows, more: true }
        if (order === 0) continue
      }
      if (rows.length >= query.limit) return { rows, more: true }
      const instead = this.local.votes?.instead(key)
      if (instead && !instead.row) continue
      const shown = instead?.row
      const hasBody = shown ? shown.body !== undefined : mayHaveBodies && stored.hasBody(db, key, value)
      const load = () => (shown ? shown.body : stored.body(db, key, value))
      const body = hasBody && query.withBodies ? load() : undefined
      if (!add({ sortKey, head: shown?.head ?? headOf(value), body, hasBody })) return { rows, more: true }
    }
    if (moving && !addMoving(moving)) return { rows, more: true }
    return { rows, more: false }
  }

  /**
   * Refuses rows whose time is farther ahead than a right clock can be (twice the bound, since the writer may see the
   * median of the clocks a little elsewhere), unless this node has a row under that key that
   * is ahead as well: an earlier version, or a wrong clock, stored it, and what replaces it must be later still. Repair
   * takes rows whatever their time, so that copies of such rows become equal.
   * @throws CarportError ClockSkew
   */
  #checkTimes(rows: readonly Row<E>[]): void {
    const { schema } = this.local
    const { timeUs } = schema
    if (!timeUs) return
    const { db, hlc } = this.env
    const latestUs = hlc.peers.latestUs() + hlc.peers.maxDriftMs * 1000
    for (const { entry } of rows) {
      if (timeUs(entry) <= latestUs) continue
      const stored = this.local.get(db, schema.partitionKey(entry), schema.sortKey(entry))
      const storedUs = stored ? timeUs(stored) : 0
      if (timeUs(entry) <= storedUs + hlc.peers.maxDriftMs * 1000) continue
      throw new CarportError(
        'ClockSkew',
        `table ${schema.name}: a row is stamped with a time that is too far ahead`,
      )
    }
  }

  #checkOwn(partition: number): void {
    checkOwn(this.env, this.local.schema, partition)
  }

  #damaged(): CarportError {
    const { name } = this.local.schema
    return new CarportError(
      'Corrupted',
      `table ${name}: this node's copy of the row is damaged, to be repaired`,
    )
  }

  #malformed(method: string): CarportError {
    return new CarportError('InvalidArgument', `malformed ${methodOf(this.local.schema.name, method)}`)
  }
}

/**
 * Whoever copies for the newer layout may have been here already, and nobody waits for a writer that does not know it: one that
 * was skipped as dead, or has a role only in a layout that lost against another one of its number.
 * @param mark what the writer told, see Placement.layoutMark
 * @throws CarportError LayoutOutdated
 */
export function checkWriter({ writersMark }: Placement, mark: number): void {
  const version = Math.floor(writersMark)
  // Of two layouts of one number, the lesser one loses. A writer of an earlier release tells the number alone.
  if (mark >= writersMark || mark === version) return
  throw new CarportError(
    'LayoutOutdated',
    `all nodes write with layout version ${version}, another one than this writer's, or with a later one`,
  )
}

/** A node that does not hold a partition must not answer "nothing here". @throws CarportError LayoutNotReady */
export function checkOwn(
  { placement, transport }: { placement: Placement; transport: Transport },
  schema: { placement: 'sharded' | 'full' },
  partition: number,
): void {
  if (schema.placement === 'full' || placement.storageSet(partition).includes(transport.self)) return
  throw new CarportError('LayoutNotReady', `partition ${partition} is not on this node`)
}

/**
 * Merges rows into the own copy; returns the latest time of what hides one of them, 0 if all took effect.
 * @param refused where rows are put that were not taken, see LocalTable.apply
 */
export function applyRows<E>(
  tx: Tx,
  local: LocalTable<E>,
  rows: Iterable<Row<E>>,
  refused?: Row<E>[],
): number {
  const { schema } = local
  const leaves = Array.isArray(rows) && rows.length === 1 ? undefined : new LeafChanges()
  let later = 0
  for (const row of rows) {
    const merged = local.apply(tx, row, leaves, refused)
    if (schema.hiddenBy && merged !== row.entry) later = Math.max(later, schema.hiddenBy(row.entry, merged))
  }
  leaves?.flush(tx, local.trees)
  return later
}
