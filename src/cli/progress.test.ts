import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Answers, cli, NODE_A, NODE_B, nodeStatus } from '../../testing/cli-fakes.js'
import type { WorkerInfo } from '../api/admin/types.js'
import { barLine, timeText } from './progress/lines.js'
import { Meter } from './progress/meter.js'
import type { Task } from './progress/tasks.js'

const worker = (name: string, values: Partial<WorkerInfo> = {}): WorkerInfo => ({
  id: 1,
  name,
  state: 'busy',
  errors: 0,
  consecutiveErrors: 0,
  lastError: null,
  persistentErrors: null,
  queueLength: null,
  tranquility: null,
  progress: null,
  work: null,
  freeform: [],
  ...values,
})
const repairAt = (done: number, checked: number): WorkerInfo =>
  worker('Repair: blocks', {
    state: done < 1 ? 'busy' : 'done',
    progress: `${done * 100}%`,
    work: { done, checked, changed: 0 },
    freeform: [`${checked} checked, 0 changed`],
  })

/** Answers `worker.list` with one look after another; the last one stays. */
function looks(...all: Record<string, WorkerInfo[]>[]): Answers {
  let i = 0
  const ids = Object.keys(all[0]!)
  return {
    'repair.launch': { success: Object.fromEntries(ids.map((id) => [id, null])), error: {} },
    'worker.list': () => ({ success: all[Math.min(i++, all.length - 1)]!, error: {} }),
    status: { layoutVersion: 1, nodes: [] },
  }
}

const blocksOfTwo = () =>
  looks(
    { [NODE_A]: [worker('Block scrub', { state: 'idle' }), repairAt(0, 0)], [NODE_B]: [repairAt(0, 0)] },
    { [NODE_A]: [repairAt(0.25, 1000)], [NODE_B]: [repairAt(0.5, 500)] },
    { [NODE_A]: [repairAt(0.5, 2000)], [NODE_B]: [repairAt(1, 1000)] },
    { [NODE_A]: [repairAt(1, 4000)], [NODE_B]: [repairAt(1, 1000)] },
  )

describe('a repair on a terminal', () => {
  it('is shown as bars with rate and time left until it ends', async () => {
    const { drawn, err, out, status, calls } = await cli(['repair', '-a', '--yes', 'blocks'], {
      answers: blocksOfTwo(),
      terminal: true,
    })
    expect(status).toBe(0)
    expect(err).toMatch(/^Ctrl-C ends this view; the work goes on/)
    expect(out).toBe('Finished.')
    expect(drawn).toHaveLength(5)
    expect(drawn[0]![0]).toMatch(/^aa11000000000000 {2}repair blocks +\[-{24}\] {4}0.0% {2}0 checked$/)
    expect(drawn[1]![0]).toMatch(/\[#{6}-{18}\] {3}25.0% {2}1000 checked {2}1000\/s {2}3s left$/)
    expect(drawn[2]![1]).toMatch(/\[#{24}\] {2}100.0% {2}done: 1000 checked, 0 changed$/)
    expect(drawn[4]).toEqual([])
    expect(calls[1]).toEqual({ operation: 'worker.list', args: { node: '*' } })
  })

  it('is not waited for with --no-wait, nor with --json', async () => {
    for (const flag of ['--no-wait', '--json']) {
      const { drawn, calls, status } = await cli(['repair', '--yes', 'blocks', flag], {
        answers: blocksOfTwo(),
        terminal: true,
      })
      expect(status).toBe(0)
      expect(drawn).toEqual([])
      expect(calls.map(({ operation }) => operation)).toEqual(['repair.launch'])
    }
  })
})

describe('a repair without a terminal', () => {
  it('returns at once, as in Garage', async () => {
    const { out, calls } = await cli(['repair', '-a', '--yes', 'blocks'], { answers: blocksOfTwo() })
    expect(out.split('\n')).toEqual([
      'aa11000000000000  Repair launched',
      'aa22000000000000  Repair launched',
    ])
    expect(calls).toHaveLength(1)
  })

  it('tells each change of a state in one line with --wait', async () => {
    const { err, out, status } = await cli(['repair', '-a', '--yes', '--wait', 'blocks'], {
      answers: blocksOfTwo(),
    })
    expect(status).toBe(0)
    expect(err.split('\n')).toEqual([
      'aa11000000000000  repair blocks: running',
      'aa22000000000000  repair blocks: running',
      'aa22000000000000  repair blocks: done: 1000 checked, 0 changed',
      'aa11000000000000  repair blocks: done: 4000 checked, 0 changed',
    ])
    expect(out).toContain('aa11000000000000  repair blocks: done')
  })

  it('fails when the repair failed', async () => {
    const failed = { ...repairAt(1, 7), lastError: { message: 'disk on fire', secsAgo: 1 } }
    const { err, status } = await cli(['repair', '--yes', '--wait', 'blocks'], {
      answers: looks({ [NODE_A]: [repairAt(0, 0)] }, { [NODE_A]: [failed] }),
    })
    expect(status).toBe(1)
    expect(err).toMatch(/repair blocks: failed: disk on fire\ncarport: repair blocks failed on 1 of 1 nodes/)
  })

  it('of versions says that there is nothing to repair', async () => {
    const { out, status, calls } = await cli(['repair', '--yes', 'versions'], {})
    expect({ status, calls }).toEqual({ status: 0, calls: [] })
    expect(out).toMatch(/^There is nothing to repair in versions/)
  })
})

describe('worker watch', () => {
  it('shows scrubs and moves of data, but not what ended before', async () => {
    const scrub = (progress: number) =>
      worker('Block scrub', {
        state: progress < 1 ? 'busy' : 'idle',
        progress: progress < 1 ? 'some' : null,
        work: { done: progress < 1 ? progress : null, checked: 10, changed: 0 },
      })
    const answers = looks(
      { [NODE_A]: [scrub(0.5), repairAt(1, 3)] },
      { [NODE_A]: [scrub(0.75), repairAt(1, 3)] },
      { [NODE_A]: [scrub(1), repairAt(1, 3)] },
    )
    const role = { zone: 'z', tags: [], capacity: 1 }
    const lengths = [40, 30, 0]
    answers.status = () => ({
      layoutVersion: 1,
      nodes: [nodeStatus(NODE_A, { role, syncQueueLength: lengths.shift() ?? 0 })],
    })
    const { drawn, out } = await cli(['worker', 'watch'], { answers, terminal: true })
    expect(drawn[1]!.map((line) => line.replace(/ {2,}/g, ' '))).toEqual([
      'aa11000000000000 scrub [##################------] 75.0% 10 checked 1500%/min 1s left',
      'aa11000000000000 sync [######------------------] 25.0% 30 left 10/s 3s left',
    ])
    expect(drawn[2]!.every((line) => line.includes('100.0%') && line.includes('done'))).toBe(true)
    expect(out).toBe('Finished.')
    const idle = await cli(['worker', 'watch'], { answers: looks({ [NODE_A]: [repairAt(1, 3)] }) })
    expect(idle.out).toBe('No long work is under way.')
  })
})

describe('rates and times', () => {
  it('steady work is told with its true rate and the time that it takes', () => {
    const positive = fc.integer({ min: 1, max: 1_000_000 })
    fc.assert(
      fc.property(
        positive,
        fc.integer({ min: 2, max: 50 }),
        fc.integer({ min: 1, max: 20 }),
        (count, steps, at) => {
          const meter = new Meter()
          let pace = meter.add(0, 0, 0)
          const seen = Math.min(at, steps - 1)
          for (let i = 1; i <= seen; i++) pace = meter.add(i * 1000, i / steps, i * count)
          expect(pace.perSecond).toBeCloseTo(count, 6)
          expect(pace.leftMs! / 1000).toBeCloseTo(steps - seen, 6)
        },
      ),
    )
  })

  it('work that begins anew or stands still gives no time left', () => {
    const meter = new Meter()
    meter.add(0, 0.5, 100)
    meter.add(1000, 0.6, 200)
    expect(meter.add(2000, 0.1, 0)).toEqual({
      perSecond: undefined,
      sharePerSecond: undefined,
      leftMs: undefined,
    })
    expect(meter.add(3000, 0.1, 0).leftMs).toBeUndefined()
  })

  it.each([
    [0, '0s'],
    [400, '0s'],
    [59_400, '59s'],
    [60_000, '1m'],
    [3_725_000, '1h 2m'],
    [90_000_000, '1d 1h'],
  ])('%d ms are %s', (ms, text) => {
    expect(timeText(ms)).toBe(text)
  })

  it('a name cannot move the cursor', () => {
    const task: Task = {
      ...{ node: NODE_A, name: 'repair blocks', state: 'failed', done: 0.5, count: 1, counts: 'checked' },
      message: 'a\u001b[2Jb',
    }
    const pace = { perSecond: undefined, sharePerSecond: undefined, leftMs: undefined }
    expect(barLine(task, pace, 0.5)).not.toContain('\u001b')
  })
})
