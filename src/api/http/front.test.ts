import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { RawClient } from '../../../testing/s3-front.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { CarportError } from '../../util/errors.js'
import type { Log } from '../../util/log.js'
import { type Admission, OverloadedError } from './admission.js'
import type { Answer, ErrorAnswer } from './answer.js'
import { HTTP_SERVER_OPTIONS, HttpFront, type Protocol, type RequestRecord } from './front.js'
import { HttpRequest } from './request.js'

class EchoRequest extends HttpRequest {
  override get operationName() {
    return 'Echo'
  }
}

/** A protocol that echoes bodies: /fail throws, /away finds no quorum, /full has no room, /late rejects, /wait answers when it is told to. */
class EchoProtocol implements Protocol<EchoRequest> {
  readonly Request = EchoRequest
  readonly requestIdHeader = 'x-request-id'
  answerWaiting: (() => void)[] = []

  serve(request: EchoRequest): Answer | Promise<Answer> {
    if (request.rawPath === '/fail') throw new Error('the inside')
    if (request.rawPath === '/away') throw new CarportError('QuorumUnavailable', 'one of two answered')
    if (request.rawPath === '/full') throw new OverloadedError()
    if (request.rawPath === '/late') return Promise.reject(new Error('the inside'))
    if (request.rawPath === '/wait') {
      return new Promise((resolve) => this.answerWaiting.push(() => resolve({ status: 204 })))
    }
    return request.reader.collect(100).then((body) => ({ status: 200, body }))
  }

  errorAnswer(error: unknown): ErrorAnswer {
    const isAway = error instanceof OverloadedError || error instanceof CarportError
    const code = isAway ? 'Busy' : 'Broken'
    return { status: isAway ? 503 : 500, body: `${code}!`, code, cause: error }
  }

  brokenRequest(reason: string) {
    return { status: 400, contentType: 'text/plain', body: reason }
  }

  originHeaders() {
    return { 'access-control-allow-origin': '*' }
  }
}

let server: Server
const clients: RawClient[] = []

async function start(admission?: Admission) {
  const protocol = new EchoProtocol()
  const records: RequestRecord[] = []
  const errors: object[] = []
  const warnings: object[] = []
  const log: Log = {
    ...{ debug() {}, info() {}, child: () => log },
    warn: (fields) => void warnings.push(fields),
    error: (fields) => void errors.push(fields),
  }
  const clock = new ManualClock(0)
  const front = new HttpFront(protocol, {
    clock,
    random: new SeededRandom(1),
    log,
    onRequest: (record) => records.push(record),
    ...(admission && { admission }),
  })
  server = createServer(HTTP_SERVER_OPTIONS)
  front.attach(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const client = () => {
    const made = new RawClient((server.address() as AddressInfo).port)
    clients.push(made)
    return made
  }
  return { front, clock, protocol, records, errors, warnings, client }
}

afterEach(() => {
  for (const client of clients.splice(0)) client.socket.destroy()
  server.close()
})

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`

test('requests are served, named by an id, and recorded', async () => {
  const { client, records } = await start()
  const echo = client().send('PUT /echo HTTP/1.1\r\nHost: a\r\nOrigin: b\r\nContent-Length: 5\r\n\r\nhello')
  const answer = await echo.untilText('\r\n\r\nhello')
  expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  expect(answer).toContain('access-control-allow-origin: *')
  const requestId = /x-request-id: (\w+)/.exec(answer)?.[1]
  expect(records).toEqual([
    expect.objectContaining({ requestId, method: 'PUT', operation: 'Echo', status: 200, bytesReceived: 5 }),
  ])
})

test.each(['/fail', '/late'])(
  '%s is answered as the protocol says, and logged with its cause',
  async (path) => {
    const { client, records, errors } = await start()
    const answer = await client().send(get(path)).untilText('Broken!')
    expect(answer).toMatch(/^HTTP\/1\.1 500 /)
    expect(answer).not.toContain('the inside')
    expect(errors).toEqual([expect.objectContaining({ code: 'Broken', error: new Error('the inside') })])
    expect(records).toEqual([expect.objectContaining({ status: 500, errorCode: 'Broken' })])
  },
)

test.each([
  ['/away', 'other nodes are away', 'one of two answered'],
  ['/full', 'their clients ask for too much', 'too many requests in flight'],
])(
  '%s: requests that fail since %s are one line, and one more for all that follow',
  async (path, _, error) => {
    const { client, front, errors, warnings } = await start()
    for (let i = 0; i < 20; i++) await client().send(get(path)).untilText('Busy!')
    const kind = { operation: 'Echo', code: 'Busy' }
    expect(warnings).toEqual([{ ...kind, requestId: expect.any(String), error }])
    await front.drain()
    expect(warnings.slice(1)).toEqual([{ ...kind, count: 19, kinds: 1 }])
    expect(errors).toEqual([])
  },
)

const MIB = 1024 * 1024

/** Sends a body to which there is an answer before it is read, and does not look at the answer for now. */
async function sendUnread(bodyBytes: number) {
  const { client, clock } = await start()
  const arrived = once(server, 'connection')
  const sender = client()
  sender.socket.pause()
  sender.send(`PUT /fail HTTP/1.1\r\nHost: a\r\nContent-Length: ${bodyBytes}\r\n\r\n`)
  const [socket] = (await arrived) as [Socket]
  for (let left = bodyBytes; left > 0; left -= MIB) sender.send(Buffer.alloc(MIB))
  return { sender, socket, clock }
}

test('a client that sends all of a body before it reads gets the answer', async () => {
  const { sender } = await sendUnread(32 * MIB)
  await expect.poll(() => sender.socket.writableLength, { timeout: 30_000 }).toBe(0)
  sender.socket.resume()
  expect(await sender.untilClosed()).toMatch(/^HTTP\/1\.1 500 .*Broken!$/s)
})

test('a client that sends more than is thrown away has time to read the answer, and no more', async () => {
  const { sender, socket, clock } = await sendUnread(96 * MIB)
  await expect.poll(() => socket.bytesRead, { timeout: 30_000 }).toBeGreaterThan(64 * MIB)
  await expect
    .poll(() => socket.isPaused() || socket.readableFlowing === false, { timeout: 30_000 })
    .toBe(true)
  sender.socket.resume()
  expect(await sender.untilText('Broken!')).toMatch(/^HTTP\/1\.1 500 .*Connection: close/s)
  expect(sender.closed).toBe(false)
  await clock.advance(5_000)
  await sender.untilClosed()
})

test('what is no HTTP is answered in the protocol’s form', async () => {
  const { client } = await start()
  const answer = await client().send('nonsense\r\n\r\n').untilClosed()
  expect(answer).toMatch(/^HTTP\/1\.1 400 .*malformed$/s)
})

test('a drained front ends what it serves, and closes the connections', async () => {
  const { client, front, protocol } = await start()
  const waiting = client().send(get('/wait'))
  await expect.poll(() => front.inFlight).toBe(1)
  const drained = front.drain()
  for (const answer of protocol.answerWaiting) answer()
  expect(await waiting.untilClosed()).toMatch(/^HTTP\/1\.1 204 .*Connection: close/s)
  await drained
  expect(front.inFlight).toBe(0)
})

test('requests that are not admitted are answered at once, and those that are give their place back', async () => {
  let free = 1
  const { client, protocol, errors } = await start({
    admitConnection: () => true,
    isSurplus: () => false,
    admitBulk: () => true,
    admitRequest: () => free > 0 && free-- > 0,
    endRequest: () => void free++,
  })
  const first = client().send(get('/wait'))
  await expect.poll(() => protocol.answerWaiting.length).toBe(1)
  expect(await client().send(get('/echo')).untilText('Busy!')).toMatch(/^HTTP\/1\.1 503 /)
  protocol.answerWaiting[0]!()
  await first.untilText('204')
  await expect.poll(() => free).toBe(1)
  await client().send(get('/echo')).untilText('200 OK')
  expect(errors).toEqual([])
})

test('connections that are not admitted are closed before anything is read', async () => {
  const { client, records } = await start({
    admitConnection: () => false,
    isSurplus: () => false,
    admitBulk: () => true,
    admitRequest: () => true,
    endRequest() {},
  })
  expect(await client().send(get('/echo')).untilClosed()).toBe('')
  expect(records).toEqual([])
})
