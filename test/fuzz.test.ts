/**
 * Sends requests that no sane client sends to all ports of a node in a process of its own. Invariant: each is answered in time,
 * by a result or by the API's error, never by a 5xx other than 501; nothing unexpected is logged, nothing is left open in the
 * end, and no turn of the event loop keeps others waiting. `npm run fuzz -- --help` runs the same for longer.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FuzzCluster } from './fuzz/fuzz-cluster.js'
import { fuzz, fuzzersOf } from './fuzz/fuzz-run.js'
import type { PortFuzzer } from './fuzz/port-fuzzer.js'
import type { S3Fuzzer } from './fuzz/s3-fuzzer.js'

const SEED = 20_261_129
const RUN_MS = 10_000
/**
 * Of processor time, so that other processes of a busy machine do not count: 25 to 40 ms are usual on a slow processor. The
 * rest is for virtual machines that are not told how much of their time others took, and for collections of garbage.
 */
const TURN_CPU_MS_MAX = 150

let cluster: FuzzCluster
let fuzzers: PortFuzzer[]

beforeAll(async () => {
  cluster = await FuzzCluster.start(1)
  fuzzers = await fuzzersOf(cluster)
}, 120_000)

afterAll(() => cluster?.dispose())

test('requests of all kinds, to all ports', { timeout: 300_000 }, async () => {
  const before = cluster.first.resources()
  const { ports, nodes, problems } = await fuzz(cluster, fuzzers, { seed: SEED, durationMs: RUN_MS })
  expect(problems).toEqual([])
  const [{ wallMs, cpuMs }] = nodes as [(typeof nodes)[0]]
  console.log(`longest turn: ${cpuMs.toFixed()} ms of processor, ${wallMs.toFixed()} ms on the clock`)
  expect(cpuMs).toBeLessThan(TURN_CPU_MS_MAX)
  // Without many requests and kinds of answers the checks above would mean little.
  expect([...ports.keys()]).toEqual(['s3', 'web', 'admin', 'rpc', 'k2v'])
  for (const { requests } of ports.values()) expect(requests).toBeGreaterThan(0)
  expect((fuzzers[0] as S3Fuzzer).runner.seen.size).toBeGreaterThan(20)
  // Nothing is left open: connections of clients are descriptors.
  if (before.descriptors !== undefined) {
    const open = () => cluster.first.resources().descriptors!
    await expect.poll(open, { timeout: 30_000, interval: 500 }).toBeLessThanOrEqual(before.descriptors + 5)
  }
  const isDone = async () => {
    const { success } = await cluster.first.admin<{
      success: Record<string, { name: string; queueLength: number | null }[]>
    }>('POST', '/v2/ListWorkers?node=self', {})
    const workers = Object.values(success)[0]!
    return workers.filter(({ name, queueLength }) => /purge/i.test(name) && queueLength !== 0)
  }
  await expect.poll(isDone, { timeout: 30_000, interval: 500 }).toEqual([])
})

test('a run that is ended early tells what it has counted', { timeout: 120_000 }, async () => {
  const end = AbortSignal.timeout(1000)
  const result = await fuzz(cluster, fuzzers, { seed: SEED + 1, durationMs: 3_600_000, end })
  expect(end.aborted).toBe(true)
  expect([...result.ports.keys()]).toEqual(['s3', 'web', 'admin', 'rpc', 'k2v'])
  expect(result.nodes).toHaveLength(1)
  expect(result.logged).toBe(0)
})
