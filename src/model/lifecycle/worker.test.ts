import { beforeEach, expect, test } from 'vitest'
import { MemoryDb } from '../../../testing/memory-db.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { SimClock } from '../../../testing/sim-clock.js'
import { silentLog } from '../../util/log.js'
import type { Bucket } from '../buckets/buckets.js'
import { DAILY_RUNS_TREE } from '../upkeep/daily-runs.js'
import { type LifecycleRule, UTC_CALENDAR } from './rules.js'
import { LifecycleWalk } from './walk.js'
import { type LifecycleOptions, LifecycleWorker } from './worker.js'

const HOUR_MS = 3600_000
const START = Date.UTC(2026, 0, 1, 20)

let clock: SimClock
let db: MemoryDb
/** What the walk was asked for: "<bucket> <phase> <sort key>", and when. */
let steps: { what: string; atMs: number }[]

beforeEach(() => {
  clock = new SimClock(START)
  db = new MemoryDb({ trees: [DAILY_RUNS_TREE] })
  steps = []
})

const bucket = (name: string, rule: Partial<LifecycleRule> | undefined): Bucket =>
  ({
    id: Buffer.from(name.padEnd(16)),
    hexId: name,
    document: (name: string) =>
      name === 'lifecycle' && rule
        ? [{ id: 'r', enabled: true, filter: {}, form: 'filter', ...rule }]
        : undefined,
  }) as unknown as Bucket

const expires = { expiration: { days: 1 } }

/** A walk that takes three steps for each phase. */
class TestWalk extends LifecycleWalk {
  constructor(
    deps: never,
    options: LifecycleOptions,
    private readonly fail: (() => boolean) | undefined,
  ) {
    super(deps, options)
  }

  override async step(id: Buffer, phase: string, at: Buffer): Promise<Buffer | undefined> {
    if (this.fail?.()) throw new Error('no quorum')
    steps.push({ what: `${id.toString().trim()} ${phase} ${at}`, atMs: clock.nowMs() })
    return at.length < 2 ? Buffer.concat([at, Buffer.from('x')]) : undefined
  }
}

/** A node that leads some partitions. */
function worker(
  buckets: Bucket[],
  options: Partial<LifecycleOptions> & {
    fail?: () => boolean
    leads?: (partition: number) => boolean
  } = {},
) {
  const { fail, leads = () => true, ...rest } = options
  return new LifecycleWorker(
    {
      db,
      clock,
      random: new SeededRandom(1),
      log: silentLog,
      placement: {
        layoutVersion: 1,
        readSet: (partition: number) => [leads(partition) ? 'self' : 'other'],
      } as never,
      transport: { self: 'self', isConnected: () => true } as never,
      buckets: {
        async *walk() {
          yield* buckets.toSorted((a, b) => Buffer.compare(a.id, b.id))
        },
      } as never,
      walk: new TestWalk({} as never, { calendar: UTC_CALENDAR, ...rest }, fail),
    },
    { calendar: UTC_CALENDAR, ...rest },
  )
}

const walked = () => steps.map(({ what }) => what)
const phase = (name: string, of: string) => ['', 'x', 'xx'].map((at) => `${name} ${of} ${at}`)

test('each bucket with rules is walked once, in the phases that its rules need, and again after midnight', async () => {
  const node = worker([
    bucket('b', { noncurrent: { days: 1 }, abortUploadDays: 1 }),
    bucket('a', expires),
    bucket('c', undefined),
    bucket('d', { ...expires, enabled: false }),
  ])
  node.start()
  await clock.run(HOUR_MS)
  const all = [...phase('a', 'current'), ...phase('b', 'noncurrent'), ...phase('b', 'uploads')]
  expect(walked()).toEqual(all)
  await clock.run(2.9 * HOUR_MS)
  expect(walked()).toEqual(all)
  await clock.run(0.5 * HOUR_MS)
  expect(walked()).toEqual([...all, ...all])
  await node.stop()
})

test('buckets whose partition another node leads are left to it', async () => {
  const node = worker([bucket('a', expires), bucket('b', expires)], {
    leads: (partition) => partition !== 'a'.charCodeAt(0),
  })
  node.start()
  await clock.run(HOUR_MS)
  expect(walked()).toEqual(phase('b', 'current'))
  await node.stop()
})

test('after a failure, and after a restart, the run goes on where it was', async () => {
  const rules = [bucket('a', expires), bucket('b', expires)]
  let calls = 0
  const broken = worker(rules, { fail: () => ++calls > 4 })
  broken.start()
  await clock.run(HOUR_MS)
  await broken.stop()
  expect(walked()).toEqual([...phase('a', 'current'), 'b current '])
  steps = []
  const node = worker(rules)
  node.start()
  await clock.run(HOUR_MS)
  expect(walked()).toEqual(['b current x', 'b current xx'])
  await node.stop()
})

test('a node that starts after a finished run waits for the next day', async () => {
  const rules = [bucket('a', expires)]
  for (let i = 0; i < 2; i++) {
    const node = worker(rules)
    node.start()
    await clock.run(HOUR_MS)
    await node.stop()
  }
  expect(walked()).toEqual(phase('a', 'current'))
})

test('days begin at local midnight if that is wanted', async () => {
  const node = worker([bucket('a', expires)], { utcOffsetMs: () => -2 * HOUR_MS })
  node.start()
  await clock.run(5.9 * HOUR_MS)
  expect(steps).toHaveLength(3)
  await clock.run(0.5 * HOUR_MS)
  expect(steps).toHaveLength(6)
  expect(steps[3]!.atMs).toBeGreaterThanOrEqual(Date.UTC(2026, 0, 2, 2))
  await node.stop()
})

test('with an age for uploads, all buckets are looked through for them', async () => {
  const node = worker([bucket('a', undefined)], { abortUploadsAfterMs: 1 })
  node.start()
  await clock.run(HOUR_MS)
  expect(walked()).toEqual(phase('a', 'uploads'))
  await node.stop()
})

test('a clock that went back a day does not stop the rules', async () => {
  const late = new SimClock(START + 48 * HOUR_MS)
  clock = late
  const rules = [bucket('a', expires)]
  const before = worker(rules)
  before.start()
  await clock.run(HOUR_MS)
  await before.stop()
  clock = new SimClock(START)
  const after = worker(rules)
  after.start()
  await clock.run(HOUR_MS)
  await after.stop()
  expect(walked()).toEqual([...phase('a', 'current'), ...phase('a', 'current')])
})
