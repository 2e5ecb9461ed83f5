import { expect, it } from 'vitest'
import { ManualClock } from '../../../../testing/cluster-fakes.js'
import { QueueHistory } from './queues.js'

it('the lengths of queues are remembered for an hour, a quarter of an hour apart, the oldest first', async () => {
  const clock = new ManualClock()
  let entries = 0
  const none = { stats: () => ({ queued: 0 }) }
  const history = new QueueHistory({
    clock,
    db: { count: () => 7 },
    tables: { retry: { status: () => ({ entries }) } },
    model: { purge: { backlog: 0 } },
    blocks: {
      refs: { ...none, oldestAgeMs: () => 4000 },
      resync: none,
      local: { counts: { nextDueMs: () => clock.nowMs() - 9000 } },
    },
  } as unknown as ConstructorParameters<typeof QueueHistory>[0])
  const fact = (name: string) => history.facts().find((queue) => queue.name === name)
  history.start()
  expect(fact('missedWrites')).toEqual({ name: 'missedWrites', length: 0, oldestSecs: null, before: [] })
  for (entries = 1; entries <= 6; entries++) await clock.advance(15 * 60_000)
  expect(fact('missedWrites')).toMatchObject({ length: 7, before: [3, 4, 5, 6] })
  expect(fact('blockReferences')!.oldestSecs).toBe(4)
  expect(fact('blockResync')!.oldestSecs).toBe(9)
  expect(fact('tombstones')).toMatchObject({ length: 7, oldestSecs: null })
  history.stop()
  await clock.advance(3600_000)
  expect(fact('missedWrites')!.before).toEqual([3, 4, 5, 6])
})
