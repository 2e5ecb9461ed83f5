/** Batches and the index of the K2V API over HTTP, on one node. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jsonOf, type K2vTestClient, textsOf, tokenOf } from './support/k2v-client.js'
import { startK2vNode } from './support/k2v-node.js'
import type { TestNode } from './support/test-node.js'

const b64 = (text: string) => Buffer.from(text).toString('base64')

let node: TestNode
let k2v: K2vTestClient

beforeAll(async () => {
  ;({ node, k2v } = await startK2vNode())
})

afterAll(() => node?.dispose())

describe('batches', () => {
  interface Result {
    items: { sk: string; ct: string; v: (string | null)[] }[]
    more: boolean
    nextStart: string | null
  }
  const search = async (...searches: object[]) => jsonOf<Result[]>(await k2v.post('?search', searches))
  const sks = (result: Result) => result.items.map(({ sk }) => sk)

  beforeAll(async () => {
    const items = ['a', 'b', 'ba', 'bb', 'c', 'd'].map((sk) => ({
      pk: 'batch',
      sk,
      ct: null,
      v: b64(`v ${sk}`),
    }))
    expect((await k2v.post('', [...items, { pk: 'other', sk: 'x', ct: null, v: b64('x') }])).status).toBe(204)
  })

  test('are read by ranges, in both directions, up to limits', async () => {
    const [all, ranged, limited, reverse, prefixed, single, none] = await search(
      { partitionKey: 'batch' },
      { partitionKey: 'batch', start: 'b', end: 'c' },
      { partitionKey: 'batch', start: 'b', limit: 2 },
      { partitionKey: 'batch', reverse: true, start: 'bb', end: 'a' },
      { partitionKey: 'batch', prefix: 'b', reverse: true, limit: 2 },
      { partitionKey: 'batch', start: 'ba', singleItem: true },
      { partitionKey: 'batch', start: 'nothing', singleItem: true },
    )
    expect(sks(all!)).toEqual(['a', 'b', 'ba', 'bb', 'c', 'd'])
    expect(all!.items[0]!.v).toEqual([b64('v a')])
    expect(sks(ranged!)).toEqual(['b', 'ba', 'bb'])
    expect([sks(limited!), limited!.more, limited!.nextStart]).toEqual([['b', 'ba'], true, 'bb'])
    expect([sks(reverse!), reverse!.more]).toEqual([['bb', 'ba', 'b'], false])
    expect([sks(prefixed!), prefixed!.more, prefixed!.nextStart]).toEqual([['bb', 'ba'], true, 'b'])
    expect([sks(single!), single!.more, single!.nextStart]).toEqual([['ba'], false, null])
    expect(none!.items).toEqual([])
    expect(Object.keys(all!).sort()).toEqual(
      'conflictsOnly end items limit more nextStart partitionKey prefix reverse singleItem start tombstones'.split(
        ' ',
      ),
    )
  })

  test('may be read by the method SEARCH', async () => {
    const body = JSON.stringify([{ partitionKey: 'other' }])
    const answer = await k2v.send({ method: 'SEARCH', target: '/k2v', body })
    expect(sks(jsonOf<Result[]>(answer)[0]!)).toEqual(['x'])
  })

  test('show conflicts alone, and deleted items, where asked to', async () => {
    await k2v.insert('filters', 'conflict', '1')
    await k2v.insert('filters', 'conflict', '2')
    await k2v.insert('filters', 'plain', '1')
    await k2v.insert('filters', 'gone', '1')
    await k2v.delete('filters', 'gone', tokenOf(await k2v.read('filters', 'gone')))
    const [plain, conflicts, tombstones] = await search(
      { partitionKey: 'filters' },
      { partitionKey: 'filters', conflictsOnly: true },
      { partitionKey: 'filters', tombstones: true },
    )
    expect(sks(plain!)).toEqual(['conflict', 'plain'])
    expect(sks(conflicts!)).toEqual(['conflict'])
    expect(tombstones!.items.map(({ sk, v }) => [sk, v])).toEqual([
      ['conflict', [b64('1'), b64('2')]],
      ['gone', [null]],
      ['plain', [b64('1')]],
    ])
  })

  test('insert with tokens, and delete where the value is null', async () => {
    await k2v.insert('tokens', 'a', 'old')
    const [{ items }] = (await search({ partitionKey: 'tokens' })) as [Result]
    const ct = items[0]!.ct
    await k2v.post('', [{ pk: 'tokens', sk: 'a', ct, v: b64('new') }])
    expect(textsOf(await k2v.read('tokens', 'a'))).toEqual(['new'])
    await k2v.post('', [{ pk: 'tokens', sk: 'a', ct: tokenOf(await k2v.read('tokens', 'a')), v: null }])
    expect(textsOf(await k2v.read('tokens', 'a'))).toEqual([null])
  })

  test('are read whole where the answer is long, and give back the memory that they took', async () => {
    const values = Array.from({ length: 12 }, (_, i) => Buffer.alloc(400_000, `value ${i} `))
    for (const [i, value] of values.entries()) await k2v.insert('long', `${10 + i}`, value)
    const answer = await k2v.post('?search', [{ partitionKey: 'long', limit: 10 }, { partitionKey: 'other' }])
    const [long, other] = jsonOf<Result[]>(answer)
    expect(long!.items.map(({ v }) => v[0])).toEqual(values.slice(0, 10).map((v) => v.toString('base64')))
    expect([long!.more, long!.nextStart, sks(other!)]).toEqual([true, '20', ['x']])
    // Its length is not known when it begins.
    expect(answer.headers['content-length']).toBeUndefined()
    await expect.poll(() => node.core.model.blobs.memory.usedBytes).toBe(0)
  })

  test('delete ranges, and say how many items there were', async () => {
    const items = Array.from({ length: 450 }, (_, i) => ({
      pk: 'del',
      sk: `${1000 + i}`,
      ct: null,
      v: b64(`${i}`),
    }))
    await k2v.post('', items)
    const deletion = await k2v.post('?delete', [
      { partitionKey: 'del', start: '1001', singleItem: true },
      { partitionKey: 'del', start: '1001', singleItem: true },
      { partitionKey: 'del', start: '1010', end: '1020' },
      { partitionKey: 'del', prefix: '14' },
      { partitionKey: 'del' },
    ])
    const results = jsonOf<{ deletedItems: number }[]>(deletion)
    expect(results.map(({ deletedItems }) => deletedItems)).toEqual([1, 0, 10, 50, 389])
    expect(results[2]).toEqual({
      ...{
        partitionKey: 'del',
        prefix: null,
        start: '1010',
        end: '1020',
        singleItem: false,
        deletedItems: 10,
      },
    })
    const [left] = await search({ partitionKey: 'del' })
    expect(left!.items).toEqual([])
  })
})

describe('the index', () => {
  interface Index {
    partitionKeys: { pk: string; entries: number; conflicts: number; values: number; bytes: number }[]
    more: boolean
    nextStart: string | null
  }
  const index = async (query: string) =>
    jsonOf<Index>(await k2v.send({ method: 'GET', target: `/k2v?${query}` }))

  test('counts items, conflicts, values and bytes of each partition key', async () => {
    await k2v.insert('idx:a', '1', 'four')
    await k2v.insert('idx:a', '2', '12')
    await k2v.insert('idx:a', '2', '345')
    await k2v.insert('idx:b', '1', 'x')
    await k2v.insert('idx:c', '1', 'x')
    await k2v.delete('idx:c', '1', tokenOf(await k2v.read('idx:c', '1')))
    expect(await index('prefix=idx%3A')).toEqual({
      ...{ prefix: 'idx:', start: null, end: null, limit: null, reverse: false },
      partitionKeys: [
        { pk: 'idx:a', entries: 2, conflicts: 1, values: 3, bytes: 9 },
        { pk: 'idx:b', entries: 1, conflicts: 0, values: 1, bytes: 1 },
      ],
      more: false,
      nextStart: null,
    })
    await k2v.insert('idx:a', '2', '', tokenOf(await k2v.read('idx:a', '2')))
    const [a] = (await index('prefix=idx%3Aa')).partitionKeys
    expect(a).toEqual({ pk: 'idx:a', entries: 2, conflicts: 0, values: 2, bytes: 4 })
  })

  test('is listed by ranges and limits, in both directions', async () => {
    await k2v.post(
      '',
      ['1', '2', '3', '4'].map((n) => ({ pk: `list:${n}`, sk: 'x', ct: null, v: b64(n) })),
    )
    const pks = ({ partitionKeys, more, nextStart }: Index) => [
      partitionKeys.map(({ pk }) => pk),
      more,
      nextStart,
    ]
    expect(pks(await index('prefix=list%3A&limit=2'))).toEqual([['list:1', 'list:2'], true, 'list:3'])
    expect(pks(await index('start=list%3A3&end=list%3A4'))).toEqual([['list:3'], false, null])
    expect(pks(await index('prefix=list%3A&reverse=true&limit=3'))).toEqual([
      ...[['list:4', 'list:3', 'list:2'], true, 'list:1'],
    ])
    expect(pks(await index('start=list%3A2&end=list%3A0&reverse=true'))).toEqual([
      ['list:2', 'list:1'],
      false,
      null,
    ])
  })

  test('keeps a bucket with items from being deleted', async () => {
    const { buckets, k2v: store } = node.core.model
    const found = await buckets.byName('k2v', undefined)
    expect(await store.isEmpty(found!.id)).toBe(false)
    expect(await store.isEmpty((await buckets.create('without-items')).id)).toBe(true)
  })
})
