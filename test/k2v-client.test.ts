/** The client `carport/k2v` against a real node, as its users call it. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PutBucketCorsCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { K2vClient, type K2vClientOptions, type K2vError, type K2vItem } from '../src/client/k2v.js'
import { startTestNode, type TestNode } from './support/test-node.js'

let node: TestNode
let options: K2vClientOptions
let k2v: K2vClient

beforeAll(async () => {
  node = await startTestNode({
    k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
  })
  const { keys, buckets } = node.core.model
  const bucket = await buckets.create('items')
  const key = await node.createKey('client')
  await keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: true })
  options = {
    endpoint: `http://127.0.0.1:${node.k2v!.port}`,
    bucket: 'items',
    accessKeyId: key.id,
    secretAccessKey: key.secret,
  }
  k2v = new K2vClient(options)
})

afterAll(() => node?.dispose())

const textsOf = (item: K2vItem | undefined) =>
  item?.values.map((value) => value && new TextDecoder().decode(value))

test('the example of the documentation does what it says', async () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/k2v-client.md'), 'utf8')
  const [, code] = /```js\n([\s\S]*?)```/.exec(page)!
  const told: unknown[] = []
  const body = code!
    .replace(/^import .*$/m, '')
    .replace('http://localhost:3904', options.endpoint)
    .replace("bucket: 'notes'", "bucket: 'items'")
  const env = { K2V_KEY_ID: options.accessKeyId, K2V_SECRET: options.secretAccessKey }
  const run = new Function('K2vClient', 'process', 'console', `return (async () => {${body}})()`)
  await run(K2vClient, { env }, { log: (line: unknown) => told.push(line) })
  expect(told).toEqual([['one litre'], ['two litres', 'oat milk']])
  expect(textsOf(await k2v.readItem('list', 'milk'))).toEqual(['two litres, oat milk'])
})

/** The K2vError of a call that must fail. */
async function failure(call: () => unknown): Promise<K2vError> {
  try {
    await call()
  } catch (error) {
    expect((error as Error).name).toBe('K2vError')
    return error as K2vError
  }
  throw new Error('the call did not fail')
}
const codeOf = async (call: () => unknown) => (await failure(call)).code

describe('items', () => {
  test('are inserted, read, superseded by their token, and deleted', async () => {
    expect(await k2v.readItem('p', 'a')).toBeUndefined()
    await k2v.insertItem('p', 'a', 'first')
    const first = await k2v.readItem('p', 'a')
    expect(textsOf(first)).toEqual(['first'])
    await k2v.insertItem('p', 'a', 'second', { token: first!.token })
    const second = await k2v.readItem('p', 'a', { nonMonotonic: true })
    expect(textsOf(second)).toEqual(['second'])
    await k2v.deleteItem('p', 'a', second!.token)
    expect(textsOf(await k2v.readItem('p', 'a'))).toEqual([null])
  })

  test('keep all values that were written without having seen each other', async () => {
    await k2v.insertItem('p', 'b', 'one')
    const { token } = (await k2v.readItem('p', 'b'))!
    await k2v.insertItem('p', 'b', 'two', { token })
    await k2v.insertItem('p', 'b', 'three', { token })
    await k2v.deleteItem('p', 'b', token)
    const all = await k2v.readItem('p', 'b')
    expect(textsOf(all)).toEqual(['two', 'three', null])
    await k2v.insertItem('p', 'b', 'merged', { token: all!.token })
    expect(textsOf(await k2v.readItem('p', 'b'))).toEqual(['merged'])
  })

  test('have keys of any text, and values of any bytes', async () => {
    for (const key of [
      'ümläut/with slash',
      '日本 ?&=+%',
      " !'()*~",
      '/',
      '\u0001\u0000',
      '...',
      '%2e%2e',
      '#',
    ]) {
      const value = Uint8Array.from({ length: 256 }, (_, i) => i)
      await k2v.insertItem(key, key, value)
      const [read] = (await k2v.readItem(key, key))!.values
      expect([key, Buffer.from(read!).equals(value)]).toEqual([key, true])
      const { token } = (await k2v.readItem(key, key))!
      await k2v.deleteItem(key, key, token)
    }
    const long = new Uint8Array(1 << 20).fill(200)
    await k2v.insertItem('p', 'long', long)
    await k2v.insertBatch([{ partitionKey: 'p', sortKey: 'long too', value: long }])
    for (const sortKey of ['long', 'long too'])
      expect(Buffer.from((await k2v.readItem('p', sortKey))!.values[0]!).equals(long)).toBe(true)
    await k2v.insertItem('p', 'empty', '')
    expect(textsOf(await k2v.readItem('p', 'empty'))).toEqual([''])
  })
})

describe('batches', () => {
  const partitionKey = 'batch'

  test('write, read and delete many items', async () => {
    const keys = ['a', 'b', 'ba', 'c']
    await k2v.insertBatch(keys.map((sortKey) => ({ partitionKey, sortKey, value: `v ${sortKey}` })))
    await k2v.insertItem(partitionKey, 'b', 'other')
    const [all, limited, conflicts, single, none] = await k2v.readBatch([
      { partitionKey },
      { partitionKey, start: 'b', limit: 1 },
      { partitionKey, conflictsOnly: true },
      { partitionKey, start: 'ba', singleItem: true },
      { partitionKey: 'nothing' },
    ])
    expect(all!.items.map(({ sortKey }) => sortKey)).toEqual(keys)
    expect(textsOf(all!.items[1])).toEqual(['v b', 'other'])
    expect([all!.nextStart, limited!.nextStart]).toEqual([undefined, 'ba'])
    expect(conflicts!.items.map(({ sortKey }) => sortKey)).toEqual(['b'])
    expect(single!.items.map(textsOf)).toEqual([['v ba']])
    expect(none!.items).toEqual([])

    const { token } = all!.items[1]!
    await k2v.insertBatch([
      { partitionKey, sortKey: 'b', value: 'merged', token },
      { partitionKey, sortKey: 'c', value: null, token: all!.items[3]!.token },
    ])
    const [rest] = await k2v.readBatch([{ partitionKey, prefix: '', reverse: true }], { nonMonotonic: true })
    expect(rest!.items.map(textsOf)).toEqual([['v ba'], ['merged'], ['v a']])
    const deleted = await k2v.deleteBatch([
      { partitionKey, prefix: 'b' },
      { partitionKey, start: 'a', singleItem: true },
      { partitionKey: 'nothing' },
    ])
    expect(deleted).toEqual([2, 1, 0])
    const [tombstones] = await k2v.readBatch([{ partitionKey, tombstones: true }])
    expect(tombstones!.items.map(textsOf)).toEqual([[null], [null], [null], [null]])
  })

  test('take the keys that no path has', async () => {
    await k2v.insertBatch([{ partitionKey: '..', sortKey: 's', value: 'dots' }])
    const [found] = await k2v.readBatch([{ partitionKey: '..' }])
    expect(found!.items.map(textsOf)).toEqual([['dots']])
    expect(await codeOf(() => k2v.readItem('..', 's'))).toBe('InvalidArgument')
  })

  test('are counted by the index', async () => {
    await k2v.insertBatch(
      ['i1', 'i2', 'i3'].map((partitionKey) => ({ partitionKey, sortKey: 's', value: '12345' })),
    )
    await k2v.insertItem('i2', 's', 'x')
    const { partitionKeys, nextStart } = await k2v.readIndex({ prefix: 'i', limit: 2 })
    expect(partitionKeys).toEqual([
      { partitionKey: 'i1', entries: 1, conflicts: 0, values: 1, bytes: 5 },
      { partitionKey: 'i2', entries: 1, conflicts: 1, values: 2, bytes: 6 },
    ])
    expect(nextStart).toBe('i3')
    const back = await k2v.readIndex({ prefix: 'i', reverse: true, start: 'i2' })
    expect(back.partitionKeys.map(({ partitionKey }) => partitionKey)).toEqual(['i2', 'i1'])
  })
})

describe('polls', () => {
  test('of an item answer with what the token has not seen, or with nothing after their time', async () => {
    await k2v.insertItem('poll', 'a', 'one')
    const { token } = (await k2v.readItem('poll', 'a'))!
    expect(await k2v.pollItem('poll', 'a', token, { timeoutSeconds: 1 })).toBeUndefined()
    const polled = k2v.pollItem('poll', 'a', token)
    await k2v.insertItem('poll', 'a', 'two', { token })
    expect(textsOf(await polled)).toEqual(['two'])
  })

  test('of a range begin with everything, then tell what changes', async () => {
    await k2v.insertItem('range', 'a', 'one')
    await k2v.insertItem('range', 'b', 'out of the range')
    const all = await k2v.pollRange('range', { end: 'b' })
    expect(all!.items.map(({ sortKey, ...item }) => [sortKey, textsOf(item)])).toEqual([['a', ['one']]])
    const { seenMarker } = all!
    expect(await k2v.pollRange('range', { end: 'b', seenMarker, timeoutSeconds: 1 })).toBeUndefined()
    const polled = k2v.pollRange('range', { end: 'b', seenMarker })
    await k2v.deleteItem('range', 'a', all!.items[0]!.token)
    expect((await polled)!.items.map(textsOf)).toEqual([[null]])
  })

  test('end with their signal, whose reason they reject with', async () => {
    await k2v.insertItem('poll', 'abort', 'one')
    const { token } = (await k2v.readItem('poll', 'abort'))!
    const controller = new AbortController()
    const reason = new Error('the page is closed')
    const polled = k2v.pollItem('poll', 'abort', token, { signal: controller.signal })
    controller.abort(reason)
    await expect(polled).rejects.toBe(reason)
    await expect(k2v.readIndex({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe('wrong input', () => {
  test('is refused before anything is sent', async () => {
    const deaf = new K2vClient({
      ...options,
      fetch: async () => {
        throw new Error('a request was sent')
      },
    })
    const half = '\ud800'
    const calls: (() => Promise<unknown>)[] = [
      // An empty partition key would make these requests about the whole bucket.
      () => deaf.readItem('', 's'),
      () => deaf.insertItem('', 's', 'v'),
      () => deaf.deleteItem('', 's', 'AAAA'),
      () => deaf.pollRange(''),
      () => deaf.readItem('.', 's'),
      () => deaf.readItem(half, 's'),
      () => deaf.readItem('p', half),
      () => deaf.insertItem('p', 's', half),
      () => deaf.insertItem('p', 's', 7 as never),
      () => deaf.insertItem('p', 's', 'v', { token: 'a\r\nb: c' }),
      () => deaf.deleteItem('p', 's', undefined as never),
      () => deaf.deleteItem('p', 's', ''),
      async () => deaf.pollItem('p', 's', 'AAAA', { timeoutSeconds: 0 }),
      () => deaf.pollRange('p', { timeoutSeconds: 601 }),
      () => deaf.pollRange('p', { prefix: half }),
      () => deaf.insertBatch([{ partitionKey: 'p', sortKey: half, value: 'v' }]),
      () => deaf.readBatch([{ partitionKey: half }]),
      () => deaf.deleteBatch([{ partitionKey: 'p', start: half }]),
      () => deaf.readIndex({ prefix: half }),
    ]
    for (const call of calls) expect([`${call}`, await codeOf(call)]).toEqual([`${call}`, 'InvalidArgument'])
    const wrong: Partial<K2vClientOptions>[] = [
      { endpoint: 'localhost' },
      { endpoint: 'ftp://localhost' },
      { endpoint: 'http://localhost/path' },
      { bucket: '' },
      { bucket: '..' },
      { bucket: 'a/b' },
      { accessKeyId: '' },
      { secretAccessKey: undefined as never },
    ]
    for (const change of wrong)
      expect(await codeOf(() => new K2vClient({ ...options, ...change }))).toBe('InvalidArgument')
  })

  test('that the server refuses comes with its code and status', async () => {
    const refused: [() => Promise<unknown>, string, number][] = [
      [() => k2v.insertItem('p', 's', 'v', { token: 'AAAA' }), 'CausalityToken', 400],
      [() => k2v.insertItem('p', 'x'.repeat(901), 'v'), 'InvalidRequest', 400],
      [() => k2v.insertItem('p', 's', new Uint8Array((1 << 20) + 1)), 'PayloadTooLarge', 413],
      [() => k2v.readBatch([{ partitionKey: 'p', singleItem: true }]), 'InvalidRequest', 400],
      [() => new K2vClient({ ...options, bucket: 'nothing' }).readIndex(), 'NoSuchBucket', 404],
      [() => new K2vClient({ ...options, bucket: 'nothing' }).readItem('p', 's'), 'NoSuchBucket', 404],
      [
        () => new K2vClient({ ...options, secretAccessKey: 'wrong' }).readIndex(),
        'SignatureDoesNotMatch',
        403,
      ],
      [
        () => new K2vClient({ ...options, now: () => new Date('2020-01-01') }).readIndex(),
        'RequestTimeTooSkewed',
        403,
      ],
    ]
    for (const [call, code, status] of refused) {
      const error = await failure(call)
      expect([`${call}`, error.code, error.status]).toEqual([`${call}`, code, status])
      expect(error.message).not.toBe('')
      expect(error.isTransient).toBe(false)
    }
  })

  test('from a server that is none, or is not there, is a typed error', async () => {
    const answers: [number, Record<string, string>, string][] = []
    const proxy = createServer((_request, response) => {
      const [status, headers, body] = answers.shift()!
      response.writeHead(status, headers).end(body)
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
    const client = new K2vClient({ ...options, endpoint })
    const token = { 'x-garage-causality-token': 'AAAA' }
    const cases: [[number, Record<string, string>, string], string, boolean][] = [
      [[502, { 'content-type': 'text/html' }, '<h1>Bad gateway</h1>'], 'InvalidAnswer', true],
      [[503, { 'retry-after': '7' }, '{"code":"SlowDown","message":"later"}'], 'SlowDown', true],
      [[404, {}, 'null'], 'InvalidAnswer', false],
      [[200, { 'content-type': 'application/json' }, '["eA=="]'], 'InvalidAnswer', false],
      [[200, { ...token, 'content-type': 'application/json' }, '["no base64!"]'], 'InvalidAnswer', false],
      [[200, { ...token, 'content-type': 'text/html' }, '<h1>Welcome</h1>'], 'InvalidAnswer', false],
    ]
    for (const [answer, code, transient] of cases) {
      answers.push(answer)
      const error = await failure(() => client.readItem('p', 's'))
      expect([answer, error.code, error.isTransient]).toEqual([answer, code, transient])
      expect(error.retryAfterSeconds).toBe(code === 'SlowDown' ? 7 : undefined)
    }
    for (const body of ['{}', '[]', '[{"items":[{}]}]', '[{"items":[{"sk":"s","ct":"t","v":"x"}]}]', '[7]']) {
      answers.push([200, {}, body])
      expect(await codeOf(() => client.readBatch([{ partitionKey: 'p' }]))).toBe('InvalidAnswer')
    }
    proxy.closeAllConnections()
    proxy.close()
    await once(proxy, 'close')
    const error = await failure(() => client.readItem('p', 's'))
    expect([error.code, error.status, error.isTransient]).toEqual(['NetworkError', undefined, true])
  })
})

describe('browsers of other origins', () => {
  const origin = 'https://notes.example'
  const preflight = (method: string, from = origin) =>
    fetch(`${options.endpoint}/items/p?sort_key=s`, {
      method: 'OPTIONS',
      headers: {
        origin: from,
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization,x-amz-content-sha256,x-amz-date',
      },
    })

  test('may do what the CORS rules of the bucket allow, and see the token', async () => {
    expect((await preflight('PUT')).status).toBe(403)
    const s3 = node.client({ id: options.accessKeyId, secret: options.secretAccessKey } as never)
    const rule = {
      AllowedOrigins: [origin],
      AllowedMethods: ['GET', 'PUT', 'POST'],
      AllowedHeaders: ['*'],
      ExposeHeaders: ['X-Garage-Causality-Token'],
    }
    await s3.send(new PutBucketCorsCommand({ Bucket: 'items', CORSConfiguration: { CORSRules: [rule] } }))
    const allowed = await preflight('PUT')
    expect(allowed.status).toBe(200)
    expect(allowed.headers.get('access-control-allow-origin')).toBe(origin)
    expect(allowed.headers.get('access-control-allow-headers')).toMatch(/authorization/i)
    expect((await preflight('DELETE')).status).toBe(403)
    expect((await preflight('PUT', 'https://other.example')).status).toBe(403)

    await k2v.insertItem('cors', 's', 'v')
    const seen: Headers[] = []
    const browser = new K2vClient({
      ...options,
      fetch: async (url, init) => {
        const answer = await fetch(url, { ...init, headers: { ...init!.headers, origin } })
        seen.push(answer.headers)
        return answer
      },
    })
    await browser.readItem('cors', 's')
    await failure(() => browser.insertItem('cors', 's', 'v', { token: 'AAAA' }))
    for (const headers of seen) {
      expect(headers.get('access-control-allow-origin')).toBe(origin)
      expect(headers.get('access-control-expose-headers')).toBe('X-Garage-Causality-Token')
    }
    expect(seen).toHaveLength(2)
  })
})
