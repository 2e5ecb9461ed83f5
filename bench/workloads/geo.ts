import type { Context } from '../context.js'
import { Histogram, median } from '../load/histogram.js'
import type { Operation } from '../load/job.js'
import { KIB, MIB, sizeText } from '../sizes.js'
import { until } from '../stores/server-process.js'
import type { Cluster, ZoneState } from '../stores/store.js'

const BUCKET = 'bench-geo'
const REPLICATION_FACTOR = 3
const DELAY_MS = 50
const JITTER_MS = 10
const SIZES = [4 * KIB, MIB]
/** The sizes of two parts, the first as small as S3 allows. */
const PARTS = [5 * MIB, MIB]
const SETTLE_MS_MAX = 90_000
/** Longest that the requests of one cell may take, in seconds for each. */
const SECONDS_PER_REQUEST = 1.5

const STATES: [ZoneState, string][] = [
  ['normal', ''],
  ['slow', ', one zone slow'],
  ['silent', ', one zone gone'],
]

/** Single requests to the first node of clusters whose zones are 100 ± 20 ms apart. */
export async function geo(context: Context): Promise<void> {
  const layouts = context.options.quick
    ? [[3, 3]]
    : [
        [3, 3],
        [5, 5],
        [6, 3],
      ]
  for (const [nodes, zones] of layouts as [number, number][]) {
    if (!context.wants('geo', `${nodes}/${zones}`) && context.options.match.length > 0) {
      const some = STATES.some(([, text]) =>
        operations('', 1).some(([name]) => context.wants('geo', cellOf(name, nodes, zones, text))),
      )
      if (!some) continue
    }
    await measureLayout(context, nodes, zones)
  }
}

function cellOf(name: string, nodes: number, zones: number, state: string): string {
  return `${name} ${nodes}/${zones}${state}`
}

async function measureLayout(context: Context, nodes: number, zones: number): Promise<void> {
  const clusters: Cluster[] = []
  try {
    for (const contender of context.contenders) {
      if (!contender.startCluster) {
        context.add({
          ...{ kind: 'skipped', workload: 'geo', cell: `${nodes}/${zones}`, store: contender.name },
          reason: 'no cluster of it can be started',
        })
        continue
      }
      context.note(`geo: starting ${nodes} nodes of ${contender.name} in ${zones} zones`)
      const spec = {
        nodes,
        zones,
        replicationFactor: REPLICATION_FACTOR,
        delayMs: DELAY_MS,
        jitterMs: JITTER_MS,
      }
      const cluster = await contender.startCluster(context.newDir(contender.name), spec)
      clusters.push(cluster)
      await until(`a bucket of ${contender.name}`, SETTLE_MS_MAX, () =>
        context.createBucket(cluster, BUCKET).then(() => true),
      )
      await until(`${contender.name} to settle`, SETTLE_MS_MAX, async () => (await cluster.backlog()) === 0)
      const trips = await cluster.measureRoundTrips(20)
      context.add({
        ...{ kind: 'value', workload: 'geo', cell: `round trip of the links ${nodes}/${zones}` },
        ...{ store: contender.name, value: median(trips)!, unit: 'ms' },
      })
    }
    for (const [state, text] of STATES) {
      // Requests go to the first zone; the last one has the trouble.
      for (const cluster of clusters) await cluster.setZone(zones - 1, state)
      for (const [name, operation, requests] of operations(`${state}/`, context.options.requests)) {
        const cell = cellOf(name, nodes, zones, text)
        for (const cluster of clusters) await measure(context, cluster, cell, operation, requests)
      }
    }
  } finally {
    for (const cluster of clusters) await cluster.stop()
  }
}

/** The kinds in an order in which each finds the objects it needs. */
function operations(
  prefix: string,
  requests: number,
): [name: string, operation: Operation, requests: number][] {
  const list = { kind: 'list', query: 'list-type=2', walk: false } as const
  const perSize = SIZES.flatMap((size, i): [string, Operation, number][] => {
    const objects = { prefix: `${prefix}${size}/`, size }
    return [
      [`PutObject ${sizeText(size)}`, { kind: 'put', ...objects }, requests],
      [`HeadObject ${sizeText(size)}`, { kind: 'head', ...objects, keys: requests }, requests],
      [`GetObject ${sizeText(size)}`, { kind: 'get', ...objects, keys: requests }, requests],
      ...(i === 0 ? [['ListObjectsV2', list, requests] as [string, Operation, number]] : []),
      [`DeleteObject ${sizeText(size)}`, { kind: 'delete', prefix: objects.prefix }, requests],
    ]
  })
  const complete: Operation = { kind: 'complete', prefix: `${prefix}multipart/`, parts: PARTS }
  return [
    ['ListBuckets', { kind: 'buckets' }, requests],
    ...perSize,
    ['CompleteMultipartUpload', complete, Math.max(3, Math.ceil(requests / 5))],
  ]
}

async function measure(
  context: Context,
  cluster: Cluster,
  cell: string,
  operation: Operation,
  limit: number,
): Promise<void> {
  const { requests, errors, error, latencies } = await context.generator.run({
    ...{ target: cluster.target, bucket: BUCKET, operation, concurrency: 1, limit },
    seconds: Math.max(20, limit * SECONDS_PER_REQUEST),
  })
  const histogram = new Histogram()
  histogram.add(latencies)
  const p50 = histogram.quantile(0.5)
  context.add({
    ...{ kind: 'latency', workload: 'geo', cell, store: cluster.name, requests, errors },
    ...{ p50, p99: histogram.quantile(0.99), roundTrips: p50 && p50 / (2 * DELAY_MS) },
    ...(error !== undefined && { error }),
  })
  context.note(
    `geo: ${cell}: ${cluster.name} ${p50?.toFixed(0) ?? '-'} ms${error ? `, ${errors} failed` : ''}`,
  )
}
