import type { FuzzRequest } from '../support/fuzz-client.js'
import { AdminFuzzer } from './admin-fuzzer.js'
import type { FuzzCluster, Resources } from './fuzz-cluster.js'
import { K2vFuzzer } from './k2v-fuzzer.js'
import { asError, type PortFuzzer } from './port-fuzzer.js'
import { RpcFuzzer } from './rpc-fuzzer.js'
import { S3Fuzzer } from './s3-fuzzer.js'
import { WebFuzzer } from './web-fuzzer.js'

/** Turns are read so often, in ms. */
const LOOK_MS = 5000
/** For the requests that come first, in ms. */
const WARM_UP_MS_MAX = 8000
/** The most unexpected answers whose texts are kept. */
const SHOWN_MAX = 20
/** How long the last requests, whose clients have gone, may hold memory, in ms. */
const REST_MS_MAX = 30_000
/** How long requests under way are waited for when a run is ended early, in ms. */
const END_MS_MAX = 10_000

/** The fuzzers of all ports. Another port is added here. */
export async function fuzzersOf(cluster: FuzzCluster): Promise<PortFuzzer[]> {
  const s3 = await S3Fuzzer.create(cluster)
  const put = async (target: string, body: string) => {
    const request: FuzzRequest = { method: 'PUT', target, headers: [], body, auth: 'header', length: 'right' }
    const { status } = await s3.runner.run(request)
    if (status !== 200) throw new Error(`PUT ${target}: ${status}`)
  }
  return [
    s3,
    await WebFuzzer.create(cluster, put),
    await AdminFuzzer.create(cluster),
    new RpcFuzzer(cluster),
    await K2vFuzzer.create(cluster, s3.key, put),
  ]
}

/** What was sent to a port, and what came back. */
export interface PortCounts {
  requests: number
  /** By the first digit of the status; 0 are connections that ended without an answer, as they should. */
  statuses: Map<number, number>
  unexpected: number
}

/** What a run found. */
export interface FuzzResult {
  ports: Map<string, PortCounts>
  nodes: { start: Resources; end: Resources; mostMib: number | undefined; wallMs: number; cpuMs: number }[]
  /** Unexpected answers and lines in logs: the first ones. */
  problems: string[]
  /** How many lines the nodes have logged that sound nodes do not. */
  logged: number
  /** How long the requests that count have run. */
  ranMs: number
  /** What ran in long turns, if that was asked for. */
  profiles: string[]
}

/**
 * Runs the fuzzers side by side, each with requests one after another, until the time is over. Counts begin when each
 * has sent its first hundred requests or some seconds are over, since a process loads much of its code at the first request that needs it.
 * @param options.end ends the run early; what was counted until then is the result
 */
export async function fuzz(
  cluster: FuzzCluster,
  fuzzers: readonly PortFuzzer[],
  options: { seed: number; durationMs: number; end?: AbortSignal },
): Promise<FuzzResult> {
  const isOver = () => options.end?.aborted === true
  const cutShort = endOf(options.end)
  let logged = 0
  const ports = new Map<string, PortCounts>()
  const problems: string[] = []
  const run = async (fuzzer: PortFuzzer, untilMs: number, counts: PortCounts, seed: number) => {
    for (let i = 0; Date.now() < untilMs && !isOver() && counts.requests < countMax; i++) {
      try {
        for await (const status of fuzzer.run(seed + i)) {
          counts.requests++
          const kind = Math.floor(status / 100)
          counts.statuses.set(kind, (counts.statuses.get(kind) ?? 0) + 1)
          if (Date.now() >= untilMs || isOver() || counts.requests >= countMax) break
        }
      } catch (error) {
        counts.requests++
        counts.unexpected++
        if (problems.length < SHOWN_MAX) problems.push(`${fuzzer.name}: ${asError(error).message}`)
      }
      logged += takeErrors(cluster, problems)
    }
  }
  let countMax = 100
  const warmUp = fuzzers.map((fuzzer) =>
    run(fuzzer, Date.now() + WARM_UP_MS_MAX, newCounts(), options.seed - 1000),
  )
  await Promise.race([Promise.all(warmUp), cutShort])
  countMax = Number.POSITIVE_INFINITY
  for (const node of cluster.nodes) {
    await node.readTurns()
    Object.assign(node.longest, { wallMs: 0, cpuMs: 0, profiles: [] })
  }
  const start = cluster.nodes.map((node) => node.resources())
  const most = start.map(({ rssMib }) => rssMib)
  const look = setInterval(() => {
    for (const [i, node] of cluster.nodes.entries()) {
      void node.readTurns().catch(() => {})
      const { rssMib } = node.resources()
      if (rssMib !== undefined) most[i] = Math.max(rssMib, most[i] ?? 0)
    }
  }, LOOK_MS)
  const startMs = Date.now()
  try {
    const runs = fuzzers.map((fuzzer) => {
      const counts = newCounts()
      ports.set(fuzzer.name, counts)
      return run(fuzzer, startMs + options.durationMs, counts, options.seed)
    })
    await Promise.race([Promise.all(runs), cutShort])
  } finally {
    clearInterval(look)
  }
  const ranMs = Date.now() - startMs
  if (!isOver()) problems.push(...(await memoryHeld(cluster)))
  for (const node of cluster.nodes) await node.readTurns()
  logged += takeErrors(cluster, problems)
  const nodes = cluster.nodes.map((node, i) => {
    const { wallMs, cpuMs } = node.longest
    const end = node.resources()
    const mostMib = end.rssMib === undefined ? most[i] : Math.max(end.rssMib, most[i] ?? 0)
    return { start: start[i]!, end, mostMib, wallMs, cpuMs }
  })
  const profiles = cluster.nodes.flatMap((node) => node.longest.profiles)
  return { ports, nodes, problems, logged, ranMs, profiles }
}

/** Nodes on which memory stays with requests after all of these have ended: it would run out one day. */
async function memoryHeld(cluster: FuzzCluster): Promise<string[]> {
  const found: string[] = []
  for (const [i, node] of cluster.nodes.entries()) {
    const untilMs = Date.now() + REST_MS_MAX
    for (;;) {
      const { bytes, waiting } = await node.requestMemory()
      if (bytes === 0 && waiting === 0) break
      if (Date.now() >= untilMs) {
        found.push(`node ${i + 1}: ${bytes} bytes are held by requests that have ended, and ${waiting} wait`)
        break
      }
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
  return found
}

/** Resolves some time after the signal, by which all requests under way should have ended. */
function endOf(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const over = () => setTimeout(resolve, END_MS_MAX).unref()
    if (signal?.aborted) over()
    else signal?.addEventListener('abort', over, { once: true })
  })
}

function newCounts(): PortCounts {
  return { requests: 0, statuses: new Map(), unexpected: 0 }
}

/** Takes the lines that the nodes have logged; returns how many. */
function takeErrors(cluster: FuzzCluster, problems: string[]): number {
  let count = 0
  for (const node of cluster.nodes) {
    for (const line of node.errors.splice(0)) {
      count++
      if (problems.length < SHOWN_MAX) problems.push(`log: ${line}`)
    }
  }
  return count
}
