import { getEventListeners } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import {
  CountingClock,
  countBytes,
  LogLines,
  SECRET,
  startNode,
  type TestNode,
  until,
} from '../../testing/tls-nodes.js'
import { Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { connectAsClient } from './client.js'
import { MESSAGE_BYTES_MAX } from './messages.js'
import { WINDOW_BYTES_MAX } from './streams.js'
import { Priority } from './transport.js'

const MIB = 1024 * 1024
const opened: TestNode[] = []

async function node(options?: Parameters<typeof startNode>[0]): Promise<TestNode> {
  const started = await startNode(options)
  opened.push(started)
  return started
}

/** Two linked nodes: `a` calls, `b` serves. */
async function pair(options?: Parameters<typeof startNode>[0]) {
  const [a, b] = [await node(options), await node()]
  const to = await a.transport.connect(b.address, b.transport.self)
  return { a, b, to }
}

afterEach(async () => {
  await Promise.all(opened.map(({ transport }) => transport.close()))
  for (const { clock } of opened.splice(0)) expect(clock.pending).toBe(0)
})

async function* chunks(count: number, bytes: number, made?: (bytes: number) => void, ended?: () => void) {
  try {
    for (let i = 0; i < count; i++) {
      made?.(bytes)
      yield Buffer.alloc(bytes, i)
    }
  } finally {
    ended?.()
  }
}

/** The same contract holds for a link and for calls to the own id. */
describe.each(['over a link', 'in-process'])('calls %s', (where) => {
  async function setup() {
    const { a, b, to } = await pair()
    return where === 'over a link'
      ? { caller: a.transport, server: b.transport, serverLog: b.log, to, from: a.transport.self }
      : {
          caller: a.transport,
          server: a.transport,
          serverLog: a.log,
          to: a.transport.self,
          from: a.transport.self,
        }
  }
  const options = { timeoutMs: 5000 }

  test('carry values both ways and tell who called', async () => {
    const { caller, server, to, from } = await setup()
    server.handle('echo', (body, context) => ({ body: { body, from: context.from } }))
    const body = {
      text: 'ä',
      bytes: Buffer.from([1, 2]),
      list: [1, null, true, -1.5],
      time: 1_700_000_000_000_123,
    }
    expect((await caller.call(to, 'echo', body, options)).body).toEqual({ body, from })
  })

  test('many at once each get their own reply', async () => {
    const { caller, server, to } = await setup()
    server.handle('double', async (body) => {
      await Promise.resolve()
      return { body: Number(body) * 2 }
    })
    const replies = await Promise.all(
      Array.from({ length: 500 }, (_, i) => caller.call(to, 'double', i, options)),
    )
    expect(replies.map(({ body }) => body)).toEqual(replies.map((_, i) => 2 * i))
  })

  test('fail with the code that the handler threw', async () => {
    const { caller, server, to, serverLog } = await setup()
    server.handle('full', () => {
      throw new CarportError('StorageFull', 'no space')
    })
    server.handle('bug', async () => {
      throw new TypeError('x is undefined')
    })
    const full = await caller.call(to, 'full', null, options).catch((error) => error)
    expect(full).toBeInstanceOf(CarportError)
    expect(full).toMatchObject({ code: 'StorageFull', message: 'no space' })
    expect(serverLog.lines).toEqual([])
    await expect(caller.call(to, 'bug', null, options)).rejects.toMatchObject({
      code: 'RemoteError',
      message: 'bug: x is undefined',
    })
    expect(serverLog.text).toContain('RPC handler failed')
    await expect(caller.call(to, 'none', null, options)).rejects.toMatchObject({ code: 'RemoteError' })
  })

  test('of a node that shuts down fail as of one that cannot be reached: the own node goes on', async () => {
    const { a, b, to } = await pair()
    b.transport.handle('late', () => {
      throw new CarportError('Closed', 'the database is closed')
    })
    await expect(a.transport.call(to, 'late', null, { timeoutMs: 5000 })).rejects.toMatchObject({
      code: 'PeerUnreachable',
      message: 'the database is closed',
    })
  })

  test('that take too long fail, and abort the handler', async () => {
    const { caller, server, to } = await setup()
    let aborted: unknown
    server.handle('slow', (_body, { signal }) => {
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted = signal.reason
          reject(signal.reason)
        })
      })
    })
    await expect(caller.call(to, 'slow', null, { timeoutMs: 30 })).rejects.toMatchObject({ code: 'Timeout' })
    await until(() => aborted instanceof CarportError, 'the handler is aborted')
  })

  test('are given up when their signal aborts', async () => {
    const { caller, server, to } = await setup()
    let handlerSignal: AbortSignal | undefined
    server.handle('wait', (_body, { signal }) => {
      handlerSignal = signal
      return new Promise(() => {})
    })
    const controller = new AbortController()
    const call = caller.call(to, 'wait', null, { ...options, signal: controller.signal })
    await until(() => handlerSignal !== undefined, 'the handler runs')
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    await until(() => handlerSignal!.aborted, 'the handler is aborted')
    await expect(caller.call(to, 'wait', null, { ...options, signal: controller.signal })).rejects.toThrow(
      'enough',
    )
  })

  test('leave no listener at their signal, however they end', async () => {
    const { caller, server, to } = await setup()
    const { signal } = new AbortController()
    server.handle('echo', (body) => ({ body }))
    server.handle('fail', () => {
      throw new CarportError('NotFound', 'no')
    })
    server.handle('never', () => new Promise(() => {}))
    server.handle('sink', async (_body, { stream }) => {
      for await (const _ of stream!);
      return { body: null }
    })
    server.handle('source', () => ({ body: null, stream: chunks(5, 1000) }))
    const call = (method: string, more: object = {}) =>
      caller.call(to, method, null, { ...options, signal, ...more })
    for (let i = 0; i < 5; i++) {
      await call('echo')
      await expect(call('fail')).rejects.toMatchObject({ code: 'NotFound' })
      await expect(call('never', { timeoutMs: 5 })).rejects.toMatchObject({ code: 'Timeout' })
      await call('sink', { stream: chunks(5, 1000) })
      for await (const _ of (await call('source')).stream!);
      await (await call('source')).stream![Symbol.asyncIterator]().return?.()
    }
    await until(() => getEventListeners(signal, 'abort').length === 0, 'the listeners are gone')
  })

  test('carry a stream each way, with a slow reader never far behind the source', async () => {
    const { caller, server, to } = await setup()
    let made = 0
    let read = 0
    let aheadMax = 0
    const count = (bytes: number) => {
      made += bytes
      aheadMax = Math.max(aheadMax, made - read)
    }
    const readSlowly = async (stream: AsyncIterable<Buffer>) => {
      let steps = 0
      for await (const chunk of stream) {
        read += chunk.length
        if (++steps % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
      }
      return read
    }
    server.handle('sink', async (_body, { stream }) => ({ body: await readSlowly(stream!) }))
    server.handle('source', () => ({ body: 'follows', stream: chunks(200, 100_000, count) }))

    const upload = { ...options, stream: chunks(200, 100_000, count), priority: Priority.background }
    expect((await caller.call(to, 'sink', null, upload)).body).toBe(20_000_000)
    made = 0
    read = 0
    const { body, stream } = await caller.call(to, 'source', null, options)
    expect(body).toBe('follows')
    expect(await readSlowly(stream!)).toBe(20_000_000)
    // The window (which grows when round trips are slow), the read-ahead and a chunk at either end.
    expect(aheadMax).toBeLessThan(WINDOW_BYTES_MAX + 64 * 1024 + 3 * 100_000)
  })

  test('keep the bytes of a stream in order, whatever its chunks', async () => {
    const { caller, server, to } = await setup()
    server.handle('echo', (_body, { stream }) => ({ body: null, stream: stream! }))
    const sizes = [0, 1, 16_376, 16_377, 100_000, 3, 3_000_000, 0]
    const parts = sizes.map((size, i) => Buffer.alloc(size, `part ${i}.`))
    async function* source() {
      yield* parts
    }
    const { stream } = await caller.call(to, 'echo', null, { ...options, stream: source() })
    const received: Buffer[] = []
    for await (const chunk of stream!) received.push(Buffer.from(chunk))
    expect(Buffer.concat(received).equals(Buffer.concat(parts))).toBe(true)
  })

  test('end the source of a stream whose reader stops early', async () => {
    const { caller, server, to } = await setup()
    let ended = 0
    const end = () => ended++
    server.handle('first', async (_body, { stream }) => {
      for await (const chunk of stream!) return { body: chunk[0] }
      return { body: 'nothing' }
    })
    server.handle('unread', () => ({ body: 'not needed' }))
    server.handle('source', () => ({ body: null, stream: chunks(1e9, 50_000, undefined, end) }))
    const endless = () => chunks(1e9, 50_000, undefined, end)
    expect((await caller.call(to, 'first', null, { ...options, stream: endless() })).body).toBe(0)
    await until(() => ended === 1, 'the source of the request is ended')
    const { stream } = await caller.call(to, 'source', null, options)
    for await (const _chunk of stream!) break
    await until(() => ended === 2, 'the source of the reply is ended')
  })

  test('pass on the failure of the source of a stream', async () => {
    const { caller, server, to } = await setup()
    async function* breaking() {
      yield Buffer.alloc(1000)
      throw new CarportError('Corrupted', 'bad block')
    }
    server.handle('source', () => ({ body: null, stream: breaking() }))
    server.handle('sink', async (_body, { stream }) => ({ body: await countBytes(stream!) }))
    const { stream } = await caller.call(to, 'source', null, options)
    await expect(countBytes(stream!)).rejects.toMatchObject({ code: 'Corrupted', message: 'bad block' })
    await expect(caller.call(to, 'sink', null, { ...options, stream: breaking() })).rejects.toMatchObject({
      code: 'Corrupted',
    })
  })

  test('time out when a stream falls silent, not while it flows', async () => {
    const { caller, server, to } = await setup()
    let ended = 0
    async function* dripping(count: number, pauseMs: number) {
      try {
        for (let i = 0; i < count; i++) {
          yield Buffer.alloc(10)
          await new Promise((resolve) => setTimeout(resolve, pauseMs).unref())
        }
      } finally {
        ended++
      }
    }
    server.handle('sink', async (_body, { stream, signal }) => {
      const bytes = await countBytes(stream!)
      return { body: [bytes, signal.aborted] }
    })
    server.handle('source', () => ({ body: null, stream: dripping(2, 2500) }))
    // It flows for longer than the time limit, with pauses that are far shorter.
    const timely = { timeoutMs: 1000, stream: dripping(50, 25) }
    expect((await caller.call(to, 'sink', null, timely)).body).toEqual([500, false])
    const silent = caller.call(to, 'sink', null, { timeoutMs: 300, stream: dripping(2, 2500) })
    await expect(silent).rejects.toMatchObject({ code: 'Timeout' })
    const { stream } = await caller.call(to, 'source', null, { timeoutMs: 300 })
    await expect(countBytes(stream!)).rejects.toMatchObject({ code: 'Timeout' })
    await until(() => ended === 3, 'every source is ended')
  })
})

describe('a link', () => {
  const options = { timeoutMs: 5000 }

  test('is one for both directions, and measures the round trip', async () => {
    const { a, b, to } = await pair()
    a.transport.handle('hello', () => ({ body: 'from a' }))
    await until(() => b.transport.isConnected(a.transport.self), 'b knows the link')
    expect((await b.transport.call(a.transport.self, 'hello', null, options)).body).toBe('from a')
    await until(() => a.transport.rttMs(to) !== undefined, 'a knows the round-trip time')
    expect(a.transport.rttMs(to)).toBeLessThan(1000)
    expect(a.transport.rttMs(a.transport.self)).toBe(0)
    expect(await a.transport.connect(b.address)).toBe(to)
    expect(a.transport.linkInfos()).toMatchObject([{ node: to, address: b.address, inbound: false }])
    expect(b.transport.linkInfos()).toMatchObject([{ node: a.transport.self, inbound: true }])
  })

  test('serves an urgent call while a background stream fills it', async () => {
    const { a, b, to } = await pair()
    b.transport.handle('ping', () => ({ body: 'pong' }))
    b.transport.handle('sink', async (_body, { stream }) => ({ body: await countBytes(stream!) }))
    let running = true
    async function* endless() {
      while (running) yield Buffer.alloc(MIB)
    }
    const background = { ...options, stream: endless(), priority: Priority.background }
    const transfer = a.transport.call(to, 'sink', null, background)
    for (let i = 0; i < 20; i++) {
      const urgent = { timeoutMs: 2000, priority: Priority.control }
      expect((await a.transport.call(to, 'ping', null, urgent)).body).toBe('pong')
    }
    running = false
    expect((await transfer).body).toBeGreaterThan(0)
  })

  test('is not held up by a stream that nobody reads', async () => {
    const { a, b, to } = await pair()
    b.transport.handle('source', () => ({ body: null, stream: chunks(100, MIB) }))
    const unread = await a.transport.call(to, 'source', null, options)
    const read = await a.transport.call(to, 'source', null, options)
    expect(await countBytes(read.stream!)).toBe(100 * MIB)
    await unread.stream![Symbol.asyncIterator]().return?.()
  })

  test('carries large messages up to the limit, and refuses larger ones', async () => {
    const { a, b, to } = await pair()
    b.transport.handle('length', (body) => ({ body: (body as Buffer).length }))
    b.transport.handle('make', (body) => ({ body: Buffer.alloc(Number(body)) }))
    const fits = MESSAGE_BYTES_MAX - 1000
    expect((await a.transport.call(to, 'length', Buffer.alloc(fits), options)).body).toBe(fits)
    expect((await a.transport.call(to, 'make', fits, options)).body).toHaveLength(fits)
    await expect(
      a.transport.call(to, 'length', Buffer.alloc(MESSAGE_BYTES_MAX), options),
    ).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
    await expect(a.transport.call(to, 'make', MESSAGE_BYTES_MAX, options)).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
    expect(a.transport.isConnected(to)).toBe(true)
  })

  test('that breaks fails what is under way as PeerUnreachable', async () => {
    const { a, b, to } = await pair()
    let handlerSignal: AbortSignal | undefined
    b.transport.handle('wait', (_body, { signal }) => {
      handlerSignal = signal
      return new Promise(() => {})
    })
    b.transport.handle('source', () => ({ body: null, stream: chunks(1000, MIB) }))
    let ended = false
    const endless = chunks(1e9, 1000, undefined, () => {
      ended = true
    })
    const waiting = a.transport.call(to, 'wait', null, { ...options, stream: endless })
    const { stream } = await a.transport.call(to, 'source', null, options)
    await until(() => handlerSignal !== undefined, 'the handler runs')
    const failures = Promise.allSettled([waiting, countBytes(stream!)])
    await b.transport.close()
    expect(await failures).toMatchObject([
      { status: 'rejected', reason: { code: 'PeerUnreachable' } },
      { status: 'rejected', reason: { code: 'PeerUnreachable' } },
    ])
    expect(handlerSignal!.aborted).toBe(true)
    await until(() => ended, "the request's source is ended")
    expect(a.transport.isConnected(to)).toBe(false)
    await expect(a.transport.call(to, 'wait', null, options)).rejects.toMatchObject({
      code: 'PeerUnreachable',
    })
    await expect(b.transport.call(a.transport.self, 'x', null, options)).rejects.toMatchObject({
      code: 'Closed',
    })
  })

  test("teaches each side the other's time", async () => {
    const ahead = new CountingClock()
    ahead.nowMs = () => Date.now() + 30_000
    const { a, b, to } = await pair({ hlc: new Hlc(ahead) })
    b.transport.handle('time', () => ({ body: b.hlc.now() }))
    const sentUs = a.hlc.now()
    const { body } = await a.transport.call(to, 'time', null, options)
    expect(body).toBeGreaterThan(sentUs)
    expect(a.hlc.now()).toBeGreaterThan(Number(body))
  })

  test('that breaks is waited for by the calls that come meanwhile', async () => {
    const { a, b, to } = await pair()
    b.transport.handle('hello', () => ({ body: 'again' }))
    a.transport.disconnect(to)
    expect(a.transport.isConnected(to)).toBe(false)
    const call = a.transport.call(to, 'hello', null, options)
    await a.transport.connect(b.address, to)
    expect((await call).body).toBe('again')
    a.transport.disconnect(to)
    const alone = a.transport.call(to, 'hello', null, { timeoutMs: 30 })
    await expect(alone).rejects.toMatchObject({ code: 'PeerUnreachable' })
  })

  test('tells when it comes and goes', async () => {
    const [a, b] = [await node(), await node()]
    const events: string[] = []
    a.transport.onLink(({ node, up, remoteHost }) =>
      events.push(`${node === b.transport.self} ${up} ${remoteHost}`),
    )
    const unsubscribe = b.transport.onLink(({ up }) => events.push(`b ${up}`))
    await a.transport.connect(b.address)
    await until(() => b.transport.links().length === 1, 'b knows the link')
    unsubscribe()
    a.transport.disconnect(b.transport.self)
    await until(() => b.transport.links().length === 0, 'b lost the link')
    expect(events.toSorted()).toEqual(['b true', 'true false 127.0.0.1', 'true true 127.0.0.1'])
  })
})

describe('a client', () => {
  const client = (to: TestNode, options: { rpcSecret?: Buffer; expectedId?: string } = {}) =>
    connectAsClient({ ...to.address, rpcSecret: SECRET, clock: to.clock, log: new LogLines(), ...options })

  test('calls a node without being a peer of it', async () => {
    const server = await node()
    server.transport.handle('who', (_body, { from }) => ({ body: from }))
    const first = await client(server, { expectedId: server.transport.self })
    const second = await client(server)
    expect(first.node).toBe(server.transport.self)
    const { body } = await first.call('who', null, { timeoutMs: 5000 })
    expect(body).toMatch(/^[0-9a-f]{64}$/)
    expect((await second.call('who', null, { timeoutMs: 5000 })).body).not.toBe(body)
    expect(server.transport.links()).toEqual([])
    await first.close()
    await second.close()
  })

  test('is refused with a wrong secret, and refuses a wrong node', async () => {
    const server = await node()
    await expect(client(server, { rpcSecret: Buffer.alloc(32) })).rejects.toMatchObject({
      code: 'PeerUnreachable',
      message: expect.stringContaining('another rpc_secret'),
    })
    await expect(client(server, { expectedId: '0'.repeat(64) })).rejects.toMatchObject({ code: 'Conflict' })
  })
})

test('a method has one handler', async () => {
  const { transport } = await node()
  transport.handle('x', () => ({ body: 1 }))
  expect(() => transport.handle('x', () => ({ body: 2 }))).toThrow('has a handler already')
})
