import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import {
  CountingClock,
  LogLines,
  SECRET,
  startNode,
  systemRandom,
  type TestNode,
  until,
} from '../../testing/tls-nodes.js'
import { connectAsClient } from './client.js'
import { secureContext } from './dial.js'
import { FLAG_END, FRAME_HEADER_BYTES, FrameType, writeFrameHeader } from './frames.js'
import { ALPN_PROTOCOL, encodeHello, helloBytes, Role, Verdict } from './handshake.js'
import { createIdentity } from './identity.js'
import { encodeRequest } from './messages.js'
import { HANDSHAKE_MS_MAX } from './secure-connection.js'

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

/** Resolves when the other side closed the socket. */
async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {})
  socket.resume()
  await new Promise<void>((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })
}

/** A connection to a node from another address of this machine. */
function from(localAddress: string, to: TestNode): Socket {
  const socket = connectTcp({ ...to.address, localAddress })
  socket.on('error', () => {})
  return socket
}

async function tlsStranger(to: TestNode): Promise<TLSSocket> {
  const socket = connectTls({
    ...to.address,
    secureContext: secureContext(createIdentity(systemRandom)),
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN_PROTOCOL],
  })
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

/** A peer with the right secret that then writes its own frames. */
async function rawPeer(to: TestNode): Promise<TLSSocket> {
  const socket = await tlsStranger(to)
  const hello = {
    verdict: Verdict.welcome,
    role: Role.peer,
    versions: { min: 1, max: 1 },
    incarnation: '00'.repeat(8),
    dialNumber: 1,
    hlcUs: 0,
  }
  socket.write(encodeHello(hello, 'dialer', SECRET, socket))
  const [answer] = await once(socket, 'data')
  expect(helloBytes(answer as Buffer)).toBeDefined()
  await until(() => to.transport.links().length === 1, 'the link is up')
  return socket
}

function frame(type: number, flags: number, id: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length)
  writeFrameHeader(bytes, 0, type as FrameType, flags, payload.length, id)
  payload.copy(bytes, FRAME_HEADER_BYTES)
  return bytes
}

/** A node's clock that fires its timers of just this length when the test says so. */
class HastyClock extends CountingClock {
  readonly handshakes: (() => void)[] = []

  override after(delayMs: number, fn: () => void) {
    if (delayMs === HANDSHAKE_MS_MAX) this.handshakes.push(fn)
    return super.after(delayMs, fn)
  }
}

describe('a stranger is dropped with one log line', () => {
  test('when it does not speak TLS', async () => {
    const server = await node()
    const socket = connectTcp(server.address)
    socket.write('GET / HTTP/1.1\r\n\r\n')
    await closed(socket)
    await until(() => server.log.lines.length > 0, 'a log line')
    expect(server.log.lines).toHaveLength(1)
    expect(server.log.text).toContain('RPC connection dropped')
  })

  test('when it sends garbage over TLS', async () => {
    const server = await node()
    const socket = await tlsStranger(server)
    socket.write(systemRandom.bytes(100_000))
    await closed(socket)
    expect(server.log.lines).toHaveLength(1)
    expect(server.log.text).toContain('does not speak this protocol')
  })

  test('when it speaks another protocol over TLS', async () => {
    const server = await node()
    const socket = connectTls({ ...server.address, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
    await closed(socket)
    await until(() => server.log.lines.length > 0, 'a log line')
    expect(server.log.lines).toHaveLength(1)
  })

  test.each(['before TLS', 'after TLS'])('when it says nothing %s', async (stage) => {
    const clock = new HastyClock()
    const server = await node({ clock })
    const socket = stage === 'after TLS' ? await tlsStranger(server) : connectTcp(server.address)
    // The server sends the session ticket when its side of the TLS handshake is done.
    if (stage === 'after TLS') await once(socket, 'session')
    await until(() => clock.handshakes.length === 1, 'the deadline runs')
    clock.handshakes[0]!()
    await closed(socket)
    expect(server.log.lines).toHaveLength(1)
    expect(server.log.text).toContain('no handshake within')
    expect(server.transport.links()).toEqual([])
  })

  // Only Linux gives loopback more than one IPv4 address without being asked.
  const addresses = test.skipIf(process.platform !== 'linux')

  addresses('when it is the oldest of too many from the address that has the most', async () => {
    const server = await node()
    const [first, elsewhere] = [from('127.0.0.2', server), from('127.0.0.9', server)]
    await Promise.all([once(first, 'connect'), once(elsewhere, 'connect')])
    const dropped = closed(first)
    const others = Array.from({ length: 150 }, (_, i) => from(`127.0.0.${2 + (i % 3)}`, server))
    await dropped
    expect(server.log.text).toContain('too many unfinished handshakes')
    expect(elsewhere.closed).toBe(false)
    for (const other of [elsewhere, ...others]) other.destroy()
  })

  addresses('when its address has used up its share; the address of a peer is not among those', async () => {
    // No share comes back while the connections come in.
    const clock = new CountingClock()
    clock.monotonicMs = () => 0
    const server = await node({ clock })
    const sockets = Array.from({ length: 300 }, () => from('127.0.0.2', server))
    await until(() => server.log.text.includes('too many new connections'), 'the share is used up')
    const peer = await node()
    expect(await peer.transport.connect(server.address)).toBe(server.transport.self)
    // The first line of a kind comes at once; the summary of the others when the listener closes.
    expect(server.log.lines).toHaveLength(1)
    for (const socket of sockets) socket.destroy()
    await server.transport.close()
    expect(server.log.text).toContain('"count":235')
  })

  test('when it has another secret; both sides say why', async () => {
    const [server, caller] = [await node(), await node({ rpcSecret: Buffer.alloc(32, 9) })]
    await expect(caller.transport.connect(server.address)).rejects.toMatchObject({
      code: 'PeerUnreachable',
      message: expect.stringContaining('another rpc_secret'),
    })
    await until(() => server.log.lines.length > 0, 'a log line')
    expect(server.log.lines).toHaveLength(1)
    expect(server.log.text).toContain('another rpc_secret')
    expect(server.transport.links()).toEqual([])
  })

  test('when no protocol version is common to both', async () => {
    const server = await node({ versions: { min: 2, max: 3 } })
    const [old, recent] = [await node(), await node({ versions: { min: 1, max: 2 } })]
    await expect(old.transport.connect(server.address)).rejects.toMatchObject({
      message: expect.stringContaining('no protocol version in common'),
    })
    await until(() => server.log.lines.length > 0, 'a log line')
    expect(server.log.text).toContain('speaks only protocol versions 1 to 1')
    expect(await recent.transport.connect(server.address)).toBe(server.transport.self)
  })
})

test('another node than the expected one is not even given a proof', async () => {
  const [server, caller] = [await node(), await node()]
  const other = createIdentity(systemRandom).nodeId
  await expect(caller.transport.connect(server.address, other)).rejects.toMatchObject({ code: 'Conflict' })
  expect(caller.transport.links()).toEqual([])
  expect(server.transport.links()).toEqual([])
})

test('nobody at an address is PeerUnreachable, one that never answers a Timeout', async () => {
  const clock = new HastyClock()
  const caller = await node({ clock })
  const gone = await node()
  await gone.transport.close()
  await expect(caller.transport.connect(gone.address)).rejects.toMatchObject({ code: 'PeerUnreachable' })
  const silent = createTcpServer()
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const waiting = caller.transport.connect({
    host: '127.0.0.1',
    port: (silent.address() as AddressInfo).port,
  })
  const [accepted] = (await once(silent, 'connection')) as [Socket]
  clock.handshakes.at(-1)!()
  await expect(waiting).rejects.toMatchObject({ code: 'Timeout' })
  await closed(accepted)
  silent.close()
})

test('a client cannot make up an identity, and brings no time along', async () => {
  const server = await node()
  server.transport.handle('now', () => ({ body: server.hlc.now() }))
  const clock = new CountingClock()
  clock.nowMs = () => Date.now() + 3_600_000
  const client = await connectAsClient({ ...server.address, rpcSecret: SECRET, clock, log: new LogLines() })
  const { body } = await client.call('now', null, { timeoutMs: 5000 })
  expect(body).toBeLessThan((Date.now() + 60_000) * 1000)
  await client.close()
})

test('connections that are reset before they are taken are nothing', async () => {
  const server = await node()
  const { host, port } = server.address
  // This process stands still meanwhile, so all of them are gone when it looks.
  const resets = `
    const { connect } = require('node:net')
    let left = 50
    for (let i = left; i > 0; i--) {
      const socket = connect({ host: '${host}', port: ${port} }, () => socket.resetAndDestroy())
      socket.on('close', () => { if (--left === 0) process.exit() })
    }`
  execFileSync(process.execPath, ['-e', resets])
  const caller = await node()
  expect(await caller.transport.connect(server.address)).toBe(server.transport.self)
})

describe('a peer that breaks the protocol is dropped with one log line', () => {
  const request = encodeRequest(0, 1000, 'x', null)
  test.each([
    ['garbage', Buffer.alloc(200, 0xee)],
    ['an oversized frame', Buffer.from([FrameType.data, 0, 0xff, 0xff, 0, 0, 0, 1])],
    ['a message that is not MessagePack', frame(FrameType.request, FLAG_END, 1, Buffer.from([0xc1]))],
    ['a request without its fields', frame(FrameType.request, FLAG_END, 1, Buffer.from([0x90]))],
    ['a request with an id of ours', frame(FrameType.request, FLAG_END, 2, request)],
    ['a reply to a call of its own', frame(FrameType.reply, FLAG_END, 1, request)],
    [
      'an oversized message',
      Buffer.concat(Array.from({ length: 600 }, () => frame(FrameType.request, 0, 1, Buffer.alloc(16_000)))),
    ],
  ])('%s', async (_what, bytes) => {
    const server = await node()
    const socket = await rawPeer(server)
    socket.write(bytes)
    await closed(socket)
    expect(server.log.lines).toHaveLength(1)
    expect(server.log.text).toContain('broke the protocol')
    expect(server.transport.links()).toEqual([])
  })

  test('a stream beyond its credit', async () => {
    const server = await node()
    server.transport.handle('never reads', () => new Promise(() => {}))
    const socket = await rawPeer(server)
    socket.write(frame(FrameType.request, FLAG_END | 2, 1, encodeRequest(0, 1000, 'never reads', null)))
    for (let i = 0; i < 100; i++) socket.write(frame(FrameType.data, 0, 1, Buffer.alloc(16_000)))
    await closed(socket)
    expect(server.log.text).toContain('beyond its credit')
  })
})
