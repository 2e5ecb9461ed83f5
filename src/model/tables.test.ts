import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TableSchema } from '../table/schema.js'
import { fieldTable } from './buckets/control-rows.js'
import { type BlockListRow, blockListTable, deletedBlockList } from './content/block-lists.js'
import { versionId } from './content/refs.js'
import {
  deletedPart,
  deletedUpload,
  type PartRow,
  partTable,
  type UploadRow,
  uploadTable,
} from './uploads/tables.js'
import type { VersionRecord } from './versions/record.js'
import { type ContentHooks, objectTable, tombstoneOf, versionTable } from './versions/tables.js'

const hooks: ContentHooks = {
  enqueueRefs() {},
  purgeLists() {},
  noncurrent: () => undefined,
  current: () => undefined,
  currentStored: () => undefined,
  nextShown: async () => {},
  updateNoncurrent() {},
  endUpload() {},
}

const bucket = Buffer.alloc(16, 1)
const key = Buffer.from('k')
const id = fc.integer({ min: 1, max: 4 }).map((n) => versionId(n, Buffer.alloc(8, n)))
const time = fc.integer({ min: 1, max: 4 })

const version: fc.Arbitrary<VersionRecord> = fc
  .record({
    id,
    time,
    generation: fc.nat(2),
    tag: fc.option(time),
    hold: fc.option(time),
    dead: fc.boolean(),
  })
  .map(({ id, time, generation, tag, hold, dead }) => {
    if (dead) return { ...tombstoneOf({ bucket, key, isNull: false, timeUs: time }, id), generation }
    return {
      ...tombstoneOf({ bucket, key, isNull: false, timeUs: time }, id),
      generation,
      state: 'object',
      size: 3,
      content: { kind: 'inline' },
      body: Buffer.from('abc'),
      mutable: {
        ...(tag !== null && { tags: [tag, { n: String(tag) }] as [number, Record<string, string>] }),
        ...(hold !== null && { legalHold: [hold, true] as [number, boolean] }),
      },
    }
  })

/** The state that a set of rows merges to must not depend on their order, nor on repetitions, to the byte. */
function expectConvergence<E>(schema: TableSchema<E>, rows: fc.Arbitrary<E>) {
  const state = (list: E[]) => {
    const encoded = list.map((row) => schema.encode(row))
    const decoded = encoded.map((row) => schema.decode(row.head, () => row.body))
    const { head, body } = schema.encode(decoded.reduce((a, b) => schema.merge(a, b)))
    return [head.toString('hex'), body?.toString('hex')]
  }
  fc.assert(
    fc.property(
      fc.array(rows, { minLength: 1, maxLength: 5 }),
      fc.infiniteStream(fc.nat()),
      (list, picks) => {
        const other = [...list, ...list]
        for (let i = other.length - 1; i > 0; i--) {
          const j = (picks.next().value as number) % (i + 1)
          ;[other[i], other[j]] = [other[j]!, other[i]!]
        }
        expect(state(other)).toEqual(state(list))
      },
    ),
    { numRuns: 300 },
  )
}

describe('copies of a row end up equal, whatever order its changes arrive in', () => {
  test('objects', () => {
    // A version's place in the order and its content go together: the same order means the same version.
    const consistent = version.map((v) => ({
      ...v,
      id: versionId(v.timeUs * 10 + v.generation, Buffer.alloc(8, 1)),
    }))
    const kinds = consistent.map(
      (v): VersionRecord =>
        v.generation === 1
          ? { ...v, state: 'tombstone', content: { kind: 'none' }, size: 0, body: undefined, mutable: {} }
          : {
              ...{ ...v, state: 'object', content: { kind: 'inline' }, size: 3, body: Buffer.from('abc') },
              ...(v.timeUs % 2 === 0 && { modifiedMs: v.timeUs }),
            },
    )
    expectConvergence(objectTable(hooks), kinds)
  })

  test('objects of one time and size, with different contents: their heads differ', () => {
    const { encode } = objectTable(hooks)
    const one: VersionRecord = {
      ...tombstoneOf({ bucket, key, isNull: false, timeUs: 5 }, versionId(5, Buffer.alloc(8, 1))),
      ...{
        state: 'object',
        size: 3,
        content: { kind: 'inline' },
        body: Buffer.from('abc'),
        etag: Buffer.alloc(16, 1),
      },
    }
    const body = Buffer.from('abd')
    // Of another writer, which picked another id; and of contents with equal ids, which no writer makes.
    const others = [
      { ...one, body, id: versionId(5, Buffer.alloc(8, 2)) },
      { ...one, body, etag: Buffer.alloc(16, 2) },
    ]
    for (const other of others) expect(encode(other).head).not.toEqual(encode(one).head)
    expect(encode({ ...one }).head).toEqual(encode(one).head)
  })

  test('noncurrent versions', () => {
    const spilled = version.map((v) => ({
      ...v,
      generation: 0,
      // What moved to the version table always has the time of its own making.
      ...(v.state === 'object' && { timeUs: v.id.readUInt32BE(4), createdUs: v.id.readUInt32BE(4) }),
    }))
    expectConvergence(
      versionTable(() => hooks),
      spilled,
    )
  })

  test('uploads', () => {
    const upload: UploadRow = {
      ...deletedUpload({ bucket, key, id: Buffer.alloc(16, 7) }),
      deleted: false,
      timeUs: 5,
      owner: 'GK1',
    }
    expectConvergence(
      uploadTable(() => {}),
      fc.constantFrom(upload, deletedUpload(upload)),
    )
  })

  test('parts', () => {
    const part = fc.record({ time, dead: fc.boolean() }).map(({ time, dead }): PartRow => {
      const row: PartRow = {
        ...{
          bucket,
          key,
          uploadId: Buffer.alloc(16, 7),
          number: 1,
          deleted: false,
          timeUs: time,
          size: time,
        },
        id: versionId(time, Buffer.alloc(8, time)),
        etag: Buffer.alloc(16, time),
        content: { kind: 'blocks', blocks: Buffer.alloc(36, time) },
      }
      return dead ? deletedPart(row) : row
    })
    expectConvergence(
      partTable(() => hooks),
      part,
    )
  })

  test('lists of blocks', () => {
    const row: BlockListRow = {
      bucket,
      owner: Buffer.alloc(16, 3),
      index: 0,
      kind: 'blocks',
      deleted: false,
      key,
      data: Buffer.alloc(36),
    }
    expectConvergence(
      blockListTable(() => {}),
      fc.constantFrom(row, deletedBlockList(row)),
    )
  })

  test('control rows', () => {
    const row = fc
      .record({
        deleted: fc.boolean(),
        fields: fc.dictionary(
          fc.constantFrom('a', 'b'),
          fc.tuple(time, fc.constantFrom<unknown>(1, 'x', null)),
        ),
      })
      .map(({ deleted, fields }) => ({ id: Buffer.from('id'), deleted, fields: deleted ? {} : fields }))
    expectConvergence(fieldTable('test'), row)
  })
})
