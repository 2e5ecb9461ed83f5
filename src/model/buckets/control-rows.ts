import { Packr } from 'msgpackr'
import { type Lww, lwwUpdate, mergeLwwFields } from '../../crdt/lww.js'
import type { Db } from '../../db/db.js'
import { successor } from '../../table/row-keys.js'
import type { TableSchema } from '../../table/schema.js'
import type { Table } from '../../table/table.js'
import { type Clock, sleep } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { looksLikeMsgpack, versioned } from '../../util/format.js'

/**
 * Rows of the control tables (buckets, aliases, access keys): a set of named fields, each a last-writer-wins register.
 * One shape for all of them means one merge, and that a field added later needs no new format.
 */
export interface FieldRow {
  /** The bytes that identify the row. */
  id: Buffer
  /** Once true, for ever: the id is never used again. */
  deleted: boolean
  /** Field name → [time in µs, value]; a value of null means absent. Sorted by name. */
  fields: Readonly<Record<string, Lww<unknown>>>
}

const packr = new Packr({ useRecords: false, variableMapSize: true })

const FORMAT = versioned<FieldRow>('control row', {
  // Equal rows give equal bytes, since field names are sorted and values are stored as they were written.
  encode(row) {
    const names = Object.keys(row.fields).sort()
    return packr.pack([row.id, row.deleted, names.map((n) => [n, row.fields[n]![0], row.fields[n]![1]])])
  },
  writes: 'unmarked',
  versions: { 1: decode },
  unmarked: { is: looksLikeMsgpack, decode },
})

function decode(head: Buffer): FieldRow {
  const value: unknown = packr.unpack(head)
  if (
    !Array.isArray(value) ||
    !Buffer.isBuffer(value[0]) ||
    typeof value[1] !== 'boolean' ||
    !Array.isArray(value[2])
  ) {
    throw new CarportError('Corrupted', 'malformed control row')
  }
  const fields: Record<string, [number, unknown]> = Object.create(null)
  for (const field of value[2]) {
    if (!Array.isArray(field) || typeof field[0] !== 'string' || typeof field[1] !== 'number') {
      throw new CarportError('Corrupted', 'malformed field of a control row')
    }
    fields[field[0]] = [field[1], field[2]]
  }
  return { id: value[0], deleted: value[1], fields }
}

function merge(current: FieldRow, incoming: FieldRow): FieldRow {
  if (current.deleted) return current
  if (incoming.deleted) return { ...incoming, fields: {} }
  const fields = mergeLwwFields(current.fields, incoming.fields)
  return fields === current.fields ? current : { id: current.id, deleted: false, fields }
}

/**
 * Schema of a full-copy table of FieldRows. Ids are variable in length, so they are the sort key.
 * @param changed is called with a row's id when a change of it is durable here
 */
export function fieldTable(name: string, changed: (id: Buffer) => void = () => {}): TableSchema<FieldRow> {
  const none = Buffer.alloc(0)
  return {
    name,
    placement: 'full',
    partitionKeyBytes: 0,
    partition: () => 0,
    partitionKey: () => none,
    sortKey: (row) => row.id,
    encode: (row) => ({ head: FORMAT.encode(row) }),
    decode: FORMAT.decode,
    merge,
    // Deleted ids are never reused, and there are few: keeping them is what makes deletion final.
    isTombstone: () => false,
    timeUs: (row) => Object.values(row.fields).reduce((latestUs, [timeUs]) => Math.max(latestUs, timeUs), 0),
    onUpdate: (tx, before, after) => tx.onCommit(() => changed((after ?? before!).id)),
  }
}

/** Rows that a walk reads in one turn of the event loop: they may have thousands of fields each. */
const TURN_ROWS = 100
const NO_KEY = Buffer.alloc(0)

/** All rows of a control table by id, from `start` on, as this node has them, with other work between. */
export async function* walkRows(
  { db, clock }: { db: Db; clock: Clock },
  table: Table<FieldRow>,
  start?: Buffer,
): AsyncGenerator<FieldRow> {
  let at = start
  for (;;) {
    const rows = [...table.local.range(db, NO_KEY, { ...(at && { start: at }), limit: TURN_ROWS })]
    yield* rows
    if (rows.length < TURN_ROWS) return
    at = successor(rows.at(-1)!.id)
    await sleep(clock, 0)
  }
}

/** Value of a field; undefined if absent or removed. */
export function field<T>(row: FieldRow, name: string): T | undefined {
  const stamped = row.fields[name]
  return stamped === undefined || stamped[1] === null ? undefined : (stamped[1] as T)
}

/** Names and values of the fields that start with `prefix`, the prefix cut off. */
export function fieldsWithPrefix<T>(row: FieldRow, prefix: string): [string, T][] {
  const found: [string, T][] = []
  for (const [name, [, value]] of Object.entries(row.fields)) {
    if (value !== null && name.startsWith(prefix)) found.push([name.slice(prefix.length), value as T])
  }
  return found
}

/**
 * A row that sets `changes` at a time that wins over what `row` holds, to be inserted into the table.
 * @param nowUs the writer's HLC time
 */
export function withFields(
  row: { id: Buffer; fields?: FieldRow['fields'] },
  changes: Record<string, unknown>,
  nowUs: number,
): FieldRow {
  const fields: Record<string, Lww<unknown>> = {}
  for (const [name, value] of Object.entries(changes)) {
    fields[name] = lwwUpdate(row.fields?.[name], nowUs, value === undefined ? null : value)
  }
  return { id: row.id, deleted: false, fields }
}
