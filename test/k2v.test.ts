/** The K2V API over HTTP, on one node. */
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jsonOf, K2vTestClient, textsOf, tokenOf } from './support/k2v-client.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const JSON_TYPE = 'application/json'
const BINARY = 'application/octet-stream'
const b64 = (text: string) => Buffer.from(text).toString('base64')

let node: TestNode
let k2v: K2vTestClient
let reader: K2vTestClient
let stranger: K2vTestClient

beforeAll(async () => {
  node = await startTestNode({
    k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
  })
  const { keys, buckets } = node.core.model
  const bucket = await buckets.create('k2v')
  const clients = await Promise.all(
    [
      { read: true, write: true, owner: false },
      { read: true, write: false, owner: false },
      { read: false, write: false, owner: true },
    ].map(async (permissions, i) => {
      const key = await keys.create(`key ${i}`)
      await keys.setPermissions(key.id, bucket.id, permissions)
      return new K2vTestClient(key, node.k2v!.port, 'k2v')
    }),
  )
  ;[k2v, reader, stranger] = clients as [K2vTestClient, K2vTestClient, K2vTestClient]
})

afterAll(() => node?.dispose())

describe('items', () => {
  test('are inserted, read in both forms, superseded by their token, and deleted', async () => {
    expect((await k2v.insert('p', 'a', 'first')).status).toBe(204)
    const read = await k2v.read('p', 'a')
    expect([read.status, read.headers['content-type'], textsOf(read)]).toEqual([200, JSON_TYPE, ['first']])
    const binary = await k2v.read('p', 'a', BINARY)
    expect([binary.status, binary.headers['content-type'], binary.body.toString()]).toEqual([
      200,
      BINARY,
      'first',
    ])
    expect(tokenOf(binary)).toBe(tokenOf(read))

    expect((await k2v.insert('p', 'a', 'second', tokenOf(read))).status).toBe(204)
    const second = await k2v.read('p', 'a', `${BINARY}, ${JSON_TYPE}`)
    expect([second.headers['content-type'], second.body.toString()]).toEqual([BINARY, 'second'])

    expect((await k2v.delete('p', 'a', tokenOf(second))).status).toBe(204)
    const gone = await k2v.read('p', 'a')
    expect([gone.status, textsOf(gone)]).toEqual([200, [null]])
    const goneBinary = await k2v.read('p', 'a', BINARY)
    expect([goneBinary.status, goneBinary.body.length, tokenOf(goneBinary)]).toEqual([204, 0, tokenOf(gone)])
  })

  test('keep values that were written without having seen each other', async () => {
    await k2v.insert('p', 'b', 'one')
    const seen = tokenOf(await k2v.read('p', 'b'))
    await k2v.insert('p', 'b', 'two', seen)
    await k2v.insert('p', 'b', 'three', seen)
    const both = await k2v.read('p', 'b')
    expect(textsOf(both)).toEqual(['two', 'three'])
    const conflict = await k2v.read('p', 'b', BINARY)
    expect([conflict.status, conflict.body.length, tokenOf(conflict)]).toEqual([409, 0, tokenOf(both)])
    expect((await k2v.read('p', 'b', `${JSON_TYPE}, ${BINARY}`)).headers['content-type']).toBe(JSON_TYPE)
    await k2v.delete('p', 'b', seen)
    expect(textsOf(await k2v.read('p', 'b'))).toEqual(['two', 'three', null])
    await k2v.insert('p', 'b', 'merged', tokenOf(await k2v.read('p', 'b')))
    expect(textsOf(await k2v.read('p', 'b'))).toEqual(['merged'])
  })

  test('show a value that was written twice once', async () => {
    await k2v.insert('p', 'twice', 'same')
    await k2v.insert('p', 'twice', 'same')
    expect((await k2v.read('p', 'twice', BINARY)).body.toString()).toBe('same')
  })

  test('have keys of any text, and values of any bytes', async () => {
    const keys = ['ümläut/with slash', '日本 ?&=+%', ' ', '\u0001\u0000', 'x'.repeat(900)]
    for (const key of keys) {
      const value = Buffer.from([0, 255, 10, 13, ...Buffer.from(key)])
      expect((await k2v.insert(key, key, value)).status).toBe(204)
      expect((await k2v.read(key, key, BINARY)).body).toEqual(value)
    }
    const long = Buffer.alloc(1 << 20, 'v')
    expect((await k2v.insert('p', 'long', long)).status).toBe(204)
    expect((await k2v.read('p', 'long', BINARY)).body.equals(long)).toBe(true)
    expect((await k2v.insert('p', 'empty', '')).status).toBe(204)
    const empty = await k2v.read('p', 'empty', BINARY)
    expect([empty.status, empty.body.length]).toEqual([200, 0])
  })

  test('are reached however the client encodes the path that it signs', async () => {
    const target = k2v.item('ümläut/é', 'ü')
    for (const signsTwiceEncoded of [true, false]) {
      const put = await k2v.send({ method: 'PUT', target, body: 'x', signsTwiceEncoded })
      const get = await k2v.send({ method: 'GET', target, signsTwiceEncoded })
      expect([put.status, get.status]).toEqual([204, 200])
    }
  })

  test('are read at once where the client takes an answer that may go back', async () => {
    await k2v.insert('p', 'fast', 'value')
    const read = await k2v.send({
      method: 'GET',
      target: k2v.item('p', 'fast'),
      headers: { 'x-garage-non-monotonic-read': 'true' },
    })
    expect(textsOf(read)).toEqual(['value'])
  })
})

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

describe('polls', () => {
  test('of an item answer when it changes, and with 304 when it does not', async () => {
    await k2v.insert('poll', 'a', 'old')
    const token = tokenOf(await k2v.read('poll', 'a'))
    expect((await k2v.poll('poll', 'a', token, 1)).status).toBe(304)
    const waiting = k2v.poll('poll', 'a', token, 60, { headers: { accept: BINARY } })
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    await k2v.insert('poll', 'other', 'x')
    await k2v.insert('poll', 'a', 'new', token)
    const answer = await waiting
    expect([answer.status, answer.body.toString()]).toEqual([200, 'new'])
    // One who has not seen it is answered at once.
    expect(textsOf(await k2v.poll('poll', 'a', token, 60))).toEqual(['new'])
    expect(node.core.model.k2vPolls.size).toBe(0)
  })

  test('wait for the first value of an item', async () => {
    await k2v.insert('poll', 'b', 'x')
    const token = tokenOf(await k2v.read('poll', 'b'))
    const waiting = k2v.poll('poll', 'not yet', token, 60)
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    await k2v.insert('poll', 'not yet', 'there')
    expect(textsOf(await waiting)).toEqual(['there'])
  })

  test('end with their client', async () => {
    const token = tokenOf(await k2v.read('poll', 'b'))
    const leave = new AbortController()
    const waiting = k2v.poll('poll', 'b', token, 600, { signal: leave.signal })
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    leave.abort()
    await expect(waiting).rejects.toThrow()
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(0)
  })

  test('of a range tell each change once, deletions included', async () => {
    interface News {
      seenMarker: string
      items: { sk: string; v: (string | null)[] }[]
    }
    const poll = async (more: object) => {
      const answer = await k2v.post('?poll_range', more, 'range')
      return answer.status === 200 ? jsonOf<News>(answer) : answer.status
    }
    const shown = (news: News | number) => (news as News).items.map(({ sk, v }) => [sk, ...v])
    await k2v.insert('range', 'a', '1')
    await k2v.insert('range', 'b', '1')
    const first = (await poll({})) as News
    expect(shown(first)).toEqual([
      ['a', b64('1')],
      ['b', b64('1')],
    ])
    expect(await poll({ seenMarker: first.seenMarker, timeout: 1 })).toBe(304)

    const waiting = poll({ seenMarker: first.seenMarker, timeout: 60 })
    await expect.poll(() => node.core.model.k2vPolls.size).toBe(1)
    await k2v.insert('range', 'c', 'new')
    const second = (await waiting) as News
    expect(shown(second)).toEqual([['c', b64('new')]])

    await k2v.delete('range', 'a', tokenOf(await k2v.read('range', 'a')))
    await k2v.insert('range', 'd', 'outside')
    const third = (await poll({ seenMarker: second.seenMarker, end: 'd' })) as News
    expect(shown(third)).toEqual([['a', null]])
    expect(await poll({ seenMarker: third.seenMarker, end: 'd', timeout: 1 })).toBe(304)
    expect(shown(await poll({ seenMarker: second.seenMarker, prefix: 'd' }))).toEqual([['d', b64('outside')]])
  })

  test('of an empty range begin with an empty answer', async () => {
    const answer = await k2v.send({ method: 'SEARCH', target: '/k2v/nowhere?poll_range', body: '{}' })
    expect(jsonOf<{ items: unknown[] }>(answer).items).toEqual([])
  })

  test('take no place among the requests that are served', async () => {
    await k2v.insert('poll', 'many', 'x')
    const token = tokenOf(await k2v.read('poll', 'many'))
    const waiting = Array.from({ length: 600 }, () => k2v.poll('poll', 'many', token, 60))
    await expect.poll(() => node.core.model.k2vPolls.size, { timeout: 15_000 }).toBe(600)
    expect((await k2v.insert('poll', 'many', 'y', token)).status).toBe(204)
    expect(new Set((await Promise.all(waiting)).map(({ status }) => status))).toEqual(new Set([200]))
  })
})

describe('requests that are refused', () => {
  const codeOf = (answer: Awaited<ReturnType<K2vTestClient['send']>>) => [
    answer.status,
    jsonOf<{ code: string }>(answer).code,
  ]

  test('have a document that says why', async () => {
    const answer = await k2v.read('p', 'nothing')
    expect(answer.headers['content-type']).toBe(JSON_TYPE)
    expect(jsonOf(answer)).toEqual({
      ...{ code: 'NoSuchKey', message: 'Key not found', region: expect.any(String), path: '/k2v/p' },
    })
  })

  test.each([
    ['a token that is none', () => k2v.insert('p', 'a', 'x', 'tra$sh'), 400, 'CausalityToken'],
    ['a deletion without a token', () => k2v.delete('p', 'a'), 400, 'InvalidRequest'],
    ['a poll with a token that is none', () => k2v.poll('p', 'a', 'trash', 5), 400, 'CausalityToken'],
    ['an answer in a form that there is not', () => k2v.read('p', 'a', 'text/html'), 406, 'NotAcceptable'],
    ['no sort key', () => k2v.send({ method: 'GET', target: '/k2v/p' }), 400, 'InvalidRequest'],
    [
      'a value that is too long',
      () => k2v.insert('p', 'a', Buffer.alloc((1 << 20) + 1)),
      413,
      'PayloadTooLarge',
    ],
    ['a key that is too long', () => k2v.insert('p', 'x'.repeat(901), 'x'), 400, 'InvalidRequest'],
    [
      'a query that is not UTF-8',
      () => k2v.send({ method: 'GET', target: '/k2v/p?sort_key=%ff' }),
      400,
      'InvalidUtf8String',
    ],
    [
      'a path that is not UTF-8',
      () => k2v.send({ method: 'GET', target: '/k2v/%ff?sort_key=a' }),
      400,
      'InvalidUtf8String',
    ],
    ['no bucket', () => k2v.send({ method: 'GET', target: '/' }), 400, 'InvalidRequest'],
    [
      'another method',
      () => k2v.send({ method: 'PATCH', target: '/k2v/p?sort_key=a' }),
      400,
      'InvalidRequest',
    ],
    [
      'a batch that is not JSON',
      () => k2v.send({ method: 'POST', target: '/k2v', body: '[' }),
      400,
      'InvalidRequest',
    ],
    [
      'a poll of keys that are too long',
      () => k2v.post('?poll_range', { prefix: 'x'.repeat(901) }, 'p'),
      400,
      'InvalidRequest',
    ],
    [
      'more items than a batch may have',
      () => k2v.post('', new Array(10_001).fill({ pk: 'p', sk: 'many' })),
      400,
      'InvalidRequest',
    ],
    [
      'more values than a document may have',
      () => k2v.post('', new Array(101_000).fill([])),
      400,
      'InvalidRequest',
    ],
    ['a batch that is no list', () => k2v.post('', {}), 400, 'InvalidRequest'],
    ['an item without a key', () => k2v.post('', [{ pk: 'p', v: null }]), 400, 'InvalidRequest'],
    [
      'an item with a token that is none',
      () => k2v.post('', [{ pk: 'p', sk: 'a', ct: 'tra$h', v: null }]),
      400,
      'CausalityToken',
    ],
    [
      'a value that is no base64',
      () => k2v.post('', [{ pk: 'p', sk: 'a', ct: null, v: 'aGVs$' }]),
      400,
      'InvalidBase64',
    ],
    [
      'half of a surrogate pair',
      () => k2v.post('', [{ pk: '\ud800', sk: 'a', ct: null, v: null }]),
      400,
      'InvalidUtf8String',
    ],
    ['a search without a partition key', () => k2v.post('?search', [{}]), 400, 'InvalidRequest'],
    [
      'a start without the prefix',
      () => k2v.post('?search', [{ partitionKey: 'p', prefix: 'a', start: 'b' }]),
      400,
      'InvalidRequest',
    ],
    [
      'a single item without a start',
      () => k2v.post('?search', [{ partitionKey: 'p', singleItem: true }]),
      400,
      'InvalidRequest',
    ],
    [
      'a single item with an end',
      () => k2v.post('?delete', [{ partitionKey: 'p', start: 'a', end: 'b', singleItem: true }]),
      400,
      'InvalidRequest',
    ],
    [
      'a seen marker that is none',
      () => k2v.post('?poll_range', { seenMarker: 'x' }, 'p'),
      400,
      'InvalidRequest',
    ],
    [
      'too many searches',
      () => k2v.post('?search', Array(1001).fill({ partitionKey: 'p' })),
      400,
      'InvalidRequest',
    ],
  ] as const)('%s', async (_, send, status, code) => {
    expect(codeOf(await send())).toEqual([status, code])
  })

  test('a token of a time to come, which would discard what is written later', async () => {
    const clock = Buffer.alloc(24)
    clock.write('origin 1', 8)
    clock.writeBigUInt64BE(BigInt(Date.now() + 24 * 3600_000) * 1000n, 16)
    for (let i = 0; i < 8; i++) clock[i] = clock[8 + i]! ^ clock[16 + i]!
    expect(codeOf(await k2v.insert('p', 'a', 'x', clock.toString('base64url')))).toEqual([
      400,
      'InvalidRequest',
    ])
  })

  test('writes by a key that may only read, reads by one that may not, and requests that nobody signed', async () => {
    await k2v.insert('p', 'allowed', 'x')
    expect((await reader.read('p', 'allowed')).status).toBe(200)
    expect(codeOf(await reader.insert('p', 'allowed', 'y'))).toEqual([403, 'AccessDenied'])
    expect(codeOf(await reader.post('', []))).toEqual([403, 'AccessDenied'])
    expect(codeOf(await reader.post('?delete', []))).toEqual([403, 'AccessDenied'])
    expect((await reader.post('?search', [])).status).toBe(200)
    expect((await reader.post('?poll_range', {}, 'p')).status).toBe(200)
    expect(codeOf(await stranger.read('p', 'allowed'))).toEqual([403, 'AccessDenied'])
    const anonymous = await fetch(`http://127.0.0.1:${node.k2v!.port}/k2v/p?sort_key=allowed`)
    expect([anonymous.status, ((await anonymous.json()) as { code: string }).code]).toEqual([
      403,
      'AccessDenied',
    ])
  })

  test('a bucket that is not there', async () => {
    const key = await node.createKey('elsewhere')
    const other = new K2vTestClient(key, node.k2v!.port, 'no-such-bucket')
    expect(codeOf(await other.read('p', 'a'))).toEqual([404, 'NoSuchBucket'])
  })

  test('items with too many values that nobody has superseded', async () => {
    const items = Array.from({ length: 100 }, (_, i) => ({
      pk: 'p',
      sk: 'siblings',
      ct: null,
      v: b64(`${i}`),
    }))
    expect((await k2v.post('', items)).status).toBe(204)
    expect(codeOf(await k2v.insert('p', 'siblings', 'one more'))).toEqual([409, 'Conflict'])
    const token = tokenOf(await k2v.read('p', 'siblings'))
    expect((await k2v.insert('p', 'siblings', 'merged', token)).status).toBe(204)
    expect(textsOf(await k2v.read('p', 'siblings'))).toEqual(['merged'])
  })
})

test('a stop ends polls as if their time was over', async () => {
  const other = await startTestNode({
    k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
  })
  const { keys, buckets, k2vPolls } = other.core.model
  const bucket = await buckets.create('k2v')
  const key = await keys.create('key')
  await keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: false })
  const client = new K2vTestClient(key, other.k2v!.port, 'k2v')
  await client.insert('p', 'a', 'x')
  const waiting = client.poll('p', 'a', tokenOf(await client.read('p', 'a')), 600)
  await expect.poll(() => k2vPolls.size).toBe(1)
  const closed = once(other.k2v!.server, 'close')
  await other.dispose()
  expect((await waiting).status).toBe(304)
  await closed
})
