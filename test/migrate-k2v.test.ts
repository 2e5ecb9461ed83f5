/** K2V items between two real nodes, by the parts of `carport migrate` that carry them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { StoreError } from '../src/api/client/s3-client.js'
import type { StreamCall } from '../src/api/client/stream-call.js'
import { K2vClient } from '../src/client/k2v.js'
import { JOURNAL_TREES, Journal } from '../src/migrate/journal.js'
import { K2vEndpoint } from '../src/migrate/k2v-client.js'
import { copyK2v, lookAtK2v, verifyK2v } from '../src/migrate/k2v-copy.js'
import { Report } from '../src/migrate/report.js'
import { realClock, systemRandom } from '../src/platform/clock-and-random.js'
import { streamCall } from '../src/platform/stream-call.js'
import { MemoryDb } from '../testing/memory-db.js'
import { startTestNode, type TestNode } from './support/test-node.js'

const BUCKET = 'items'

interface End {
  node: TestNode
  endpoint: string
  credentials: { accessKeyId: string; secret: string }
  k2v: K2vClient
}

let from: End
let to: End

async function start(): Promise<End> {
  const node = await startTestNode({
    k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
  })
  const { keys, buckets } = node.core.model
  const bucket = await buckets.create(BUCKET)
  const { id, secret } = await node.createKey('app')
  await keys.setPermissions(id, bucket.id, { read: true, write: true, owner: true })
  const endpoint = `http://127.0.0.1:${node.k2v!.port}`
  return {
    ...{ node, endpoint, credentials: { accessKeyId: id, secret } },
    k2v: new K2vClient({ endpoint, bucket: BUCKET, accessKeyId: id, secretAccessKey: secret }),
  }
}

beforeAll(async () => {
  ;[from, to] = await Promise.all([start(), start()])
})
afterAll(() => Promise.all([from?.node.dispose(), to?.node.dispose()]))

const at = ({ endpoint, credentials }: End, call: StreamCall = streamCall(30_000)) =>
  new K2vEndpoint({ endpoint, region: 'us-east-1', credentials }, BUCKET, {
    ...{ call, clock: realClock, random: systemRandom },
  })

/** One run, as `carport migrate` makes it. */
async function migrate(journal: Journal, removes = false, destination = at(to)): Promise<Report> {
  const report = new Report()
  const options = { label: BUCKET, source: at(from), destination, journal, report, removes }
  await lookAtK2v(options)
  await copyK2v({ ...options, parallel: 4 })
  return report
}

async function differences(): Promise<string[]> {
  const report = new Report()
  await verifyK2v({ label: BUCKET, source: at(from), destination: at(to), report })
  return report.differences.lines()
}

const put = (client: K2vClient, ...writes: [partitionKey: string, sortKey: string, value: string | null][]) =>
  client.insertBatch(writes.map(([partitionKey, sortKey, value]) => ({ partitionKey, sortKey, value })))
const values = async ({ k2v }: End, pk: string, sk: string) =>
  (await k2v.readItem(pk, sk))?.values.map((value) => value && new TextDecoder().decode(value)).sort()

test('items move with the values that stand beside each other, also after a run that was broken off', async () => {
  const odd = 'a/b %20\u0000ü\u{1f40c}'
  await put(
    from.k2v,
    ...Array.from({ length: 100 }, (_, i) => [`p${i % 7}`, `${i}`, `value ${i}`] as [string, string, string]),
  )
  await put(from.k2v, [odd, odd, 'odd'], ['conflict', '', 'one'])
  await put(from.k2v, ['conflict', '', 'two'])
  await put(from.k2v, ['conflict', '', null])
  await put(
    from.k2v,
    ['large', 'a', 'x'.repeat(900_000)],
    ['large', 'b', 'y'.repeat(900_000)],
    ['large', 'c', 'z'.repeat(900_000)],
  )
  const journal = new Journal(new MemoryDb({ trees: JOURNAL_TREES }))

  // The destination goes away after some requests: writes under way may have been carried out.
  const call = streamCall(30_000)
  let left = 6
  const broken: StreamCall = async (request) => {
    const answer = await call(request)
    if (left-- > 0) return answer
    throw new StoreError('Gone', 'the destination is away', 400)
  }
  const first = await migrate(journal, false, at(to, broken))
  expect(first.failed.count).toBeGreaterThan(0)
  const second = await migrate(journal)
  expect([second.failed.count, first.copied + second.copied + second.unchanged >= 105]).toEqual([0, true])
  expect(await differences()).toEqual([])
  expect(await values(to, 'conflict', '')).toEqual(await values(from, 'conflict', ''))
  expect(await values(to, odd, odd)).toEqual(['odd'])
  const third = await migrate(journal)
  expect([third.copied, third.unchanged]).toEqual([0, 105])
})

test('a later run takes what changed, keeps what was written here since, and deletes only its own copies', async () => {
  const journal = new Journal(new MemoryDb({ trees: JOURNAL_TREES }))
  await put(from.k2v, ['later', 'changed', '1'], ['later', 'gone', '1'], ['later', 'gone but ours', '1'])
  await put(from.k2v, ['later', 'ours', '1'])
  expect((await migrate(journal)).failed.count).toBe(0)

  await put(to.k2v, ['later', 'ours', 'written here'], ['later', 'gone but ours', 'written here'])
  const changed = await from.k2v.readItem('later', 'changed')
  await from.k2v.insertItem('later', 'changed', '2', { token: changed!.token })
  for (const sortKey of ['gone', 'gone but ours'])
    await from.k2v.deleteItem('later', sortKey, (await from.k2v.readItem('later', sortKey))!.token)
  const report = await migrate(journal)
  expect([report.copied, report.gone.count]).toEqual([1, 2])
  expect(await values(to, 'later', 'changed')).toEqual(['2'])
  expect(await values(to, 'later', 'ours')).toEqual(['1', 'written here'])
  const cleared = await migrate(journal, true)
  expect(cleared.removed).toBe(1)
  expect(await values(to, 'later', 'gone')).toEqual([null])
  expect(await values(to, 'later', 'gone but ours')).toEqual(['1', 'written here'])
  expect(await differences()).toEqual([
    'items, K2V item "later" "gone but ours": only the destination has it',
    'items, K2V item "later" "ours": the values are not the same',
  ])
})

test('an item that is refused is named, and keeps no other from being copied', async () => {
  const journal = new Journal(new MemoryDb({ trees: JOURNAL_TREES }))
  await put(from.k2v, ['refused', 'a', 'ok'], ['refused', 'b', 'bad'], ['refused', 'c', 'ok'])
  const call = streamCall(30_000)
  const bad = Buffer.from('bad').toString('base64')
  const picky: StreamCall = (request) =>
    request.method === 'POST' && !request.target.includes('?') && String(request.body).includes(bad)
      ? Promise.reject(new StoreError('InvalidRequest', 'too long for this store', 400))
      : call(request)
  const report = await migrate(journal, false, at(to, picky))
  expect(report.failed.lines()).toEqual(['items, K2V item "refused" "b": too long for this store'])
  expect([await values(to, 'refused', 'a'), await values(to, 'refused', 'c')]).toEqual([['ok'], ['ok']])
})
