import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { RawClient } from '../../../testing/s3-front.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { silentLog } from '../../util/log.js'
import { admissionLimits, LimitedAdmission, OverloadedError, reservedFiles } from './admission.js'
import type { Answer } from './answer.js'
import { HTTP_SERVER_OPTIONS, HttpFront } from './front.js'
import { HttpRequest } from './request.js'

const GIB = 1024 ** 3
const unset = { maxConnections: null, maxRequests: null }

describe('limits', () => {
  test('follow from the machine', () => {
    expect(admissionLimits(unset, { openFiles: 1_048_576, memoryBytes: 8 * GIB })).toEqual({
      connections: 20_000,
      requests: 512,
    })
    expect(admissionLimits(unset, { openFiles: 1024, memoryBytes: GIB / 2 })).toEqual({
      connections: 768,
      requests: 128,
    })
    expect(admissionLimits(unset, { openFiles: 65_536, memoryBytes: GIB / 8 })).toEqual({
      connections: 1024,
      requests: 64,
    })
  })

  test('leave descriptors for disks and peers, whatever is configured', () => {
    const settings = { maxConnections: 5000, maxRequests: 1000 }
    for (const openFiles of [256, 1024, 4096, 65_536]) {
      const { connections, requests } = admissionLimits(settings, { openFiles, memoryBytes: GIB })
      expect(connections).toBe(Math.min(5000, openFiles - reservedFiles(openFiles)))
      expect(openFiles - connections).toBeGreaterThanOrEqual(128)
      expect(requests).toBe(1000)
    }
  })
})

test('places of short requests are not taken by long ones', () => {
  const admission = new LimitedAdmission({ connections: 100, requests: 8 }, new ManualClock(), silentLog)
  const socket = new Socket()
  const admitted = Array.from({ length: 10 }, () => admission.admitRequest(socket, true))
  expect(admitted.filter(Boolean)).toHaveLength(6)
  expect(admission.admitRequest(socket, false)).toBe(true)
  // Its answer turns out to be long.
  expect(admission.admitBulk()).toBe(false)
  admission.endRequest(true)
  expect(admission.admitBulk()).toBe(true)
  expect(admission.admitRequest(socket, false)).toBe(true)
  expect(admission.admitRequest(socket, false)).toBe(true)
  expect(admission.admitRequest(socket, false)).toBe(false)
  expect(admission.stats()).toMatchObject({ requests: 8, bulk: 6, refused: 6 })
  for (let i = 0; i < 6; i++) admission.endRequest(true)
  for (let i = 0; i < 2; i++) admission.endRequest(false)
  expect(admission.stats()).toMatchObject({ requests: 0, bulk: 0 })
})

let server: Server
const clients: RawClient[] = []

afterEach(() => {
  for (const client of clients.splice(0)) client.socket.destroy()
  server?.close()
})

/** A front that answers at once, or, to /stream, with a body that goes on until the test ends it. */
async function start(limits: { connections: number; requests: number }) {
  const ends: (() => void)[] = []
  const admission = new LimitedAdmission(limits, new ManualClock(), silentLog)
  async function* endless(): AsyncGenerator<Buffer> {
    yield Buffer.from('begin')
    await new Promise<void>((resolve) => ends.push(resolve))
  }
  const front = new HttpFront(
    {
      Request: HttpRequest,
      requestIdHeader: 'x-request-id',
      serve: (request): Answer =>
        request.rawPath === '/stream' ? { status: 200, body: endless() } : { status: 200, body: 'served' },
      errorAnswer: (error) => {
        const isOverloaded = error instanceof OverloadedError
        return { status: isOverloaded ? 503 : 500, code: 'SlowDown', cause: error, body: 'SlowDown' }
      },
      brokenRequest: () => ({ status: 400, contentType: 'text/plain', body: '' }),
    },
    { clock: new ManualClock(), random: new SeededRandom(1), log: silentLog, admission },
  )
  server = createServer(HTTP_SERVER_OPTIONS)
  front.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const open = async () => {
    const client = new RawClient((server.address() as AddressInfo).port)
    clients.push(client)
    await once(client.socket, 'connect')
    return client
  }
  return { admission, open, ends }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

test('connections above the limit are told so and closed; others come in when there is room', async () => {
  const { admission, open } = await start({ connections: 2, requests: 100 })
  const first = await open()
  const second = await open()
  for (const client of [first, second]) await client.send(get('/')).untilText('served')
  const third = await open()
  const answer = await third.send(get('/')).untilClosed()
  expect(answer).toMatch(/^HTTP\/1\.1 503 .*Connection: close.*SlowDown$/s)
  first.socket.destroy()
  await expect.poll(() => admission.stats().connections).toBe(1)
  await (await open()).send(get('/')).untilText('served')
})

test('a flood of connections leaves a few to be answered, and closes the rest at once', async () => {
  const { admission, open } = await start({ connections: 1, requests: 100 })
  await (await open()).send(get('/')).untilText('served')
  const many = await Promise.all(Array.from({ length: 100 }, open))
  await expect.poll(() => many.filter(({ closed }) => closed).length).toBe(36)
  expect(admission.stats().connections).toBe(65)
})

test('a long answer is refused when too many are under way, before anything of it is sent', async () => {
  const { admission, open, ends } = await start({ connections: 100, requests: 4 })
  const streams = [await open(), await open(), await open()]
  for (const client of streams) await client.send(get('/stream')).untilText('begin')
  const refused = await (await open()).send(get('/stream')).untilText('SlowDown')
  expect(refused).toMatch(/^HTTP\/1\.1 503 /)
  await (await open()).send(get('/')).untilText('served')
  for (const end of ends) end()
  await expect.poll(() => admission.stats()).toMatchObject({ requests: 0, bulk: 0 })
})
