/**
 * Pages of versions: whatever the limits of a page, of a turn and of a request are, all pages together show each version
 * once, in order; and a key's versions are never all held at a time.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SimCluster } from '../../../testing/sim-cluster.js'
import type { LocalTable } from '../../table/local.js'
import { md5 } from '../content/hashing.js'
import { versionId } from '../content/refs.js'
import { newestFirst, versionSortKey } from '../sort-keys.js'
import { headId } from '../versions/codec.js'
import type { VersionRecord } from '../versions/record.js'
import { noncurrentOf, tombstoneOf } from '../versions/tables.js'
import { fullEntry, isLatest, readPage } from './page.js'
import { TURN_ROWS, type Turns } from './turns.js'
import { buildVersionPage, nextPosition, type VersionPosition } from './version-page.js'
import type { VersionPage } from './versions.js'

const EMPTY = Buffer.alloc(0)
const START_US = 1_700_000_000_000_000

/** A version of a key, written at that time; the null version is one of the key's versions, or the key has none. */
interface Made {
  key: string
  time: number
  isNull: boolean
  state: 'object' | 'tombstone'
}

async function oneNode() {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 1, zones: 1, replicationFactor: 1, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 1, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  await cluster.clock.runUntil(cluster.start(), 60_000)
  const { core, machine } = cluster.nodes[0]!
  const { db } = machine.platform!
  const { model } = core!
  const tables = { objects: model.tables.object.local, versions: model.tables.version.local }
  let buckets = 0
  const cursors = { open: 0 }
  return {
    cluster,
    model,
    db,
    tables: { objects: tracked(tables.objects, cursors), versions: tracked(tables.versions, cursors) },
    /** Cursors that a walk has left open: each keeps the database from using pages again. */
    cursors,
    /** A bucket that has these rows; those that are current stand in the object table. */
    bucketOf: async (current: readonly Made[], noncurrent: readonly Made[]) => {
      const { id: bucket } = await cluster.clock.runUntil(model.buckets.create(`b${++buckets}00`), 60_000)
      await cluster.clock.runUntil(
        db.transact((tx) => {
          for (const made of noncurrent) tables.versions.update(tx, noncurrentRow(bucket, made))
          for (const made of current) tables.objects.update(tx, rowOf(bucket, made))
        }),
        600_000,
      )
      return bucket
    },
  }
}

/** What a walk uses of a table, with its cursors counted. */
function tracked(local: LocalTable<VersionRecord>, cursors: { open: number }): LocalTable<VersionRecord> {
  function* heads(...args: Parameters<typeof local.heads>) {
    cursors.open++
    try {
      yield* local.heads(...args)
    } finally {
      cursors.open--
    }
  }
  const peekHead: typeof local.peekHead = (...args) => local.peekHead(...args)
  return { heads, peekHead } as unknown as LocalTable<VersionRecord>
}

function rowOf(bucket: Buffer, { key, time, isNull, state }: Made): VersionRecord {
  const timeUs = START_US + time
  const id = versionId(timeUs, Buffer.alloc(8, time))
  if (state === 'tombstone') return tombstoneOf({ bucket, key: Buffer.from(key), isNull, timeUs }, id)
  const body = Buffer.from(String(time))
  return {
    ...{ bucket, key: Buffer.from(key), isNull, timeUs, generation: 0, id, createdUs: timeUs, state },
    ...{ size: body.length, etag: md5(body), etagParts: 0, owner: '', headers: {}, metadata: {} },
    ...{ content: { kind: 'inline' }, mutable: {}, body },
  }
}

const noncurrentRow = (bucket: Buffer, made: Made) =>
  made.state === 'tombstone' ? rowOf(bucket, made) : noncurrentOf(rowOf(bucket, made))

/** All entries of all pages, as texts, and the number of pages. */
function walk(
  store: Awaited<ReturnType<typeof oneNode>>,
  bucket: Buffer,
  query: { prefix: string; delimiter: string; limit: number; rowsMax: number; full: boolean },
) {
  const prefix = Buffer.from(query.prefix)
  const delimiter = Buffer.from(query.delimiter)
  const found: string[] = []
  let pages = 0
  let at: VersionPosition | undefined = { start: EMPTY, afterVersion: EMPTY }
  while (at) {
    const request = { bucket, prefix, delimiter, ...at, limit: query.limit }
    const page = readPage(
      run(buildVersionPage(store.db, store.tables, request, query.full, query.rowsMax)).page,
    )
    expect(store.cursors.open).toBe(0)
    const entries = page.entries.filter((entry) => fullEntry(entry).kind !== 'hidden')
    expect(entries.length).toBeLessThanOrEqual(query.limit)
    for (const entry of entries) {
      const { kind, key } = fullEntry(entry)
      const id = kind === 'prefix' ? 'prefix' : timeOf(headId(entry.head!))
      found.push(`${key} ${id}${kind === 'object' && isLatest(entry) ? ' latest' : ''}`)
    }
    at = nextPosition(page)
    if (++pages > 500) throw new Error('the pages do not come to an end')
  }
  return { found, pages }
}

const timeOf = (id: Buffer) => Number(newestFirst(newestFirst(id)).readBigUInt64BE()) - START_US

function run(turns: Turns<Buffer>): { page: Buffer; turns: number } {
  for (let count = 1; ; count++) {
    const { done, value } = turns.next()
    if (done) return { page: value, turns: count }
  }
}

/** What a listing has to show. */
function expected(current: readonly Made[], noncurrent: readonly Made[], prefix: string, delimiter: string) {
  const out: string[] = []
  const keys = [...new Set([...current, ...noncurrent].map(({ key }) => key))].sort()
  for (const key of keys.filter((name) => name.startsWith(prefix))) {
    const live = ({ key: of, state }: Made) => of === key && state === 'object'
    const now = current.find(live)
    const others = noncurrent.filter(live).filter(({ time }) => time !== now?.time)
    if (!now && others.length === 0) continue
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    if (cut >= 0) {
      const entry = `${key.slice(0, cut + 1)} prefix`
      if (!out.includes(entry)) out.push(entry)
      continue
    }
    if (now) out.push(`${key} ${now.time} latest`)
    for (const { time } of others.sort((a, b) => b.time - a.time)) out.push(`${key} ${time}`)
  }
  return out
}

const KEYS = ['a', 'd/1', 'd/2', 'd/\u0001x', 'e', 'ea', 'f/1']
const state = fc.constantFrom('object' as const, 'object' as const, 'tombstone' as const)
const history = fc
  .uniqueArray(fc.record({ key: fc.constantFrom(...KEYS), time: fc.nat(200), isNull: fc.boolean(), state }), {
    selector: ({ key, time }) => `${key} ${time}`,
    maxLength: 60,
    size: 'max',
  })
  .map((rows): { current: Made[]; noncurrent: Made[] } => {
    const current = new Map<string, Made>()
    const noncurrent: Made[] = []
    const nulls = new Set<string>()
    for (const row of rows.sort((a, b) => b.time - a.time)) {
      // A key has one null version.
      const made = { ...row, isNull: row.isNull && !nulls.has(row.key) }
      if (made.isNull) nulls.add(row.key)
      if (current.has(row.key)) noncurrent.push(made)
      else {
        current.set(row.key, made)
        // A version that became current again is in both tables.
        if (made.time % 3 === 0 && made.state === 'object') noncurrent.push(made)
      }
    }
    return { current: [...current.values()], noncurrent }
  })

test('pages of any size, cut anywhere, show each version once and in order', async () => {
  const store = await oneNode()
  await fc.assert(
    fc.asyncProperty(
      history,
      fc.record({
        prefix: fc.constantFrom('', '', 'd/', 'e'),
        delimiter: fc.constantFrom('', '', '/'),
        limit: fc.integer({ min: 1, max: 8 }),
        rowsMax: fc.constantFrom(1, 2, 3, 5, 8, 1000),
        full: fc.boolean(),
      }),
      async ({ current, noncurrent }, query) => {
        const bucket = await store.bucketOf(current, noncurrent)
        const { found } = walk(store, bucket, query)
        expect(found).toEqual(expected(current, noncurrent, query.prefix, query.delimiter))
      },
    ),
    { numRuns: 200 },
  )
})

test('a key with very many versions is listed page by page, each page in short turns', async () => {
  const store = await oneNode()
  const count = 4 * TURN_ROWS
  const made = Array.from(
    { length: count },
    (_, i): Made => ({
      ...{ key: 'k', time: i + 1, isNull: i === 100, state: i % 2 === 0 ? 'object' : 'tombstone' },
    }),
  )
  const bucket = await store.bucketOf([made.pop()!], made)
  const query = { prefix: '', delimiter: '', limit: 100, full: false }
  const request = { bucket, prefix: EMPTY, delimiter: EMPTY, start: EMPTY, afterVersion: EMPTY, limit: 100 }
  const first = run(buildVersionPage(store.db, store.tables, request))
  // 200 rows for 100 versions: the page does not read the rest of the key.
  expect(first.turns).toBe(1)
  expect(readPage(first.page).entries).toHaveLength(100)
  const { found, pages } = walk(store, bucket, { ...query, rowsMax: 20_000 })
  expect(found).toEqual(expected([], made, '', ''))
  expect(pages).toBe(20)
  // A page that looks at fewer rows than it could show versions of ends there.
  expect(walk(store, bucket, { ...query, rowsMax: 50 }).found).toEqual(found)
})

test('one request looks at so many deleted versions at the most, and says where to go on', async () => {
  const store = await oneNode()
  const { model, cluster } = store
  const count = 2 * TURN_ROWS
  const made = Array.from(
    { length: count },
    (_, i): Made => ({
      ...{ key: `k${i % 2}`, time: i + 1, isNull: false, state: 'tombstone' },
    }),
  )
  const oldest: Made = { key: 'k1', time: 0, isNull: false, state: 'object' }
  const bucket = await store.bucketOf([], [...made, oldest])
  const tables = { ...store.tables }
  let at: VersionPosition | undefined = { start: EMPTY, afterVersion: EMPTY }
  let empty = 0
  let found: string[] = []
  while (at) {
    const request = { bucket, prefix: EMPTY, delimiter: EMPTY, ...at, limit: 10 }
    const page = readPage(run(buildVersionPage(store.db, tables, request, false, 300)).page)
    if (page.entries.length === 0) empty++
    found = found.concat(page.entries.map(({ key }) => String(key)))
    at = nextPosition(page)
  }
  expect(found).toEqual(['k1'])
  expect(empty).toBe(Math.ceil(count / 300) - 1)
  const isEmpty = (id: Buffer) => cluster.clock.runUntil(model.versionListing.isEmpty(id), 60_000)
  expect(await isEmpty(bucket)).toBe(false)
  expect(await isEmpty(await store.bucketOf([], made))).toBe(true)
})

test('replicas that differ in a key with many versions show all that a quorum has, page by page', async () => {
  const c = new SimCluster({
    ...{ seed: 1, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 10, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  await c.clock.runUntil(c.start(), 60_000)
  const { model } = c.nodes[0]!.core!
  const { id: bucket } = await c.clock.runUntil(model.buckets.create('photos'), 60_000)
  const key = Buffer.from('k')
  const body = Buffer.from('content')
  const version = {
    bucket,
    key,
    etag: md5(body),
    etagParts: 0,
    owner: '',
    headers: {},
    metadata: {},
    mutable: {},
  }
  const written: string[] = []
  for (let i = 0; i < 20; i++) {
    const stored = { size: body.length, md5: md5(body), body, blocks: [] }
    const row = await c.clock.runUntil(model.objects.put(version, stored, 'enabled'), 60_000)
    written.unshift(row.id.toString('hex'))
  }
  await c.clock.run(1000)
  // Each replica lacks some versions, so that no two pages are the same.
  for (const [i, { core, machine }] of c.nodes.entries()) {
    const { local } = core!.model.tables.version
    const { db } = machine.platform!
    const change = db.transact((tx) => {
      for (let at = i + 1; at < 18; at += 3) {
        const rowKey = local.codec.keyOf(bucket, versionSortKey(key, Buffer.from(written[at]!, 'hex'), false))
        local.drop(tx, rowKey, local.rowHash(tx, rowKey)!)
      }
    })
    await c.clock.runUntil(change, 60_000)
  }
  const found: string[] = []
  let at: VersionPosition | undefined = { start: EMPTY, afterVersion: EMPTY }
  while (at) {
    const request = { bucket, prefix: EMPTY, delimiter: EMPTY, ...at, limit: 7 }
    const page: VersionPage = await c.clock.runUntil(model.versionListing.page(request), 60_000)
    found.push(...page.entries.map(({ head }) => headId(head!).toString('hex')))
    const last = page.entries.at(-1)
    at = page.more ? { start: last!.key, afterVersion: headId(last!.head!) } : undefined
  }
  expect(found).toEqual(written)
})
