import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { LogLines, startNode, systemRandom, type TestNode, until } from '../../testing/tls-nodes.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from './frames.js'
import { createIdentity } from './identity.js'
import { Link } from './link.js'
import { encodeError, encodeReply, encodeRequest } from './messages.js'
import { BatchPool, QUEUE_BYTES_MAX } from './outbox.js'
import type { RpcHandler } from './transport.js'

const opened: TestNode[] = []

async function node(options?: Parameters<typeof startNode>[0]): Promise<TestNode> {
  const started = await startNode(options)
  opened.push(started)
  return started
}

afterEach(async () => {
  await Promise.all(opened.map(({ transport }) => transport.close()))
  for (const { clock } of opened.splice(0)) expect(clock.pending).toBe(0)
})

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
}

test('two nodes that dial each other at once keep one link, and no call fails', async () => {
  const socketsBefore = openSockets()
  for (let round = 0; round < 8; round++) {
    const [a, b] = [await node(), await node()]
    const events: string[] = []
    const counts = { calls: 0 }
    let running = true
    const options = { timeoutMs: 10_000 }
    for (const { transport } of [a, b]) {
      transport.onLink(({ up }) => events.push(String(up)))
      transport.handle('echo', async (body) => {
        await new Promise((resolve) => setTimeout(resolve, Number(body)))
        return { body }
      })
    }
    const keepCalling = async (from: TestNode, to: TestNode) => {
      for (let i = 0; running || i < 10; i++) {
        expect((await from.transport.call(to.transport.self, 'echo', i % 5, options)).body).toBe(i % 5)
        counts.calls++
      }
    }
    const [toB, toA] = await Promise.all([
      a.transport.connect(b.address, b.transport.self),
      b.transport.connect(a.address, round % 2 === 0 ? a.transport.self : undefined),
    ])
    expect([toB, toA]).toEqual([b.transport.self, a.transport.self])
    const calling = [keepCalling(a, b), keepCalling(b, a), keepCalling(a, b)]
    await until(() => openSockets() === socketsBefore + 2, 'one connection is left')
    running = false
    await Promise.all(calling)
    expect(counts.calls).toBeGreaterThanOrEqual(30)
    expect(events).toEqual(['true', 'true'])
    // Both nodes keep the link that the smaller id dialed.
    const smaller = a.transport.self < b.transport.self ? a : b
    const larger = smaller === a ? b : a
    expect(smaller.transport.linkInfos()).toMatchObject([{ inbound: false }])
    expect(larger.transport.linkInfos()).toMatchObject([{ inbound: true }])
    await Promise.all([a.transport.close(), b.transport.close()])
    await until(() => openSockets() === socketsBefore, 'no socket is left')
  }
})

test('a second link, to another address of the same node, replaces the first without a failure', async () => {
  const [a, b] = [await node(), await node()]
  b.transport.handle('slow', async (body) => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    return { body }
  })
  const events: boolean[] = []
  a.transport.onLink(({ up }) => events.push(up))
  const to = await a.transport.connect(b.address)
  const slow = a.transport.call(to, 'slow', 1, { timeoutMs: 5000 })
  const otherAddress = { host: 'localhost', port: b.address.port }
  expect(await a.transport.connect(otherAddress)).toBe(to)
  expect(a.transport.linkInfos()).toMatchObject([{ address: otherAddress }])
  expect((await slow).body).toBe(1)
  expect((await a.transport.call(to, 'slow', 2, { timeoutMs: 5000 })).body).toBe(2)
  expect(events).toEqual([true])
})

test('a link to an earlier process of a peer gives way at once', async () => {
  const identity = createIdentity(systemRandom)
  const a = await node()
  const before = await node({ identity })
  await before.transport.connect(a.address)
  await until(() => a.transport.links().length === 1, 'the first link')
  a.transport.handle('wait', () => new Promise(() => {}))
  before.transport.handle('wait', () => new Promise(() => {}))
  const waiting = a.transport.call(identity.nodeId, 'wait', null, { timeoutMs: 10_000 })
  const failure = waiting.catch((error) => error)
  const after = await node({ identity })
  after.transport.handle('echo', (body) => ({ body }))
  await after.transport.connect(a.address)
  expect(await failure).toMatchObject({ code: 'PeerUnreachable', message: 'the peer was restarted' })
  expect((await a.transport.call(identity.nodeId, 'echo', 1, { timeoutMs: 5000 })).body).toBe(1)
})

test('a node that dials itself learns its own id and keeps no link', async () => {
  const a = await node()
  expect(await a.transport.connect(a.address)).toBe(a.transport.self)
  expect(a.transport.links()).toEqual([])
  expect(a.log.lines).toEqual([])
})

test('calls to the same address at once share one dial', async () => {
  const [a, b] = [await node(), await node()]
  const ids = await Promise.all([1, 2, 3].map(() => a.transport.connect(b.address)))
  expect(new Set(ids)).toEqual(new Set([b.transport.self]))
  await until(() => b.transport.links().length === 1, 'b knows the link')
})

test('close gives up dials under way and leaves nothing open', async () => {
  const socketsBefore = openSockets()
  const [a, b] = [await node(), await node()]
  await a.transport.connect(b.address)
  const dialing = a.transport.connect(
    { host: '127.0.0.1', port: b.address.port },
    createIdentity(systemRandom).nodeId,
  )
  const failure = dialing.catch((error) => error)
  await a.transport.close()
  expect(await failure).toMatchObject({ code: 'Closed' })
  await expect(a.transport.connect(b.address)).rejects.toMatchObject({ code: 'Closed' })
  await b.transport.close()
  await until(() => openSockets() === socketsBefore, 'no socket is left')
})

/** A clock that stands still until `advance`. */
class ManualClock implements Clock {
  #nowMs = 0
  #timers: { atMs: number; fn: () => void }[] = []

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, fn: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, fn }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  advance(ms: number): void {
    const endMs = this.#nowMs + ms
    for (;;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= endMs).toSorted((x, y) => x.atMs - y.atMs)
      if (!next) break
      this.#nowMs = next.atMs
      this.#timers = this.#timers.filter((other) => other !== next)
      next.fn()
    }
    this.#nowMs = endMs
  }
}

/** One link with handlers for calls with and without streams, on a socket that the test feeds. */
function linkOn(socket: Duplex) {
  const log = new LogLines()
  const handlers = new Map<string, RpcHandler>([
    ['echo', (body) => ({ body })],
    ['streams', (_body, { stream }) => ({ body: null, ...(stream && { stream }) })],
    ['wait', () => new Promise(() => {})],
  ])
  const link = new Link({
    socket,
    firstBytes: Buffer.alloc(0),
    peer: 'peer',
    dialed: false,
    trustPeerTime: true,
    handlers,
    clock: new ManualClock(),
    hlc: undefined,
    log,
    pool: new BatchPool(),
    onDown: () => {},
  })
  link.start()
  return { link, log }
}

test('no frames, in whatever order, do more than drop the link', async () => {
  const message = fc.oneof(
    fc.constantFrom('echo', 'streams', 'wait', 'none').map((method) => encodeRequest(1, 1000, method, null)),
    fc.constant(encodeReply(1, null, 'x')),
    fc.constant(encodeError(1, new CarportError('Timeout', 'late'))),
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  )
  const fixedBytes: Record<number, number> = {
    [FrameType.stop]: 0,
    [FrameType.credit]: 4,
    [FrameType.cancel]: 0,
    [FrameType.ping]: 8,
    [FrameType.pong]: 8,
    [FrameType.drained]: 0,
  }
  const frame = fc
    .record({
      type: fc.constantFrom(...Object.values(FrameType)),
      flags: fc.constantFrom(0, 1, 1, 1, 3, 3, 5),
      id: fc.constantFrom(1, 1, 1, 3, 5, 2, 4, 0),
      message,
    })
    .map(({ type, flags, id, message }) => {
      const payload = fixedBytes[type] === undefined ? message : Buffer.alloc(fixedBytes[type], 1)
      const allowed =
        type === FrameType.request ? 15 : type === FrameType.reply ? 3 : type <= FrameType.data ? 1 : 0
      const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length)
      writeFrameHeader(bytes, 0, type, flags & allowed, payload.length, id)
      payload.copy(bytes, FRAME_HEADER_BYTES)
      return bytes
    })
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 20 }), async (frames) => {
      const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
      const { link, log } = linkOn(socket)
      const calls = [1, 2].map(() => link.call('x', null, { timeoutMs: 1000 }).catch((error) => error))
      for (const bytes of frames) socket.push(bytes)
      await turns()
      expect(log.text).not.toContain('internal error')
      link.fail('the end')
      await Promise.all(calls)
    }),
    { numRuns: 300 },
  )
})

test('a link whose peer does not read refuses calls once its queue is full', async () => {
  const { link } = linkOn(new Duplex({ read() {}, write: () => {} }))
  const body = Buffer.alloc(8_000_000)
  const calls = Array.from({ length: 12 }, () =>
    link.call('x', body, { timeoutMs: 1000 }).catch((error) => error),
  )
  await turns()
  const refused = await link.call('x', body, { timeoutMs: 1000 }).catch((error) => error)
  expect(refused).toMatchObject({ code: 'PeerUnreachable', message: 'the link is overloaded' })
  expect(link.outbox.queuedBytes).toBeLessThan(QUEUE_BYTES_MAX + 8_100_000)
  link.fail('the end')
  await Promise.all(calls)
})

/** Two links joined in memory; `cut` swallows everything from then on. */
function joinedLinks(clock: Clock) {
  let cut = false
  const sides: Duplex[] = []
  const end = (other: number) =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        if (!cut) sides[other]!.push(Buffer.from(chunk))
        done()
      },
    })
  sides.push(end(1), end(0))
  const log = new LogLines()
  const links = sides.map(
    (socket, i) =>
      new Link({
        socket,
        firstBytes: Buffer.alloc(0),
        peer: `side ${1 - i}`,
        dialed: i === 0,
        trustPeerTime: true,
        handlers: new Map([['wait', () => new Promise<never>(() => {})]]),
        clock,
        hlc: undefined,
        log,
        pool: new BatchPool(),
        onDown: () => {},
      }),
  )
  for (const link of links) link.start()
  return {
    link: links[0]!,
    other: links[1]!,
    log,
    cut: () => {
      cut = true
    },
  }
}

const turns = async () => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

test('a link whose peer answers pings stays, however long it is idle', async () => {
  const clock = new ManualClock()
  const { link } = joinedLinks(clock)
  for (let i = 0; i < 100; i++) {
    await turns()
    clock.advance(1000)
  }
  expect(link.isDown).toBe(false)
  expect(link.rttMs).toBe(0)
})

test('a link whose peer falls silent is given up within ten seconds', async () => {
  const clock = new ManualClock()
  const { link, log, cut } = joinedLinks(clock)
  await turns()
  const call = link.call('wait', null, { timeoutMs: 60_000 }).catch((error) => error)
  cut()
  clock.advance(5000)
  await turns()
  expect(link.isDown).toBe(false)
  clock.advance(5000)
  expect(link.isDown).toBe(true)
  expect(await call).toMatchObject({ code: 'PeerUnreachable', message: 'the peer is silent' })
  expect(log.lines.filter(({ message }) => message.includes('silent')).length).toBeGreaterThan(0)
})

test('a link that is drained by both sides closes once the last call is served', async () => {
  const clock = new ManualClock()
  const { link, other } = joinedLinks(clock)
  await turns()
  const controller = new AbortController()
  const call = link
    .call('wait', null, { timeoutMs: 60_000, signal: controller.signal })
    .catch((error) => error)
  link.drain()
  other.drain()
  await turns()
  expect(link.mayClose).toBe(false)
  controller.abort(new Error('served'))
  expect(await call).toMatchObject({ message: 'served' })
  await turns()
  expect(link.mayClose).toBe(true)
})
