import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  GetObjectCommand,
  PutBucketWebsiteCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startTestNode, type TestNode } from './support/test-node.js'

const read = (name: string) => readFileSync(join(import.meta.dirname, '..', name), 'utf8')
let node: TestNode

async function scrape(): Promise<string> {
  const response = await fetch(`http://${node.adminApi!.address}/metrics`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  return response.text()
}

/** Families by name, with their type. */
function familiesOf(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [name!, type!]))
}

/** The value of a series, by its name and labels as they stand in the text. */
function sampleOf(text: string, series: string): number {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  if (line === undefined) throw new Error(`no ${series}`)
  return Number(line.slice(series.length + 1))
}

/** Names that an expression of PromQL reads: all but functions, words, labels and texts. */
function metricsIn(expression: string): string[] {
  const bare = expression
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\b(by|without)\s*\([^)]*\)/g, '')
  return [...bare.matchAll(/\b[a-z_][a-z0-9_]*\b(?!\s*\()/gi)]
    .map(([name]) => name)
    .filter((name) => !['and', 'or', 'unless', 'sum', 'max', 'min', 'up', 'by'].includes(name))
}

beforeAll(async () => {
  node = await startTestNode()
  const client = node.client(await node.createKey('metrics'))
  await client.send(new CreateBucketCommand({ Bucket: 'measured' }))
  await client.send(new PutObjectCommand({ Bucket: 'measured', Key: 'small', Body: 'four' }))
  const Body = Buffer.alloc(300_000, 'x')
  await client.send(new PutObjectCommand({ Bucket: 'measured', Key: 'large', Body }))
  const { Body: content } = await client.send(new GetObjectCommand({ Bucket: 'measured', Key: 'large' }))
  await content!.transformToByteArray()
  const missing = client.send(new GetObjectCommand({ Bucket: 'measured', Key: 'none' }))
  await missing.catch(() => undefined)
  // A request is counted once its answer was sent, which is after the client has it.
  await vi.waitFor(async () => {
    expect(await scrape()).toContain('api_s3_error_counter{api_endpoint="GetObject"')
  })
})
afterAll(() => node.dispose())

describe('the metrics', () => {
  test('count requests by operation, and what they cost', async () => {
    const text = await scrape()
    expect(sampleOf(text, 'api_s3_request_counter{api_endpoint="PutObject"}')).toBe(2)
    expect(sampleOf(text, 'api_s3_request_counter{api_endpoint="GetObject"}')).toBe(2)
    expect(sampleOf(text, 'api_s3_error_counter{api_endpoint="GetObject",status_code="404"}')).toBe(1)
    expect(sampleOf(text, 'api_s3_request_duration_count{api_endpoint="PutObject"}')).toBe(2)
    const seconds = sampleOf(text, 'api_s3_request_duration_sum{api_endpoint="PutObject"}')
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThan(10)
    expect(sampleOf(text, 'api_admin_request_counter{api_endpoint="Metrics"}')).toBeGreaterThan(0)
    expect(sampleOf(text, 'block_write_duration_count')).toBe(1)
  })

  test('tell of buckets what they hold, and what was asked of them', async () => {
    const text = await scrape()
    expect(sampleOf(text, 'carport_bucket_objects{bucket="measured"}')).toBe(2)
    expect(sampleOf(text, 'carport_bucket_bytes{bucket="measured"}')).toBe(300_004)
    expect(sampleOf(text, 'carport_bucket_requests_total{bucket="measured"}')).toBe(4)
    expect(sampleOf(text, 'carport_bucket_request_bytes_total{bucket="measured",direction="out"}')).toBe(
      300_000,
    )
    // Names that are no buckets, which anybody may send, make no series.
    await fetch(`${node.endpoint}/no-such-bucket-${'x'.repeat(20)}`)
    expect(await scrape()).not.toContain('no-such-bucket')
  })

  test('tell of the node, the cluster and the process', async () => {
    const text = await scrape()
    expect(sampleOf(text, 'cluster_healthy')).toBe(1)
    expect(sampleOf(text, 'garage_replication_factor')).toBe(1)
    expect(sampleOf(text, 'garage_build_info{version="test"}')).toBe(1)
    expect(sampleOf(text, 'table_size{table_name="bucket"}')).toBe(1)
    expect(sampleOf(text, 'carport_memory_bytes{kind="rss"}')).toBeGreaterThan(1e7)
    expect(sampleOf(text, 'carport_event_loop_longest_turn_seconds')).toBeGreaterThanOrEqual(0)
    expect(sampleOf(text, 'carport_damaged_rows{state="known"}')).toBe(0)
  })

  test('tell of tables, rows and background workers', async () => {
    const text = await scrape()
    const version = '{table_name="object"}'
    expect(sampleOf(text, `table_put_request_counter${version}`)).toBe(2)
    expect(sampleOf(text, `table_put_request_duration_count${version}`)).toBe(2)
    expect(sampleOf(text, `table_get_request_counter${version}`)).toBeGreaterThan(1)
    expect(sampleOf(text, `table_internal_update_counter${version}`)).toBe(2)
    expect(sampleOf(text, `table_internal_delete_counter${version}`)).toBe(0)
    const workers = [...text.matchAll(/^carport_worker_busy\{worker="(\w+)"\} [01]$/gm)].map(
      ([, name]) => name,
    )
    expect(workers).toEqual(expect.arrayContaining(['table_gc', 'purge', 'scrub', 'block_resync_8']))
    expect(sampleOf(text, 'carport_worker_errors_total{worker="table_sync"}')).toBe(0)
    for (const queue of ['missed_writes', 'purge', 'tombstones', 'block_references', 'block_resync_due']) {
      const oldest = async () => sampleOf(await scrape(), `carport_queue_oldest_seconds{queue="${queue}"}`)
      // What the requests before put there is carried within moments.
      await expect.poll(oldest, { timeout: 10_000 }).toBe(0)
    }
  })

  test('are all described in docs/metrics.md, each with its type, and no others', async () => {
    const rows = [...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \|/gm)]
    const described = new Map(rows.map(([, name, type]) => [name!, type!]))
    expect([...described].sort()).toEqual([...familiesOf(await scrape())].sort())
  })
})

describe('what is made for them', () => {
  test.each([
    [
      'deploy/prometheus/alerts.yml',
      (text: string) => [...text.matchAll(/^ +expr: (.*)$/gm)].map(([, e]) => e!),
    ],
    [
      'deploy/grafana/carport.json',
      (text: string) =>
        (JSON.parse(text) as { panels: { targets: { expr: string }[] }[] }).panels.flatMap(({ targets }) =>
          targets.map(({ expr }) => expr),
        ),
    ],
  ])('%s asks only for names that are served', async (name, expressionsOf) => {
    const served = familiesOf(await scrape())
    const isServed = (metric: string) =>
      served.has(metric) || served.get(metric.replace(/_(bucket|sum|count)$/, '')) === 'histogram'
    const expressions = expressionsOf(read(name))
    expect(expressions.length).toBeGreaterThan(10)
    for (const expression of expressions) {
      const used = metricsIn(expression)
      expect(used.length + Number(expression.startsWith('up')), expression).toBeGreaterThan(0)
      expect(
        used.filter((metric) => !isServed(metric)),
        expression,
      ).toEqual([])
    }
  })
})

test('a token is asked for where the configuration wants one, and a scope of Metrics is enough', async () => {
  const closed = await startTestNode({
    admin: {
      bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 },
      metricsRequireToken: true,
      traceSink: null,
      traceSampleRatio: 1,
      tls: null,
    },
    secrets: { adminToken: 'master' },
  })
  try {
    const base = `http://${closed.adminApi!.address}`
    const get = (token: string) =>
      fetch(`${base}/metrics`, { headers: { authorization: `Bearer ${token}` } }).then(({ status }) => status)
    expect((await fetch(`${base}/metrics`)).status).toBe(403)
    const make = async (scope: string[]) => {
      const made = await fetch(`${base}/v2/CreateAdminToken`, {
        method: 'POST',
        headers: { authorization: 'Bearer master' },
        body: JSON.stringify({ scope }),
      })
      return ((await made.json()) as { secretToken: string }).secretToken
    }
    expect(await get(await make(['Metrics']))).toBe(200)
    expect(await get(await make(['ListKeys']))).toBe(403)
    expect(await get('master')).toBe(200)
  } finally {
    await closed.dispose()
  }
})

test('requests for web sites are told apart by host where the configuration wants it, in a bounded number of series', async () => {
  const web = {
    ...{ bindAddr: { kind: 'tcp' as const, host: '127.0.0.1', port: 0 }, rootDomain: 'web.test' },
    ...{ addHostToMetrics: true, pageCacheBytesMax: 0, tls: null },
  }
  const sites = await startTestNode({ web })
  try {
    const s3 = sites.client(await sites.createKey('web'))
    await s3.send(new CreateBucketCommand({ Bucket: 'shown' }))
    const WebsiteConfiguration = { IndexDocument: { Suffix: 'index.html' } }
    await s3.send(new PutBucketWebsiteCommand({ Bucket: 'shown', WebsiteConfiguration }))
    await s3.send(new PutObjectCommand({ Bucket: 'shown', Key: 'index.html', Body: 'hello' }))
    const visit = (host: string) =>
      new Promise<number>((resolve, reject) => {
        const [hostname, port] = sites.web!.address.split(':')
        const visited = get({ hostname, port, path: '/', headers: { host } }, (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode!))
        })
        visited.on('error', reject)
      })
    expect(await visit('shown.web.test')).toBe(200)
    expect(await visit('SHOWN.web.test')).toBe(200)
    for (let i = 0; i < 20; i++) expect(await visit(`made-up-${i}.web.test`)).toBe(404)
    const text = await vi.waitFor(async () => {
      const now = await (await fetch(`http://${sites.adminApi!.address}/metrics`)).text()
      expect(sampleOf(now, 'web_request_counter{method="GET",host="(other)"}')).toBe(20)
      return now
    })
    expect(sampleOf(text, 'web_request_counter{method="GET",host="shown.web.test"}')).toBe(2)
    expect(sampleOf(text, 'web_error_counter{method="GET",host="(other)",status_code="404"}')).toBe(20)
    expect(text).not.toContain('made-up')
  } finally {
    await sites.dispose()
  }
})
