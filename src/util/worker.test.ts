import { expect, test } from 'vitest'
import { SeededRandom } from '../../testing/seeded-random.js'
import { SimClock } from '../../testing/sim-clock.js'
import { CarportError } from './errors.js'
import { silentLog } from './log.js'
import { Worker, type WorkerOptions } from './worker.js'

function workerOf(work: (run: number, signal: AbortSignal) => Promise<number>, options?: WorkerOptions) {
  const clock = new SimClock()
  const times: number[] = []
  const random = new SeededRandom(1)
  const worker = new Worker(
    'test',
    { clock, random, log: silentLog },
    (signal) => {
      times.push(clock.monotonicMs())
      return work(times.length, signal)
    },
    options,
  )
  return { clock, worker, times }
}

test('runs follow each other after the delay that each returns', async () => {
  const { clock, worker, times } = workerOf(async (run) => run * 100, { startDelayMs: 50 })
  worker.start()
  worker.start()
  await clock.run(1000)
  expect(times).toEqual([50, 150, 350, 650])
  await worker.stop()
  await clock.run(10_000)
  expect(times).toHaveLength(4)
})

test('a wake-up ends the wait; one during a run makes the wait after it none', async () => {
  let wakeInside = true
  const { clock, worker, times } = workerOf(async () => {
    if (wakeInside) worker.wake()
    wakeInside = false
    return Number.POSITIVE_INFINITY
  })
  worker.start()
  await clock.run(1000)
  expect(times).toEqual([0, 0])
  await clock.run(1000)
  worker.wake()
  worker.wake()
  await clock.run(1000)
  expect(times).toEqual([0, 0, 2000])
  await worker.stop()
})

test('a woken worker lingers, so that work gathers', async () => {
  const { clock, worker, times } = workerOf(async () => Number.POSITIVE_INFINITY, { lingerMs: 500 })
  worker.start()
  await clock.run(1000)
  for (let i = 0; i < 5; i++) {
    worker.wake()
    await clock.run(90)
  }
  await clock.run(10_000)
  expect(times).toHaveLength(2)
  expect(times[1]).toBeGreaterThanOrEqual(1500)
  expect(times[1]).toBeLessThan(2000)
  worker.wake()
  await clock.settle()
  await worker.stop()
})

test('a run that fails is counted and tried again after waits that grow, until one goes through', async () => {
  let queued = 3
  const { clock, worker, times } = workerOf(
    async (run) => {
      if (run <= 4) throw new Error(`failure ${run}`)
      queued = 0
      return 1e9
    },
    { backoff: { baseMs: 100, maxMs: 400, jitter: 0 }, queueLength: () => queued },
  )
  worker.start()
  await clock.run(300)
  expect(worker.stats()).toMatchObject({
    queueLength: 3,
    errors: 3,
    consecutiveErrors: 3,
    lastError: { message: 'failure 3' },
  })
  await clock.run(10_000)
  expect(times).toEqual([0, 100, 300, 700, 1100])
  expect(worker.stats()).toMatchObject({ busy: false, queueLength: 0, errors: 4, consecutiveErrors: 0 })
  await worker.stop()
})

test('stopping tells the run under way and waits for it; a worker may start again', async () => {
  let ended = false
  const { clock, worker, times } = workerOf(async (_, signal) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    ended = true
    throw new Error('broken off')
  })
  worker.start()
  await clock.run(1)
  expect(worker.stats().busy).toBe(true)
  await worker.stop()
  expect(ended).toBe(true)
  expect(worker.stats()).toMatchObject({ busy: false, errors: 0 })
  worker.start()
  await clock.run(1)
  expect(times).toHaveLength(2)
  await worker.stop()
})

test('a closed database ends the worker without a word', async () => {
  const { clock, worker, times } = workerOf(async () => {
    throw new CarportError('Closed', 'the database is closed')
  })
  worker.start()
  await clock.run(100_000)
  expect(times).toHaveLength(1)
  expect(worker.stats().errors).toBe(0)
  await worker.stop()
})
