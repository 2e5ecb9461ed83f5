import { beforeEach, describe, expect, test, vi } from 'vitest'
import { MemoryDb } from '../../../testing/memory-db.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { SimClock } from '../../../testing/sim-clock.js'
import type { RpcHandler } from '../../net/transport.js'
import { makeBallot } from '../../table/ballot.js'
import { CarportError } from '../../util/errors.js'
import { silentLog } from '../../util/log.js'
import { versionId } from '../content/refs.js'
import type { VersionRecord } from '../versions/record.js'
import { tombstoneOf } from '../versions/tables.js'
import { EventDelivery, type EventMessage } from './delivery.js'
import { EVENT_DUE_TREE, EVENT_TREES } from './queue.js'
import type { EventRule } from './rules.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** Partition 0: nodes a, b, c deliver in this order. */
const BUCKET = Buffer.alloc(16)
const RULE: EventRule = {
  id: 'r',
  arn: 'arn:carport:sqs::t:webhook',
  form: 'queue',
  target: 't',
  events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*'],
}

let clock: SimClock
let nodes: Map<string, TestReplica>
/** What the target got: sender and name of the object. */
let got: { from: string; key: string; message: EventMessage }[]
let targetWorks: boolean
/** The names of the targets that nodes are configured with when they start. */
let targets: string[]
/** Targets that are down though others work. */
let deadTargets: string[]
/** How many events may wait for a target; undefined: as many as do by default. */
let backlogMax: number | undefined
/** What became of rows that were written on a condition, by id. */
let fates: Map<string, 'yes' | 'no' | 'open'>

/** One replica of the bucket: its own store, its own connection to the target. */
class TestReplica {
  up = true
  db = new MemoryDb({ trees: EVENT_TREES })
  handler: RpcHandler | undefined
  delivery: EventDelivery

  constructor(readonly name: string) {
    this.delivery = this.#make()
  }

  #make(): EventDelivery {
    const { name } = this
    const replicas = () => ['a', 'b', 'c'].filter((other) => nodes.has(other))
    return new EventDelivery(
      {
        db: this.db,
        clock,
        random: new SeededRandom(name),
        log: silentLog,
        placement: { readSet: replicas, storageSet: replicas } as never,
        transport: {
          self: name,
          isConnected: (node: string) => node === name || (this.up && nodes.get(node)!.up),
          handle: (_: string, handler: RpcHandler) => {
            this.handler = handler
          },
          call: async (node: string, _: string, body: unknown) => {
            const other = nodes.get(node)!
            if (!this.up || !other.up) throw new CarportError('PeerUnreachable', 'down')
            return other.handler!(body, { from: name, signal: new AbortController().signal })
          },
        } as never,
        tookEffect: async ({ id }) => {
          const fate = fates.get(id.toString('hex'))
          if (!fate) throw new CarportError('QuorumUnavailable', 'no quorum')
          return fate
        },
        buckets: {
          byId: () => ({
            aliases: ['b'],
            owner: '',
            document: () => targets.map((target) => ({ ...RULE, id: target, target })),
          }),
        } as never,
      },
      {
        region: 'r',
        hostId: name,
        ...(backlogMax !== undefined && { backlogMax }),
        targets: targets.map((target) => ({
          name: target,
          kind: 'webhook',
          send: async (message) => {
            if (!targetWorks || deadTargets.includes(target)) throw new Error('target is down')
            const { key } = JSON.parse(message.body).Records[0].s3.object
            got.push({ from: name, key, message })
          },
          close: async () => {},
        })),
      },
    )
  }

  /** Takes a row over, as its table would. */
  async take(row: VersionRecord): Promise<void> {
    await this.db.transact((tx) => this.delivery.changed(tx, undefined, row))
  }

  /** Stops at once, and comes back with what was durable. */
  async stop(): Promise<void> {
    this.up = false
    await this.delivery.stop()
  }

  async restart(): Promise<void> {
    this.up = true
    this.delivery = this.#make()
    await this.delivery.start()
  }
}

beforeEach(async () => {
  clock = new SimClock()
  got = []
  targetWorks = true
  targets = ['t']
  deadTargets = []
  backlogMax = undefined
  fates = new Map()
  nodes = new Map()
  for (const name of ['a', 'b', 'c']) nodes.set(name, new TestReplica(name))
  for (const node of nodes.values()) await node.delivery.start()
})

const node = (name: string) => nodes.get(name)!

function object(key: string): VersionRecord {
  const timeUs = clock.nowMs() * 1000 + got.length
  const id = versionId(timeUs, Buffer.from(key.padEnd(8)))
  return {
    ...tombstoneOf({ bucket: BUCKET, key: Buffer.from(key), isNull: true, timeUs }, id),
    state: 'object',
  }
}

async function takeEverywhere(row: VersionRecord): Promise<void> {
  for (const each of nodes.values()) if (each.up) await each.take(row)
}

const deliveries = () => got.map(({ from, key }) => `${from} ${key}`)
const backlogs = () => [...nodes.values()].map((each) => each.delivery.queue.backlog)

describe('with three replicas', () => {
  test('the first one delivers at once, the others hear of it', async () => {
    for (const key of ['x', 'y', 'z']) await takeEverywhere(object(key))
    await clock.run(100)
    expect(deliveries().sort()).toEqual(['a x', 'a y', 'a z'])
    expect(backlogs()).toEqual([0, 0, 0])
    await clock.run(HOUR_MS)
    expect(got).toHaveLength(3)
  })

  test('when the first is down, the second delivers; what the first finds out later is no news', async () => {
    await node('a').stop()
    const row = object('x')
    await takeEverywhere(row)
    await clock.run(100)
    expect(deliveries()).toEqual(['b x'])
    await clock.run(HOUR_MS)
    await node('a').restart()
    await node('a').take(row)
    await clock.run(HOUR_MS)
    expect(deliveries()).toEqual(['b x'])
    expect(backlogs()).toEqual([0, 0, 0])
  })

  test('when the first dies with the event undelivered, another delivers after the grace time', async () => {
    targetWorks = false
    await takeEverywhere(object('x'))
    await clock.run(5_000)
    await node('a').stop()
    targetWorks = true
    await clock.run(5 * MINUTE_MS)
    expect(deliveries()).toEqual(['b x'])
    // The first one still has it, and asks before it delivers what is old.
    await node('a').restart()
    await clock.run(HOUR_MS)
    expect(deliveries()).toEqual(['b x'])
    expect(backlogs()).toEqual([0, 0, 0])
  })

  test('when only the last one has the row, it delivers in the end', async () => {
    await node('c').take(object('x'))
    await clock.run(100)
    expect(got).toEqual([])
    await clock.run(2 * MINUTE_MS)
    expect(deliveries()).toEqual(['c x'])
  })

  test('while the target is down, one node tries, ever more rarely, and delivers once it is up', async () => {
    targetWorks = false
    await takeEverywhere(object('x'))
    await clock.run(2 * HOUR_MS)
    const tries = [...nodes.values()].map((each) => each.delivery.counts.failed)
    expect(tries[0]).toBeGreaterThan(20)
    expect(tries[0]).toBeLessThan(100)
    expect(tries.slice(1)).toEqual([0, 0])
    targetWorks = true
    await clock.run(HOUR_MS)
    expect(deliveries()).toEqual(['a x'])
    expect(backlogs()).toEqual([0, 0, 0])
  })

  test('what nobody takes for a day is given up everywhere', async () => {
    targetWorks = false
    await takeEverywhere(object('x'))
    await clock.run(50 * HOUR_MS)
    expect(backlogs()).toEqual([0, 0, 0])
    expect(node('a').delivery.counts.dropped).toBe(1)
  })

  test('an event that waits survives a restart of all nodes', async () => {
    targetWorks = false
    await takeEverywhere(object('x'))
    await clock.run(1_000)
    for (const each of nodes.values()) await each.stop()
    targetWorks = true
    for (const each of nodes.values()) await each.restart()
    await clock.run(HOUR_MS)
    expect(deliveries()).toEqual(['a x'])
  })
})

describe('of a write on a condition', () => {
  const proposed = (key: string): VersionRecord => {
    const row = object(key)
    const ballot = makeBallot(row.timeUs, Buffer.alloc(8, 1))
    return { ...row, generation: 1, chain: { root: Buffer.alloc(16), ballot, lineage: Buffer.alloc(0) } }
  }
  const idOf = (row: VersionRecord) => row.id.toString('hex')

  test('one event is sent once it took effect, also if no quorum could tell at first', async () => {
    const row = proposed('x')
    await takeEverywhere(row)
    await clock.run(3_000)
    fates.set(idOf(row), 'open')
    await clock.run(7_000)
    expect(got).toEqual([])
    fates.set(idOf(row), 'yes')
    await clock.run(10_000)
    expect(deliveries()).toEqual(['a x'])
    await clock.run(HOUR_MS)
    expect(got).toHaveLength(1)
    expect(backlogs()).toEqual([0, 0, 0])
  })

  test('none is sent if another one took its place', async () => {
    const [lost, won] = [proposed('x'), proposed('y')]
    fates.set(idOf(lost), 'no').set(idOf(won), 'yes')
    await takeEverywhere(lost)
    await takeEverywhere(won)
    await clock.run(HOUR_MS)
    expect(deliveries()).toEqual(['a y'])
    expect(backlogs()).toEqual([0, 0, 0])
  })

  test('it is asked about again after a restart', async () => {
    const row = proposed('x')
    await node('a').take(row)
    await node('a').stop()
    fates.set(idOf(row), 'yes')
    await node('a').restart()
    await clock.run(MINUTE_MS)
    expect(deliveries()).toEqual(['a x'])
  })
})

describe('of a target that is down', () => {
  const restartAll = async () => {
    for (const each of nodes.values()) await each.stop()
    for (const each of nodes.values()) await each.restart()
    await clock.run(1000)
  }

  test('the events that wait, also since before a restart, cost other targets none', async () => {
    targets = ['dead', 't']
    deadTargets = ['dead']
    backlogMax = 3
    await restartAll()
    for (const key of ['a', 'b', 'c', 'd', 'e']) await takeEverywhere(object(key))
    await clock.run(MINUTE_MS)
    expect(got.map(({ key }) => key).sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(backlogs()).toEqual([3, 3, 3])
    expect(node('a').delivery.counts.dropped).toBe(2)
    await restartAll()
    await takeEverywhere(object('f'))
    await clock.run(MINUTE_MS)
    expect(got.map(({ key }) => key)).toContain('f')
    expect(backlogs()).toEqual([3, 3, 3])
    deadTargets = []
    await clock.run(HOUR_MS)
    expect(got).toHaveLength(9)
    expect(backlogs()).toEqual([0, 0, 0])
    await takeEverywhere(object('g'))
    await clock.run(MINUTE_MS)
    expect(got).toHaveLength(11)
  })

  test('new events do not end the wait after a failure', async () => {
    targetWorks = false
    for (let i = 0; i < 600; i++) {
      await takeEverywhere(object(`key${i}`))
      await clock.run(1000)
    }
    const { failed } = node('a').delivery.counts
    expect(failed).toBeGreaterThan(5)
    expect(failed).toBeLessThan(30)
    targetWorks = true
    await clock.run(HOUR_MS)
    expect(new Set(got.map(({ key }) => key)).size).toBe(600)
  })

  test('a message that a target refuses does not hold up those that it takes', async () => {
    targets = ['t']
    const send = node('a').delivery.targets[0]!
    const take = send.send.bind(send)
    send.send = async (message) => {
      if (JSON.parse(message.body).Records[0].s3.object.key.startsWith('bad')) throw new Error('refused')
      await take(message)
    }
    for (let i = 0; i < 300; i++) {
      await node('a').take(object(i % 10 === 0 ? `bad${i}` : `key${i}`))
    }
    await clock.run(2 * MINUTE_MS)
    expect(got).toHaveLength(270)
  })
})

test('one row arriving twice is one event', async () => {
  const row = object('x')
  await node('a').take(row)
  await node('a').take(row)
  await clock.run(MINUTE_MS)
  await node('a').take(row)
  await clock.run(MINUTE_MS)
  expect(got).toHaveLength(1)
})

test('rows older than a day, as a moved partition brings them, are no news', async () => {
  const row = object('x')
  await clock.run(25 * HOUR_MS)
  await takeEverywhere(row)
  await clock.run(HOUR_MS)
  expect(got).toEqual([])
})

test('events of a target that is no longer configured are dropped after the start, many in one transaction', async () => {
  const a = node('a')
  targetWorks = false
  const EVENTS = 2500
  await Promise.all(Array.from({ length: EVENTS }, (_, i) => a.take(object(`key${i}`))))
  await a.stop()
  expect(a.delivery.queue.backlog).toBe(EVENTS)
  const transact = vi.spyOn(a.db, 'transact')
  targets = []
  const started = a.restart()
  expect(transact).not.toHaveBeenCalled()
  await started
  expect(a.delivery.queue.backlog).toBe(EVENTS)
  await clock.run(1000)
  expect(a.delivery.queue.backlog).toBe(0)
  expect([...a.db.keys(EVENT_DUE_TREE)]).toEqual([])
  expect(transact.mock.calls.length).toBeLessThan(10)
})

test('messages about events are checked', async () => {
  const context = { from: 'b', signal: new AbortController().signal }
  for (const body of [null, 'x', ['ask'], ['ask', ['x']], ['ask', [Buffer.alloc(5)]], ['fetch', []]]) {
    await expect((async () => node('a').handler!(body, context))()).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
  }
})
