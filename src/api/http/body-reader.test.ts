import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { ByteBudget } from '../../util/byte-budget.js'
import { BodyReader } from './body-reader.js'
import { IdleWatch } from './idle-watch.js'
import { DOCUMENT_RATE, OBJECT_RATE } from './least-rate.js'

function start(memory?: ByteBudget) {
  const clock = new ManualClock()
  const body = Object.assign(new PassThrough(), { headers: {} })
  const watch = new IdleWatch(clock, 60_000)
  const reader = new BodyReader(body as unknown as IncomingMessage, watch, undefined, memory)
  /** Sends `bytes` each second for as long as the reader takes them. */
  const drip = async (bytes: number, seconds: number, isOver: () => boolean) => {
    let second = 0
    for (; second < seconds && !isOver(); second++) {
      body.write(Buffer.alloc(bytes))
      await clock.advance(1000)
    }
    return second
  }
  return { clock, body, reader, drip }
}

test('a document that comes by single bytes is given up after 20 to 25 seconds', async () => {
  const { reader, drip } = start()
  let failure: unknown
  const whole = reader.collect(4 << 20).catch((error) => {
    failure = error
  })
  const seconds = await drip(1, 600, () => failure !== undefined)
  await whole
  expect(failure).toMatchObject({ code: 'Idle' })
  expect(seconds).toBeGreaterThan(DOCUMENT_RATE.graceMs / 1000)
  expect(seconds).toBeLessThanOrEqual(26)
})

test('a document that comes at the least speed is read, however long it takes', async () => {
  const { body, reader, drip } = start()
  const whole = reader.collect(4 << 20)
  expect(await drip(DOCUMENT_RATE.bytesPerSecond, 300, () => false)).toBe(300)
  body.end()
  expect((await whole).length).toBe(300 * DOCUMENT_RATE.bytesPerSecond)
})

test('a content that comes as fast as from an old modem is read, one that trickles is not', async () => {
  const read = async (bytesPerSecond: number) => {
    const { body, reader, drip } = start()
    let failure: { code?: string } | undefined
    const reading = (async () => {
      while (await reader.next());
    })().catch((error) => {
      failure = error
    })
    const seconds = await drip(bytesPerSecond, 1000, () => failure !== undefined)
    body.end()
    await reading
    return { code: failure?.code, seconds }
  }
  expect(await read(1700)).toEqual({ code: undefined, seconds: 1000 })
  const trickle = await read(10)
  expect(trickle.code).toBe('Idle')
  expect(trickle.seconds * 1000).toBeLessThan(OBJECT_RATE.graceMs + 10_000)
})

test('time in which nobody reads does not count', async () => {
  const { clock, body, reader } = start()
  body.write('a')
  expect((await reader.next())?.toString()).toBe('a')
  await clock.advance(600_000)
  const next = reader.next()
  await clock.advance(10_000)
  body.write('b')
  expect((await next)?.toString()).toBe('b')
})

test('the rest of a body that nobody wants is not waited for when it trickles', async () => {
  const { reader, drip } = start()
  let whole: boolean | undefined
  const discarding = reader.discard(1 << 20).then((result) => {
    whole = result
  })
  const seconds = await drip(1, 600, () => whole !== undefined)
  await discarding
  expect(whole).toBe(false)
  expect(seconds).toBeLessThanOrEqual(26)
})

test.each([
  ['hold', (reader: BodyReader) => reader.hold(1000)],
  ['collect', (reader: BodyReader) => reader.collect(1 << 20)],
])('a request whose client has gone takes no memory that nobody would give back (%s)', async (_, take) => {
  const memory = new ByteBudget(10 << 20)
  const { reader } = start(memory)
  reader.close()
  await expect(take(reader)).rejects.toMatchObject({ code: 'Aborted' })
  expect(memory.usedBytes).toBe(0)
})

test('a request whose client goes while it waits for memory gets none', async () => {
  const memory = new ByteBudget(1000)
  const { reader } = start(memory)
  memory.acquire(1000)
  const waiting = reader.hold(500)
  reader.close()
  memory.release(1000)
  await expect(waiting).rejects.toMatchObject({ code: 'Aborted' })
  expect([memory.usedBytes, memory.waiting]).toEqual([0, 0])
})

test('nothing stays taken of the memory of all requests, whenever the client goes away', async () => {
  const MIB = 1 << 20
  const body = () =>
    Object.assign(new PassThrough(), {
      headers: { 'content-length': `${MIB}` },
    }) as unknown as IncomingMessage
  const uses: Record<string, (reader: BodyReader) => unknown> = {
    hold: (reader) => reader.hold(MIB),
    'hold twice at the same time': (reader) => Promise.all([reader.hold(MIB), reader.hold(MIB)]),
    'try to hold': (reader) => reader.tryHold(MIB),
    'hold less later': (reader) => Promise.resolve(reader.hold(MIB)).then(() => reader.keep(1000)),
    'read a document': (reader) => reader.collect(MIB),
  }
  for (const [name, use] of Object.entries(uses)) {
    for (const isShort of [false, true]) {
      for (const leaves of ['before', 'meanwhile', 'after'] as const) {
        const memory = new ByteBudget(4 * MIB)
        const message = body()
        const reader = new BodyReader(message, new IdleWatch(new ManualClock(), 60_000), undefined, memory)
        if (isShort) memory.adjust(4 * MIB)
        const leave = () => {
          message.destroy()
          reader.close()
        }
        if (leaves === 'before') leave()
        const used = Promise.resolve(use(reader)).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'Aborted' })
        })
        if (leaves === 'meanwhile') leave()
        if (isShort) memory.release(4 * MIB)
        if (leaves === 'after') setImmediate(leave)
        await used
        await new Promise((resolve) => setImmediate(resolve))
        expect([name, isShort, leaves, memory.usedBytes, memory.waiting]).toEqual([
          name,
          isShort,
          leaves,
          0,
          0,
        ])
      }
    }
  }
})
