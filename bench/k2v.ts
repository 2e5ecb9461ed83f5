/**
 * InsertItem and ReadItem of K2V: Carport, and Garage if its program is given, on one node and on three nodes in three zones
 * whose round trips take 100 ms. The stores run at the same time and take turns, so that a machine that becomes slower does
 * so for all. Usage: node dist/bench/k2v.js [--garage PROGRAM] [--seconds N] [--rounds N] [--bytes N] [--place one|three]
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Histogram, median } from './load/histogram.js'
import { RawS3 } from './load/raw-s3.js'
import { cpuUs } from './proc.js'
import { type ClusterProgram, startCluster } from './stores/cluster.js'
import { ACCESS_KEY, targetOf } from './stores/cluster-config.js'
import { freePorts, until } from './stores/server-process.js'
import type { ClusterSpec } from './stores/store.js'

const PROGRAM = join(import.meta.dirname, '../src/cli/main.js')
const BUCKET = 'bench-k2v'
const PARTITIONS = 100
/** How long a store may take until it serves, on a busy machine. */
const READY_MS_MAX = 60_000

const PLACES: { name: string; spec: ClusterSpec; connections: number[] }[] = [
  { name: 'one node', spec: { nodes: 1, zones: 1, replicationFactor: 1 }, connections: [1, 16, 64] },
  {
    name: 'three zones, 100 ms',
    spec: { nodes: 3, zones: 3, replicationFactor: 3, delayMs: 50 },
    connections: [1, 16],
  },
]
const OPERATIONS = ['InsertItem', 'ReadItem'] as const
type Operation = (typeof OPERATIONS)[number]

/** A store that runs, with what has been inserted into it. */
interface Server {
  name: string
  port: number
  inserted: number
  pids(): number[]
  stop(): Promise<void>
}

interface Figure {
  perSecond: number
  medianMs: number
  p99Ms: number
  cpuUs: number
}

/** Each with fsync and without, since Carport has it unless told and Garage has not. */
function programsOf(garage: string | undefined): Pick<ClusterProgram, 'name' | 'command' | 'fsync'>[] {
  const stores = { carport: [process.execPath, PROGRAM], ...(garage !== undefined && { garage: [garage] }) }
  return Object.entries(stores).flatMap(([name, command]) =>
    [true, false].map((fsync) => ({ name: `${name}, fsync ${fsync ? 'on' : 'off'}`, command, fsync })),
  )
}

async function startStore(
  dir: string,
  spec: ClusterSpec,
  program: ReturnType<typeof programsOf>[number],
): Promise<Server> {
  const ports = await freePorts(spec.nodes)
  const isGarage = program.name.startsWith('garage')
  const cluster = await startCluster(dir, spec, {
    ...program,
    env: isGarage ? { RUST_LOG: 'garage=warn' } : {},
    extra: (node) =>
      `k2v_api = { api_bind_addr = "127.0.0.1:${ports[node]}" }${isGarage ? '\ndb_engine = "lmdb"' : ''}`,
    backlog: async () => 0,
  })
  const { name } = program
  const port = ports[0]!
  try {
    // The nodes may not all know each other yet: before they do, K2V answers that it cannot say whether all of them know it.
    await until(`a bucket of ${name}`, READY_MS_MAX, async () => {
      await cluster.cli('bucket', 'create', BUCKET).catch(() => cluster.cli('bucket', 'info', BUCKET))
      await cluster.cli('bucket', 'allow', '--read', '--write', BUCKET, '--key', ACCESS_KEY.id)
      return true
    })
    const client = new RawS3(targetOf(`http://127.0.0.1:${port}`), 1, 'k2v')
    await until(`K2V of ${name}`, READY_MS_MAX, () => client.request('GET', `/${BUCKET}`).then(() => true))
    client.close()
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return { name, port, inserted: 0, pids: () => cluster.pids(), stop: () => cluster.stop() }
}

function itemPath(i: number): { path: string; query: string } {
  return { path: `/${BUCKET}/p${i % PARTITIONS}`, query: `sort_key=s${i}` }
}

/** One run of `seconds`. @throws Error where an answer was an error, or not the value */
async function measure(
  server: Server,
  operation: Operation,
  connections: number,
  seconds: number,
  value: Buffer,
): Promise<Figure> {
  const client = new RawS3(targetOf(`http://127.0.0.1:${server.port}`), connections, 'k2v')
  const latencies = new Histogram()
  const before = cpuUs(server.pids())
  const start = performance.now()
  const insert = async () => {
    const { path, query } = itemPath(server.inserted++)
    await client.request('PUT', path, { query, body: value })
  }
  const read = async () => {
    const { path, query } = itemPath(Math.floor(Math.random() * server.inserted))
    const { bytes } = await client.request('GET', path, {
      query,
      headers: { accept: 'application/octet-stream' },
    })
    if (bytes !== value.length) throw new Error(`${server.name}: a value of ${bytes} bytes`)
  }
  const one = operation === 'InsertItem' ? insert : read
  try {
    const loop = async () => {
      while (performance.now() - start < seconds * 1000) {
        const sent = performance.now()
        await one()
        latencies.record(performance.now() - sent)
      }
    }
    await Promise.all(Array.from({ length: connections }, loop))
  } finally {
    client.close()
  }
  const took = (performance.now() - start) / 1000
  return {
    perSecond: latencies.count / took,
    medianMs: latencies.quantile(0.5)!,
    p99Ms: latencies.quantile(0.99)!,
    cpuUs: (cpuUs(server.pids()) - before) / latencies.count,
  }
}

async function bench(
  garage: string | undefined,
  place: string,
  seconds: number,
  rounds: number,
  bytes: number,
) {
  const dir = mkdtempSync(join(tmpdir(), 'carport-k2v-'))
  const value = randomBytes(bytes)
  process.stdout.write(
    '| Place | Operation | Connections | Store | Requests/s | Median ms | 99 % ms | CPU µs a request, all nodes |\n|---|---|---|---|---|---|---|---|\n',
  )
  try {
    for (const { name, spec, connections } of PLACES.filter((each) => each.name.startsWith(place))) {
      const servers: Server[] = []
      try {
        for (const [i, program] of programsOf(garage).entries())
          servers.push(await startStore(join(dir, `${i}`), spec, program))
        for (const count of connections) {
          for (const operation of OPERATIONS) {
            const figures = new Map<Server, Figure[]>(servers.map((server) => [server, []]))
            // A second of each is a warm-up.
            for (const server of servers) await measure(server, operation, count, 1, value)
            for (let round = 0; round < rounds; round++) {
              for (const server of servers)
                figures.get(server)!.push(await measure(server, operation, count, seconds, value))
            }
            for (const [server, found] of figures) {
              const middle = (of: (figure: Figure) => number) => median(found.map(of))!
              const cells = [
                ...[middle(({ perSecond }) => perSecond).toFixed(1)],
                ...[middle(({ medianMs }) => medianMs).toFixed(2), middle(({ p99Ms }) => p99Ms).toFixed(2)],
                middle((figure) => figure.cpuUs).toFixed(),
              ]
              process.stdout.write(
                `| ${name} | ${operation} | ${count} | ${server.name} | ${cells.join(' | ')} |\n`,
              )
            }
          }
        }
      } finally {
        for (const server of servers) await server.stop()
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const { values } = parseArgs({
  options: {
    garage: { type: 'string' },
    seconds: { type: 'string' },
    rounds: { type: 'string' },
    bytes: { type: 'string' },
    place: { type: 'string' },
  },
})
try {
  await bench(
    values.garage,
    values.place ?? '',
    Number(values.seconds ?? 5),
    Number(values.rounds ?? 3),
    Number(values.bytes ?? 1024),
  )
} catch (error) {
  process.exitCode = 1
  process.stderr.write(`bench/k2v: ${error instanceof Error ? error.message : error}\n`)
}
