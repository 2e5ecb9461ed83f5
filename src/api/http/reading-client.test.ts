import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { silentLog } from '../../util/log.js'
import type { Answer } from './answer.js'
import { HTTP_SERVER_OPTIONS, HttpFront } from './front.js'
import { HttpRequest } from './request.js'

const MIB = 1024 * 1024
const BODY_BYTES = 32 * MIB
const STEP_BYTES = 2 * MIB
/** Less than the idle time, which passes many times. */
const STEP_MS = 40_000

test.each([
  ['in one piece', '/whole'],
  ['as a stream', '/stream'],
])('a client that reads slowly gets an answer %s, one that stops is cut off', async (_, path) => {
  const body = Buffer.alloc(BODY_BYTES)
  async function* stream(): AsyncGenerator<Buffer> {
    yield body
  }
  const clock = new ManualClock()
  const front = new HttpFront(
    {
      Request: HttpRequest,
      requestIdHeader: 'x-request-id',
      serve: ({ rawPath }): Answer => ({
        status: 200,
        headers: { 'Content-Length': BODY_BYTES },
        body: rawPath === '/whole' ? body : stream(),
      }),
      errorAnswer: (cause) => ({ status: 500, code: 'Broken', cause }),
      brokenRequest: () => ({ status: 400, contentType: 'text/plain', body: '' }),
    },
    { clock, random: new SeededRandom(1), log: silentLog },
  )
  const server = createServer(HTTP_SERVER_OPTIONS)
  front.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const open = () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const client = { socket, received: 0, closed: false, until: 0 }
    socket.on('data', (data) => {
      client.received += data.length
      if (client.received >= client.until) socket.pause()
    })
    socket.on('close', () => {
      client.closed = true
    })
    socket.on('error', () => {})
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    return client
  }
  try {
    const slow = open()
    const stopped = open()
    stopped.until = STEP_BYTES
    await expect.poll(() => front.inFlight).toBe(2)
    await expect.poll(() => stopped.received).toBeGreaterThanOrEqual(STEP_BYTES)
    while (slow.received < BODY_BYTES && !slow.closed) {
      slow.until = Math.min(slow.received + STEP_BYTES, BODY_BYTES)
      slow.socket.resume()
      await expect.poll(() => slow.closed || slow.received >= slow.until).toBe(true)
      // The system moves what it has room for now.
      await sleep(20)
      await clock.advance(STEP_MS)
    }
    expect(slow.closed).toBe(false)
    expect(slow.received).toBeGreaterThanOrEqual(BODY_BYTES)
    stopped.until = Number.POSITIVE_INFINITY
    stopped.socket.resume()
    await expect.poll(() => stopped.closed).toBe(true)
    expect(stopped.received).toBeLessThan(BODY_BYTES)
    slow.socket.destroy()
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
