/**
 * What a node serves under more load than it can serve. First the number of connections with which it reaches its best rate of
 * objects of 4 KiB; then ten times as many, of which it refuses some; then as many as before, from one second after the end of the
 * others on. All in turn, round by round. The load comes from processes of its own, and is measured against a server that does
 * nothing as well. Usage: node dist/bench/overload.js [--seconds N] [--rounds N] [--times N] [--processes N]
 * [--retry backoff|at-once] [--only get|put] [--dir DIR]; the status is 0 only if at least 80 % are left, and 90 % are there again.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { formatTable } from '../src/cluster/layout/report.js'
import { type CrowdJob, CrowdOfClients } from './load/crowd.js'
import { type Histogram, median } from './load/histogram.js'
import { RawS3, type Target } from './load/raw-s3.js'
import { cpuUs, withChildren } from './proc.js'
import { carport } from './stores/carport.js'
import { freePorts, ServerProcess } from './stores/server-process.js'

const BUCKET = 'default-bucket'
const OBJECT_BYTES = 4096
const KEYS = 500
const CONNECTIONS = [8, 16, 32, 64, 128, 256]
/** The fewest connections that reach this share of the highest rate are those of the best rate. */
const BEST_SHARE = 0.97
const LEFT_MIN = 0.8
const AGAIN_MIN = 0.9
const WARM_S = 1
/** How long the rate is measured from WARM_S after the end of an overload on. */
const AGAIN_S = 1

/** One measurement. */
interface Figure {
  goodPerS: number
  refusedPerS: number
  otherPerS: number
  p50Ms: number
  p99Ms: number
  /** Of one processor, used by the server and by the load. */
  serverCpu: number
  loadCpu: number
}

/** Of each round. */
type Figures = Record<'best' | 'over' | 'again' | 'limit', Figure[]>

/** A server under load. */
interface Server {
  target: Target
  pids(): number[]
}

class Overload {
  readonly crowd: CrowdOfClients
  #first = 0

  constructor(private readonly options: { seconds: number; processes: number; retry: CrowdJob['retry'] }) {
    this.crowd = new CrowdOfClients(options.processes)
  }

  async measure(
    server: Server,
    kind: CrowdJob['kind'],
    connections: number,
    seconds = this.options.seconds,
  ): Promise<Figure> {
    const { retry } = this.options
    this.#first += 1e6
    const before = [cpuUs(server.pids()), cpuUs(this.crowd.pids)] as const
    const result = await this.crowd.run({
      ...{ target: server.target, bucket: BUCKET, kind, prefix: `${kind}-`, bytes: OBJECT_BYTES, keys: KEYS },
      ...{ first: this.#first, connections, retry, warmSeconds: WARM_S, seconds },
    })
    const cpu = (pids: number[], from: number) => (cpuUs(pids) - from) / 1e6 / (seconds + WARM_S)
    const at = (histogram: Histogram, q: number) => histogram.quantile(q) ?? Number.NaN
    return {
      goodPerS: result.good / seconds,
      refusedPerS: result.refused / seconds,
      otherPerS: (result.failed + result.broken) / seconds,
      p50Ms: at(result.histogram, 0.5),
      p99Ms: at(result.histogram, 0.99),
      serverCpu: cpu(server.pids(), before[0]),
      loadCpu: cpu(this.crowd.pids, before[1]),
    }
  }

  /** The number of connections of the best rate. */
  async best(server: Server, kind: CrowdJob['kind']): Promise<number> {
    const rates: number[] = []
    for (const connections of CONNECTIONS) {
      const { goodPerS } = await this.measure(server, kind, connections)
      rates.push(goodPerS)
      say(`${kind} with ${connections} connections: ${goodPerS.toFixed()} per s`)
    }
    const enough = Math.max(...rates) * BEST_SHARE
    return CONNECTIONS[rates.findIndex((rate) => rate >= enough)]!
  }
}

function row(what: string, connections: number, figures: readonly Figure[]): string[] {
  const middle = (name: keyof Figure) => median(figures.map((figure) => figure[name]))!
  const number = (name: keyof Figure, digits = 0) => middle(name).toFixed(digits)
  return [
    ...[what, String(connections), number('goodPerS'), number('refusedPerS'), number('otherPerS')],
    ...[number('p50Ms', 1), number('p99Ms', 1), number('serverCpu', 2), number('loadCpu', 2)],
  ]
}

const HEADINGS = [
  '',
  'Connections',
  'Good per s',
  '503 per s',
  'Other per s',
  'p50 ms',
  'p99 ms',
  'CPU',
  'CPU of the load',
]

/** The median of shares and each of them, in %. */
function percentOf(shares: readonly number[]): string {
  const rounds = shares.map((share) => (100 * share).toFixed()).join(', ')
  return `${(100 * median(shares)!).toFixed()} % (rounds: ${rounds})`
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

async function startNull(dir: string): Promise<Server & { stop(): Promise<void> }> {
  const [port] = (await freePorts(1)) as [number]
  const program = join(import.meta.dirname, 'load/null-server.js')
  const server = new ServerProcess(
    [process.execPath, program, `${port}`, `${OBJECT_BYTES}`],
    {},
    join(dir, 'null.log'),
  )
  server.start()
  const endpoint = `http://127.0.0.1:${port}`
  await server.untilAnswering(endpoint)
  return {
    target: { endpoint, accessKeyId: 'none', secretAccessKey: 'none', region: 'none' },
    pids: () => (server.pid === undefined ? [] : withChildren([server.pid])),
    stop: () => server.stop(),
  }
}

/** Puts the objects that are read. */
async function fill(target: Target): Promise<void> {
  const s3 = new RawS3(target, 16)
  const body = Buffer.alloc(OBJECT_BYTES, 'overload')
  await Promise.all(
    Array.from({ length: KEYS }, (_, i) => s3.request('PUT', `/${BUCKET}/get-${i}`, { body })),
  )
  s3.close()
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '3' },
      times: { type: 'string', default: '10' },
      processes: { type: 'string', default: '2' },
      retry: { type: 'string', default: 'backoff' },
      only: { type: 'string' },
      dir: { type: 'string', default: tmpdir() },
    },
  })
  const [seconds, rounds, times, processes] = [
    values.seconds,
    values.rounds,
    values.times,
    values.processes,
  ].map(Number) as [...[number, number, number, number]]
  const dir = mkdtempSync(join(resolve(values.dir), 'carport-overload-'))
  const overload = new Overload({
    seconds,
    processes,
    retry: values.retry === 'at-once' ? 'at once' : 'backoff',
  })
  const nothing = await startNull(dir)
  const store = await carport('carport', true).start(join(dir, 'carport'))
  try {
    await fill(store.target)
    for (const kind of ['get', 'put'] as const) {
      if (values.only !== undefined && values.only !== kind) continue
      const connections = await overload.best(store, kind)
      const many = connections * times
      const figures: Figures = { best: [], over: [], again: [], limit: [] }
      for (let round = 0; round < rounds; round++) {
        figures.best.push(await overload.measure(store, kind, connections))
        figures.over.push(await overload.measure(store, kind, many))
        figures.again.push(await overload.measure(store, kind, connections, AGAIN_S))
        figures.limit.push(await overload.measure(nothing, kind, many))
      }
      const shares = (of: readonly Figure[]) =>
        of.map(({ goodPerS }, i) => goodPerS / figures.best[i]!.goodPerS)
      const left = shares(figures.over)
      const again = shares(figures.again)
      const rows = [
        HEADINGS,
        row('best', connections, figures.best),
        row('overload', many, figures.over),
        row('one second after it', connections, figures.again),
        row('a server that does nothing', many, figures.limit),
      ]
      process.stdout.write(
        `\n${kind.toUpperCase()} of ${OBJECT_BYTES} bytes; refused requests are sent again ${values.retry === 'at-once' ? 'at once' : 'after a wait'}\n` +
          `${formatTable(rows).join('\n')}\n` +
          `left of the best rate: ${percentOf(left)}\n` +
          `there again one second after it: ${percentOf(again)}\n`,
      )
      if (median(left)! < LEFT_MIN || median(again)! < AGAIN_MIN) process.exitCode = 1
    }
  } finally {
    overload.crowd.stop()
    await nothing.stop()
    await store.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

await main()
