/**
 * Conditional writes between three zones whose round trips take 100 ms, beside plain PUT, GET and DELETE of the same run. The kinds
 * of requests take turns, so that a machine that becomes slower does so for all.
 * Usage: node dist/bench/conditional.js [--requests N] [--bytes N]
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createBucket } from './buckets.js'
import { Histogram, median } from './load/histogram.js'
import { RawS3 } from './load/raw-s3.js'
import { carport } from './stores/carport.js'
import { until } from './stores/server-process.js'

const BUCKET = 'bench-conditional'
const DELAY_MS = 50
const SETTLE_MS_MAX = 90_000
/** Requests that do not count: links and buckets are known after them. */
const WARM_UP = 3

const { values } = parseArgs({
  options: { requests: { type: 'string', default: '60' }, bytes: { type: 'string', default: '4096' } },
})
const requests = Number(values.requests)
const bytes = Number(values.bytes)
if (!(requests >= 1 && bytes >= 0)) {
  console.error('usage: node dist/bench/conditional.js [--requests N] [--bytes N]')
  process.exit(2)
}

const dir = mkdtempSync(join(tmpdir(), 'carport-bench-'))
const cluster = await carport('carport', true).startCluster!(join(dir, 'cluster'), {
  ...{ nodes: 3, zones: 3, replicationFactor: 3, delayMs: DELAY_MS, jitterMs: 0 },
})
try {
  await until('a bucket', SETTLE_MS_MAX, () =>
    createBucket('carport', cluster.target, BUCKET).then(() => true),
  )
  await until('the cluster to settle', SETTLE_MS_MAX, async () => (await cluster.backlog()) === 0)
  const tripMs = median(await cluster.measureRoundTrips(20))!
  console.log(`A round trip between two zones takes ${tripMs.toFixed(1)} ms.\n`)
  await measure(new RawS3(cluster.target, 1), tripMs)
} finally {
  await cluster.stop()
  rmSync(dir, { recursive: true, force: true })
}

async function measure(s3: RawS3, tripMs: number): Promise<void> {
  const put = (key: string, headers: Record<string, string> = {}) => {
    const body = randomBytes(bytes)
    return s3.request('PUT', `/${BUCKET}/${key}`, { body, headers: { 'content-length': bytes, ...headers } })
  }
  let etag = (await put('counter')).headers.etag!
  const kinds: [name: string, run: (i: number) => Promise<unknown>][] = [
    ['PUT', (i) => put(`plain/${i}`)],
    ['GET', (i) => s3.request('GET', `/${BUCKET}/plain/${i}`)],
    ['DELETE', (i) => s3.request('DELETE', `/${BUCKET}/plain/${i}`)],
    ['PUT, If-None-Match: *', (i) => put(`created/${i}`, { 'if-none-match': '*' })],
    [
      'PUT, If-Match',
      async () => {
        etag = (await put('counter', { 'if-match': etag })).headers.etag!
      },
    ],
    [
      'DELETE, If-Match',
      (i) => s3.request('DELETE', `/${BUCKET}/created/${i}`, { headers: { 'if-match': '*' } }),
    ],
  ]
  const times = kinds.map(() => [] as number[])
  for (let i = 0; i < WARM_UP + requests; i++) {
    for (const [at, [, run]] of kinds.entries()) {
      const start = performance.now()
      await run(i)
      if (i >= WARM_UP) times[at]!.push(performance.now() - start)
    }
  }
  s3.close()
  console.log(`| ${bytes} bytes, ${requests} of each | median, ms | p99, ms | round trips at the median |`)
  console.log('|---|--:|--:|--:|')
  for (const [at, [name]] of kinds.entries()) {
    const histogram = new Histogram()
    for (const ms of times[at]!) histogram.record(ms)
    const p50 = median(times[at]!)!
    const p99 = histogram.quantile(0.99)!
    console.log(`| ${name} | ${p50.toFixed(1)} | ${p99.toFixed(1)} | ${(p50 / tripMs).toFixed(2)} |`)
  }
}
