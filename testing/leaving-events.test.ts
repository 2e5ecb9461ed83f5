import { expect, test } from 'vitest'
import type { EventMessage } from '../src/model/events/delivery.js'
import { SeededRandom } from './seeded-random.js'
import { roleOf, type SimNode } from './sim-cluster.js'
import { EVENT_RULE } from './sim-events.js'
import { bucketOn, copyOn, liveLayouts, onCluster, remove, waitUntil } from './sim-histories.js'
import { newVersion, sourceOf } from './sim-objects.js'

const MINUTE_MS = 60_000

test('a node that has left the layout tells of a write on a condition, though nothing is left of its key', {
  timeout: 60_000,
}, async () => {
  const told: EventMessage[] = []
  let isUp = false
  const target = {
    ...{ name: EVENT_RULE.target, kind: 'webhook' },
    async send(message: EventMessage) {
      if (!isUp) throw new Error('the target is away')
      told.push(message)
    },
    async close() {},
  }
  const options = {
    ...{ nodes: 3, zones: 3, replicationFactor: 1, contestsMs: 2 * MINUTE_MS },
    tables: { tombstoneDelayMs: 20_000 },
    events: () => ({ targets: [target], region: 'r', hostId: 'h' }),
  }
  await onCluster(options, async (c) => {
    const [a, , leaver] = c.nodes as [SimNode, SimNode, SimNode]
    const id = await bucketOn(c, leaver)
    const { model } = a.core!
    const bucket = model.buckets.byId(id)!
    await model.buckets.setDocument(bucket, 'notification', [EVENT_RULE])
    await c.clock.sleep(5_000)
    const stored = await model.blobs.write(sourceOf(Buffer.from('content'), new SeededRandom('content')))
    await model.objects.put(newVersion(bucket, 'key', stored.md5), stored, 'off', () => {})
    await remove(a, id, 'key')
    await waitUntil(c, 'the tombstone is collected', () => copyOn(leaver, id, 'key') === '-', 30 * MINUTE_MS)
    const successor = await c.grow()
    const changes = [
      { node: leaver.id, role: null },
      { node: successor.id, role: roleOf(successor) },
    ]
    await c.changeLayout(changes, a)
    await waitUntil(c, 'it has left', () => liveLayouts(leaver).join() === '2', 30 * MINUTE_MS)
    const { queue } = leaver.core!.model.events
    expect([queue.backlog, told.length]).toEqual([2, 0])
    isUp = true
    await c.clock.sleep(20 * MINUTE_MS)
    expect([queue.backlog, told.length]).toEqual([0, 2])
  })
})
