import { describe, expect, it } from 'vitest'
import { SimCluster } from '../../../testing/sim-cluster.js'
import type { Tx } from '../../db/db.js'
import type { LocalTable } from '../../table/local.js'
import { md5 } from '../content/hashing.js'
import { versionId } from '../content/refs.js'
import type { VersionRecord } from '../versions/record.js'
import { tombstoneOf } from '../versions/tables.js'
import { type ListPage, nextStart } from './objects.js'
import { buildPage, fullEntry, PAGE_ROWS_MAX, readPage } from './page.js'
import { inTurns, TURN_ROWS, type Turns } from './turns.js'
import { buildVersionPage, isBefore, type VersionPosition } from './version-page.js'
import { liveBelow } from './version-probe.js'
import type { VersionPage } from './versions.js'

const EMPTY = Buffer.alloc(0)
const TAIL = Buffer.alloc(8, 7)

it('a listing shows nothing that a crash could still take back', async () => {
  const { clock, nodes } = await smallCluster()
  const [node] = nodes
  const { model } = node!.core!
  const { db, transport } = node!.machine.platform!
  const bucket = await clock.runUntil(model.buckets.create('photos'), 10_000)
  const key = Buffer.from('cat')
  const body = Buffer.from('meow')
  const put = model.objects.put(
    {
      ...{ bucket: bucket.id, key, etag: md5(body), etagParts: 0, owner: '' },
      ...{ headers: {}, metadata: {}, mutable: {} },
    },
    { size: body.length, md5: md5(body), body, blocks: [] },
    'off',
  )
  // Committed and visible here, but not yet on the disk.
  while (!model.tables.object.local.get(db, bucket.id, key)) await clock.run(0.01)
  const answers: string[] = []
  const ask = (method: string, ...after: Buffer[]) =>
    transport
      .call(node!.id, method, [bucket.id, EMPTY, EMPTY, EMPTY, ...after, 10, null], { timeoutMs: 1000 })
      .then(() => answers.push(method))
  const asked = Promise.all([ask('model/list'), ask('model/list-versions', EMPTY)])
  await clock.settle()
  expect(answers).toEqual([])
  await clock.runUntil(Promise.all([asked, put]), 10_000)
  expect(answers.toSorted()).toEqual(['model/list', 'model/list-versions'])
})

describe('replicas that miss different deletions', () => {
  it('do not show a common prefix together below which nothing is left', async () => {
    const c = await smallCluster()
    const { bucket, put, hide, list } = await bucketOf(c, 'photos')
    for (const key of ['p/x', 'p/y', 'q/z']) await put(key)
    await hide('p/x', [1, 2])
    await hide('p/y', [0, 2])
    // The first two are near to each other.
    for (const i of [0, 1]) c.network.setPath(c.nodes[i]!.id, c.nodes[2]!.id, FAR)
    for (const node of [0, 1, 2]) expect(await list(node, '/')).toEqual(['q/'])
    expect(await list(0, '')).toEqual(['q/z'])
    const { model } = c.nodes[0]!.core!
    const request = { bucket, prefix: EMPTY, delimiter: Buffer.from('/'), start: EMPTY, limit: 9 }
    const versions = c.clock.runUntil(model.versionListing.page({ ...request, afterVersion: EMPTY }), 60_000)
    expect((await versions).entries.map(({ key }) => String(key))).toEqual(['q/'])
  })

  it('let a request look at so many deleted rows below a prefix, and the next one goes on', async () => {
    const c = await smallCluster()
    const { bucket, put, hide, bury } = await bucketOf(c, 'photos')
    for (const key of ['a', 'p/x', 'p/y', 'q/z']) await put(key)
    const buried = Array.from({ length: 450 }, (_, i) => `p/${String(i).padStart(4, '0')}`)
    for (const node of [0, 1, 2]) await bury(buried, node)
    await hide('p/x', [1, 2])
    await hide('p/y', [0, 2])
    const { listing } = c.nodes[0]!.core!.model
    const page = (start: Buffer): Promise<ListPage> => {
      const request = { bucket, prefix: EMPTY, delimiter: Buffer.from('/'), start, limit: 9 }
      return c.clock.runUntil(listing.page(request, { probes: 1 }), 60_000)
    }
    // It has looked at a hundred rows, and does not know of the others.
    const first = await page(EMPTY)
    expect(first.entries.map(({ key }) => String(key))).toEqual(['a'])
    expect(String(first.next)).toBe('p/0099\0')
    const shown: string[] = []
    for (let next = first.next; next; ) {
      const more: ListPage = await page(next)
      expect(more.next === undefined || more.next.compare(next) > 0).toBe(true)
      shown.push(...more.entries.map(({ key }) => String(key)))
      next = more.next
    }
    expect(shown).toEqual(['q/'])
  })

  it('let a request for versions look at so many deleted rows of both tables below a prefix, and the next one goes on', async () => {
    const c = await smallCluster()
    const { bucket, put, hide, bury, buryVersions } = await bucketOf(c, 'photos')
    // The version table has control characters in another form than the object table.
    for (const key of ['a', 'p\x01/x', 'p\x01/y', 'q/z']) await put(key)
    const buried = Array.from({ length: 250 }, (_, i) => `p\x01/${String(i).padStart(4, '0')}`)
    for (const node of [0, 1, 2]) {
      await bury(buried, node)
      await buryVersions('p\x01/0000', 250, node)
    }
    await hide('p\x01/x', [1, 2])
    await hide('p\x01/y', [0, 2])
    const { versionListing } = c.nodes[0]!.core!.model
    const page = (at: VersionPosition, probes: number): Promise<VersionPage> => {
      const request = { bucket, prefix: EMPTY, delimiter: Buffer.from('/'), ...at, limit: 9 }
      return c.clock.runUntil(versionListing.page(request, { probes }), 60_000)
    }
    const first = await page({ start: EMPTY, afterVersion: EMPTY }, 1)
    expect(first.entries.map(({ key }) => String(key))).toEqual(['a'])
    // It has looked at a hundred versions of the first key.
    expect(String(first.next!.start)).toBe('p\x01/0000')
    expect(first.next!.afterVersion).toHaveLength(16)
    const shown: string[] = []
    for (let next = first.next; next; ) {
      const more: VersionPage = await page(next, 1)
      shown.push(...more.entries.map(({ key }) => String(key)))
      next = more.next
    }
    expect(shown).toEqual(['q/'])
    const search = async (probes: number) => {
      const { object, version } = c.nodes[0]!.core!.model.tables
      let at: VersionPosition | undefined = { start: EMPTY, afterVersion: EMPTY }
      for (let requests = 0; ; requests++) {
        if (!at) return { isLive: false, requests }
        const from: VersionPosition & { bucket: Buffer } = { bucket, ...at }
        const below = Buffer.from('p\x01/')
        const found = liveBelow({ objects: object, versions: version }, from, below, { probes })
        const { isLive, unknownFrom } = await c.clock.runUntil(found, 60_000)
        if (isLive) return { isLive, requests: requests + 1 }
        expect(unknownFrom && isBefore(unknownFrom, at)).not.toBe(true)
        at = unknownFrom
      }
    }
    // 250 versions of the first key, then as many keys, a hundred rows in a step.
    expect(await search(1)).toEqual({ isLive: false, requests: 5 })
    expect(await search(2)).toEqual({ isLive: false, requests: 3 })
    expect(await search(50)).toEqual({ isLive: false, requests: 1 })
    // With one more version that is there, the prefix is.
    for (const node of [0, 1, 2]) await buryVersions('p\x01/0000', 1, node, true)
    const whole = await page({ start: EMPTY, afterVersion: EMPTY }, 50)
    expect(whole.entries.map(({ key }) => String(key))).toEqual(['a', 'p\x01/', 'q/'])
    expect(await search(1)).toEqual({ isLive: true, requests: 3 })
  })

  it('do not hide a key that others still show, when the deletion failed', async () => {
    const c = await smallCluster()
    const { bucket, put, hide, drop, list } = await bucketOf(c, 'photos')
    await put('k')
    await put('m')
    await drop('k', 1)
    await hide('k', [0])
    for (const i of [0, 1]) c.network.setPath(c.nodes[i]!.id, c.nodes[2]!.id, FAR)
    expect(await list(0, '')).toEqual(['m'])
    // A reader who asks the others does not see it again.
    c.network.setPath(c.nodes[1]!.id, c.nodes[2]!.id, NEAR)
    c.network.setPath(c.nodes[0]!.id, c.nodes[2]!.id, FAR)
    expect(await list(2, '')).toEqual(['m'])
    const found = c.nodes[2]!.core!.model.objects.get(bucket, Buffer.from('k'))
    expect(await c.clock.runUntil(found, 60_000)).toBeUndefined()
  })
})

it('a page ends where it has looked at enough rows, and the next one goes on there', async () => {
  const c = await smallCluster()
  const { bucket, put, hide } = await bucketOf(c, 'photos')
  const keys = ['a', 'b', 'c', 'd/1', 'd/2', 'e', 'f']
  for (const key of keys) await put(key)
  for (const key of ['a', 'b', 'c', 'e']) await hide(key, [0])
  const { model } = c.nodes[0]!.core!
  const { db } = c.nodes[0]!.machine.platform!
  for (const full of [false, true]) {
    for (const rowsMax of [1, 2, 3, 4, 5, 6, 7, 100]) {
      const found: string[] = []
      let start: Buffer | undefined = EMPTY
      let pages = 0
      while (start) {
        const request = { bucket, prefix: EMPTY, delimiter: Buffer.from('/'), start, limit: 100 }
        const walk = buildPage(db, model.tables.object.local, request, full, rowsMax)
        const page = readPage(await inTurns(walk, c.clock))
        const shown = page.entries.filter((entry) => fullEntry(entry).kind !== 'hidden')
        found.push(...shown.map(({ key }) => String(key)))
        start = nextStart(page)
        pages++
      }
      expect(found).toEqual(['d/', 'f'])
      if (rowsMax === 1) expect(pages).toBeGreaterThan(4)
      if (rowsMax === 100) expect(pages).toBe(1)
    }
  }
})

it('a page does not end at a deleted key that is a common prefix, since a marker of that name means all below it', async () => {
  const c = await smallCluster()
  const { bucket, put, hide } = await bucketOf(c, 'photos')
  for (const key of ['a', 'd/', 'd/1']) await put(key)
  for (const key of ['a', 'd/']) await hide(key, [0])
  const { model } = c.nodes[0]!.core!
  const { db } = c.nodes[0]!.machine.platform!
  const request = { bucket, prefix: EMPTY, delimiter: Buffer.from('/'), start: EMPTY, limit: 100 }
  const walk = buildPage(db, model.tables.object.local, request, false, 2)
  const page = readPage(await inTurns(walk, c.clock))
  expect(page.entries.map(({ key }) => String(key))).toEqual(['d/'])
})

it('a turn of the event loop looks at no more rows than it may, however many are deleted', async () => {
  const c = await smallCluster()
  const { bucket, put } = await bucketOf(c, 'photos')
  for (const key of ['a', 'z']) await put(key)
  const { model } = c.nodes[0]!.core!
  const { db } = c.nodes[0]!.machine.platform!
  const { object, version } = model.tables
  const [live] = [...object.local.range(db, bucket, {})]
  const deleted = 5 * TURN_ROWS
  await c.clock.runUntil(
    db.transact((tx) => {
      for (let i = 0; i < deleted; i++) {
        const key = Buffer.from(`m${String(i).padStart(6, '0')}`)
        const row = tombstoneOf({ bucket, key, isNull: true, timeUs: live!.timeUs }, live!.id)
        object.local.update(tx, row)
        version.local.update(tx, row)
      }
    }),
    600_000,
  )
  const run = (walk: Turns<Buffer>) => {
    let turns = 1
    for (;;) {
      const { done, value } = walk.next()
      if (done) return { turns, keys: readPage(value).entries.map(({ key }) => String(key)) }
      turns++
    }
  }
  const request = { bucket, prefix: EMPTY, delimiter: EMPTY, start: EMPTY, limit: 100 }
  expect(run(buildPage(db, object.local, request))).toEqual({ turns: 6, keys: ['a', 'z'] })
  expect(deleted).toBeLessThan(PAGE_ROWS_MAX)
  const tables = { objects: object.local, versions: version.local }
  const versions = run(buildVersionPage(db, tables, { ...request, afterVersion: EMPTY }))
  expect(versions.keys).toEqual(['a', 'z'])
  expect(versions.turns).toBeGreaterThan(10)
  // A prefix whose rows are all deleted, as folders are listed.
  const folder = { ...request, prefix: Buffer.from('m'), delimiter: Buffer.from('/') }
  expect(run(buildPage(db, object.local, folder))).toEqual({ turns: 5, keys: [] })
})

const NEAR = { latencyMs: 1, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 }
const FAR = { ...NEAR, latencyMs: 100 }

/** A bucket with helpers; `hide` puts a key's tombstone on some replicas only, `drop` lets one replica forget the key. */
async function bucketOf(c: SimCluster, name: string) {
  const first = c.nodes[0]!.core!.model
  const { id: bucket } = await c.clock.runUntil(first.buckets.create(name), 60_000)
  const run = <T>(promise: Promise<T>) => c.clock.runUntil(promise, 60_000)
  const onNode = (node: number, change: (tx: Tx, local: LocalTable<VersionRecord>) => void) => {
    const { core, machine } = c.nodes[node]!
    return run(machine.platform!.db.transact((tx) => change(tx, core!.model.tables.object.local)))
  }
  return {
    bucket,
    put: async (key: string) => {
      const body = Buffer.from(key)
      const version = {
        ...{ bucket, key: body, etag: md5(body), etagParts: 0, owner: '' },
        ...{ headers: {}, metadata: {}, mutable: {} },
      }
      await run(first.objects.put(version, { size: body.length, md5: md5(body), body, blocks: [] }, 'off'))
      await c.clock.run(100)
    },
    hide: async (key: string, nodes: number[]) => {
      const current = (await run(first.objects.get(bucket, Buffer.from(key))))!
      const order = { timeUs: current.timeUs + 1, id: current.id }
      const tombstone = { ...tombstoneOf({ ...order, bucket, key: current.key, isNull: true }, order.id) }
      for (const node of nodes) await onNode(node, (tx, local) => local.update(tx, tombstone))
    },
    /** Deleted keys that nobody knows more of. */
    bury: (keys: readonly string[], node: number) =>
      onNode(node, (tx, local) => {
        for (const [i, text] of keys.entries()) {
          const key = Buffer.from(text)
          const order = { timeUs: 1_000_000 + i, id: Buffer.alloc(16, 1) }
          local.update(tx, { ...tombstoneOf({ ...order, bucket, key, isNull: true }, order.id) })
        }
      }),
    /** Deleted versions of a key; the oldest one is there yet if that is asked for. */
    buryVersions: async (key: string, count: number, node: number, isThere = false) => {
      const { core, machine } = c.nodes[node]!
      const { local } = core!.model.tables.version
      const made = (i: number) => {
        const timeUs = 1_000_000 + i - (isThere ? 1000 : 0)
        const row = tombstoneOf(
          { bucket, key: Buffer.from(key), isNull: false, timeUs },
          versionId(timeUs, TAIL),
        )
        return isThere ? { ...row, state: 'marker' as const } : row
      }
      await run(
        machine.platform!.db.transact((tx) => {
          for (let i = 0; i < count; i++) local.update(tx, made(i))
        }),
      )
    },
    drop: (key: string, node: number) =>
      onNode(node, (tx, local) => {
        const rowKey = local.codec.keyOf(bucket, Buffer.from(key))
        local.drop(tx, rowKey, local.rowHash(tx, rowKey)!)
      }),
    list: async (node: number, delimiter: string) => {
      const request = { bucket, prefix: EMPTY, delimiter: Buffer.from(delimiter), start: EMPTY, limit: 9 }
      const page = await run(c.nodes[node]!.core!.model.listing.page(request))
      return page.entries.map(({ key }) => String(key))
    },
  }
}

async function smallCluster(): Promise<SimCluster> {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 10, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  await cluster.clock.runUntil(cluster.start(), 60_000)
  return cluster
}
