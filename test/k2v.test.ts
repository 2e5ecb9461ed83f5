/** The K2V API over HTTP, on one node. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jsonOf, K2vTestClient, textsOf, tokenOf } from './support/k2v-client.js'
import { startK2vNode } from './support/k2v-node.js'
import type { TestNode } from './support/test-node.js'

const JSON_TYPE = 'application/json'
const BINARY = 'application/octet-stream'
const b64 = (text: string) => Buffer.from(text).toString('base64')

let node: TestNode
let k2v: K2vTestClient
let reader: K2vTestClient
let stranger: K2vTestClient

beforeAll(async () => {
  ;({ node, k2v, reader, stranger } = await startK2vNode())
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
