/** Two of three nodes run the first release, which has other pages of listings and lacks tables that came later. */
import { beforeAll, describe, expect, it } from 'vitest'
import { md5 } from '../src/model/content/hashing.js'
import { listedBytes } from '../src/model/versions/codec.js'
import { SimCluster, type SimNode } from './sim-cluster.js'
import { THREE_NODES } from './sim-histories.js'

const NONE = Buffer.alloc(0)
const KEYS = ['a', 'folder/b', 'folder/c', 'other/d', 'z']

let cluster: SimCluster
let bucket: Buffer

beforeAll(async () => {
  cluster = new SimCluster({
    ...THREE_NODES,
    ...{ seed: 5, earlierNodes: 2 },
    path: { latencyMs: 5, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: { tombstoneDelayMs: 60_000, syncIntervalMs: 30_000, syncSoonMs: 2000 },
    graces: { unreferencedMs: 600_000, unclaimedMs: 3_600_000 },
  })
  await run(cluster.start())
  for (const node of earlierNodes()) serveEarlierPages(node)
  const { model } = today().core!
  bucket = Buffer.alloc(16, 3)
  for (const name of KEYS) {
    const key = Buffer.from(name)
    const version = {
      ...{ bucket, key, etag: md5(key), etagParts: 0, owner: '' },
      ...{ headers: {}, metadata: {}, mutable: {} },
    }
    await run(model.objects.put(version, { size: key.length, md5: md5(key), body: key, blocks: [] }, 'off'))
  }
  await cluster.clock.run(1000)
}, 120_000)

describe('a node beside others of the first release', () => {
  it('lists what is there', async () => {
    const { listing, versionListing } = today().core!.model
    const request = { bucket, prefix: NONE, delimiter: NONE, start: NONE, limit: 100 }
    const names = ({ entries }: { entries: { key: Buffer }[] }) => entries.map(({ key }) => String(key))
    expect(names(await run(listing.page(request)))).toEqual(KEYS)
    const folded = { ...request, delimiter: Buffer.from('/') }
    expect(names(await run(listing.page(folded)))).toEqual(['a', 'folder/', 'other/', 'z'])
    const first = await run(listing.page({ ...folded, limit: 2 }))
    expect(names(first)).toEqual(['a', 'folder/'])
    expect(names(await run(listing.page({ ...folded, start: first.next! })))).toEqual(['other/', 'z'])
    const versions = await run(versionListing.page({ ...request, afterVersion: NONE }))
    expect(names(versions)).toEqual(KEYS)
    expect(versions.entries.every(({ latest }) => latest)).toBe(true)
  })

  it('sends pages that these can read', async () => {
    const [earlier] = earlierNodes()
    const { transport } = earlier!.machine.platform!
    for (const [method, after] of [
      ['model/list', []],
      ['model/list-versions', [NONE]],
    ] as const) {
      const body = [bucket, NONE, Buffer.from('/'), NONE, ...after, 100, null]
      const reply = await run(transport.call(today().id, method, body, { timeoutMs: 5000 }))
      expect(keysOfEarlierPage(reply.body as Buffer)).toEqual(['a', 'folder/', 'other/', 'z'])
    }
  })

  it('says what helps where these cannot vote', async () => {
    const { buckets } = today().core!.model
    await expect(run(buckets.create('name'))).rejects.toThrow(/upgrade a majority/)
  })

  it('is in sync with them, although they lack tables', async () => {
    cluster.crash(today(), 'process')
    await run(cluster.boot(today()))
    await cluster.clock.run(5 * 60_000)
    const { catchUp } = today().core!
    expect(catchUp.state()).toMatchObject({ partitionsToCompare: 0 })
  })
})

const run = <T>(promise: Promise<T>) => cluster.clock.runUntil(promise, 600_000)
const today = (): SimNode => cluster.nodes[0]!
const earlierNodes = (): SimNode[] => cluster.nodes.slice(1)

/** Lets a node answer with pages as the first release made them: [more u8], and of each entry [u16][key][u16][head]. */
function serveEarlierPages({ core, machine }: SimNode): void {
  const { transport, db } = machine.platform!
  const { local } = core!.model.tables.object
  const page = (isMarked: boolean) => async (body: unknown) => {
    const [asked, , delimiter, start, ...more] = body as [Buffer, Buffer, Buffer, Buffer, ...unknown[]]
    const limit = more.at(-2) as number
    const entries = new Map<string, Buffer>()
    let isCut = false
    for (const { sortKey, head } of local.heads(db, asked, { start })) {
      const cut = delimiter.length > 0 ? sortKey.indexOf(delimiter) + delimiter.length : 0
      const name = String(cut > 0 ? sortKey.subarray(0, cut) : sortKey)
      if (!entries.has(name) && entries.size === limit) {
        isCut = true
        break
      }
      const shown = Buffer.from(cut > 0 ? NONE : head.subarray(0, listedBytes(head)))
      if (isMarked && shown.length > 0) shown[0]! |= 0x80
      entries.set(name, shown)
    }
    const u16 = (value: number) => Buffer.from([value >> 8, value & 255])
    const parts = [...entries].flatMap(([name, head]) => [
      u16(name.length),
      Buffer.from(name),
      u16(head.length),
      head,
    ])
    return { body: Buffer.concat([Buffer.from([isCut ? 1 : 0]), ...parts]) }
  }
  transport.replace('model/list', page(false))
  transport.replace('model/list-versions', page(true))
}

/** The keys of a page, as the first release reads it. */
function keysOfEarlierPage(page: Buffer): string[] {
  const keys: string[] = []
  for (let at = 1; at < page.length; ) {
    const keyEnd = at + 2 + page.readUInt16BE(at)
    keys.push(String(page.subarray(at + 2, keyEnd)))
    at = keyEnd + 2 + page.readUInt16BE(keyEnd)
  }
  return keys
}
