import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OtlpCollector, type ReceivedSpan } from './support/otlp-collector.js'
import { ProcessCluster } from './support/processes.js'
import { startTestNode } from './support/test-node.js'

const CLIENT_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const CLIENT_SPAN = '00f067aa0ba902b7'
const withTraceparent = (client: S3Client, traceparent: string) =>
  client.middlewareStack.add(
    (next) => (args) => {
      ;(args.request as { headers: Record<string, string> }).headers.traceparent = traceparent
      return next(args)
    },
    { step: 'finalizeRequest', name: 'traceparent' },
  )

describe('three nodes with a collector', () => {
  const collector = new OtlpCollector()
  let cluster: ProcessCluster
  let clientOf: (node: number) => S3Client
  let s3: S3Client

  beforeAll(async () => {
    cluster = await ProcessCluster.create(3, 3, `trace_sink = "${await collector.start('grpc')}"`)
    await cluster.startAndLayOut()
    const credentials = await cluster.createKey('traced')
    clientOf = (i) =>
      new S3Client({ endpoint: cluster.endpoint(i), region: 'garage', forcePathStyle: true, credentials })
    s3 = clientOf(0)
    await s3.send(new CreateBucketCommand({ Bucket: 'traced' }))
  })
  afterAll(async () => {
    s3?.destroy()
    await cluster?.dispose()
    collector.stop()
  })

  /** The spans of a trace, once so many nodes have sent theirs that `enough` holds. */
  const traceOf = async (name: string, enough: (spans: ReceivedSpan[]) => boolean) => {
    const find = () => {
      const root = collector.spans.find((span) => span.name === name)
      return root ? collector.spans.filter(({ traceId }) => traceId === root.traceId) : []
    }
    await expect.poll(() => enough(find()), { timeout: 20_000 }).toBe(true)
    return find()
  }
  const named = (spans: ReceivedSpan[], name: string) => spans.filter((span) => span.name === name)

  test('one PUT of a block makes one trace: request, block, calls to peers, their serving, disk and rows', async () => {
    const Body = Buffer.alloc(200_000, 'x')
    await s3.send(new PutObjectCommand({ Bucket: 'traced', Key: 'large', Body }))
    const spans = await traceOf(
      's3 PutObject',
      (spans) => named(spans, 'disk write').length === 3 && new Set(spans.map((s) => s.instance)).size === 3,
    )
    const [request] = named(spans, 's3 PutObject')
    expect(request).toMatchObject({ parentId: '', service: 'carport', failed: false })
    expect(request!.attributes).toMatchObject({
      'http.request.method': 'PUT',
      'http.response.status_code': 200,
      'url.path': '/traced/large',
      'aws.s3.bucket': 'traced',
      'client.address': '127.0.0.1',
    })
    const parentOf = (span: ReceivedSpan) => spans.find(({ spanId }) => spanId === span.parentId)
    // No span without its parent, and no parent that began after its child (the machine is one, and so is its clock).
    for (const span of spans) {
      if (span === request) continue
      const parent = parentOf(span)
      expect(parent, span.name).toBeDefined()
      expect(span.startNs, `${span.name} of ${parent!.name}`).toBeGreaterThanOrEqual(
        parent!.startNs - 2_000_000n,
      )
      expect(span.endNs).toBeGreaterThanOrEqual(span.startNs)
    }
    const [block] = named(spans, 'block put')
    expect(parentOf(block!)).toBe(request)
    const calls = named(spans, 'call block/put')
    expect(calls.map((call) => parentOf(call)!.name)).toEqual(['block put', 'block put'])
    const served = named(spans, 'serve block/put')
    expect(served.map(({ parentId }) => parentId).sort()).toEqual(calls.map(({ spanId }) => spanId).sort())
    // Each replica wrote the file below its own span: this node's below the block, the others' below the serving.
    const writers = named(spans, 'disk write').map((write) => parentOf(write)!.name)
    expect(writers.sort()).toEqual(['block put', 'serve block/put', 'serve block/put'])
    // Then the row, by a quorum of the same nodes.
    const rows = spans.filter(({ name }) => name.startsWith('quorum write'))
    expect(rows.length).toBeGreaterThan(0)
    for (const row of rows) expect(row.attributes['carport.nodes']).toBe(3)
    const transactions = named(spans, 'db transaction')
    expect(new Set(transactions.map(({ instance }) => instance)).size).toBe(3)
  }, 60_000)

  test("a client's trace is taken up", async () => {
    const client = clientOf(1)
    withTraceparent(client, `00-${CLIENT_TRACE}-${CLIENT_SPAN}-01`)
    await client.send(new GetObjectCommand({ Bucket: 'traced', Key: 'large' })).then(async ({ Body }) => {
      await Body!.transformToByteArray()
    })
    client.destroy()
    const spans = await traceOf('s3 GetObject', (spans) => spans.length > 0)
    const [request] = named(spans, 's3 GetObject')
    expect(request).toMatchObject({ traceId: CLIENT_TRACE, parentId: CLIENT_SPAN })
  }, 60_000)

  test('background work makes no spans of its own', () => {
    // Pings, gossip and anti-entropy went on all the while.
    const ids = new Set(collector.spans.map(({ spanId }) => spanId))
    const orphans = collector.spans.filter(({ parentId }) => parentId !== CLIENT_SPAN && !ids.has(parentId))
    expect(
      [...new Set(orphans.map(({ name }) => name.split(' ')[0]))].filter(
        (api) => api !== 's3' && api !== 'admin',
      ),
    ).toEqual([])
  })
})

describe('one node', () => {
  const admin = {
    bindAddr: { kind: 'tcp' as const, host: '127.0.0.1', port: 0 },
    metricsRequireToken: false,
    tls: null,
  }

  test('sends over HTTP where the URL has a path, never more than its share, and keeps secrets to itself', async () => {
    const collector = new OtlpCollector()
    const traceSink = await collector.start('http')
    const node = await startTestNode({ admin: { ...admin, traceSink, traceSampleRatio: 1 } })
    const key = await node.createKey('secretive')
    const s3 = node.client(key)
    await s3.send(new CreateBucketCommand({ Bucket: 'secretive' }))
    const query = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=${'5e'.repeat(32)}&X-Amz-Security-Token=tokentoken`
    await fetch(`${node.endpoint}/secretive/x?${query}`)
    await node.dispose()
    collector.stop()
    expect(collector.spans.map(({ name }) => name)).toContain('s3 CreateBucket')
    const all = Buffer.concat(collector.bytes).toString('latin1')
    expect(all).toContain('/secretive/x')
    for (const secret of [key.secret, '5e5e5e', 'tokentoken', 'Signature']) expect(all).not.toContain(secret)
  })

  test('traces nothing at a share of 0, whatever the client asks for, and starts while no collector is there', async () => {
    const collector = new OtlpCollector()
    const traceSink = await collector.start('grpc')
    collector.stop()
    const messages: string[] = []
    const add = (_: object, message: string) => void messages.push(message)
    const log = { debug() {}, info() {}, warn: add, error: add, child: () => log }
    const silent = await startTestNode({ admin: { ...admin, traceSink, traceSampleRatio: 0 } }, { log })
    const ask = (endpoint: string) =>
      fetch(endpoint, { headers: { traceparent: `00-${CLIENT_TRACE}-${CLIENT_SPAN}-01` } })
    await ask(silent.endpoint)
    await silent.dispose()
    expect(messages.filter((message) => /trace/.test(message))).toEqual([])
    const node = await startTestNode({ admin: { ...admin, traceSink, traceSampleRatio: 1 } }, { log })
    expect((await ask(node.endpoint)).status).toBe(200)
    await node.dispose()
    expect(messages.filter((message) => /trace/.test(message))).toEqual(['traces cannot be sent'])
  })
})

test('nothing of OpenTelemetry is loaded where no collector is set', () => {
  const seen = new Set<string>()
  const loads = (file: string): string[] => {
    if (seen.has(file)) return []
    seen.add(file)
    const imports = /^(?:import|export)\s(?!type\b)(?:[\w\s{},*$]+?\sfrom\s)?'([^']+)'/gm
    return [...readFileSync(file, 'utf8').matchAll(imports)].flatMap(([, target]) =>
      target!.startsWith('.') ? loads(join(file, '..', target!.replace(/\.js$/, '.ts'))) : target!,
    )
  }
  const packages = new Set(loads(join(import.meta.dirname, '../src/node/run-server.ts')))
  expect(packages).toContain('lmdb')
  expect([...packages].filter((name) => name.startsWith('@opentelemetry'))).toEqual([])
})
