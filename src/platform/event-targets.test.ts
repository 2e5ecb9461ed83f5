import { createHmac } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { NotificationTarget } from '../config/notifications.js'
import type { EventTarget } from '../model/events/delivery.js'
import { eventTargets } from './event-targets.js'

const cleanups: (() => Promise<unknown> | unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

function target(config: Partial<NotificationTarget> & Pick<NotificationTarget, 'type' | 'url'>): EventTarget {
  const [made] = eventTargets([
    { name: 't', user: null, secret: null, subject: 'carport.events', list: 'carport:events', ...config },
  ])
  cleanups.push(() => made!.close())
  return made!
}

const message = { id: 'ab12', body: '{"Records":[{"ä":1}]}' }

describe('a webhook', () => {
  async function hook(status: number, secret: string | null = null) {
    const got: { request: IncomingMessage; body: string }[] = []
    const server = createHttpServer((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk
      })
      request.on('end', () => {
        got.push({ request, body })
        response.writeHead(status, status === 302 ? { Location: '/other' } : {}).end('answer')
      })
    })
    const port = await listen(server)
    return { got, made: target({ type: 'webhook', url: `http://127.0.0.1:${port}/hook`, secret }) }
  }

  test('gets the message, signed with its secret', async () => {
    const { got, made } = await hook(204, 'key')
    await made.send(message)
    expect(got).toHaveLength(1)
    expect(got[0]!.body).toBe(message.body)
    expect(got[0]!.request.url).toBe('/hook')
    const signature = createHmac('sha256', 'key').update(message.body).digest('hex')
    expect(got[0]!.request.headers).toMatchObject({
      'content-type': 'application/json',
      'x-carport-event-id': 'ab12',
      'x-carport-signature-256': `sha256=${signature}`,
    })
  })
  test.each([302, 400, 503])('that answers %i has not taken it', async (status) => {
    const { made } = await hook(status)
    await expect(made.send(message)).rejects.toThrow()
  })
  test('that is not there has not either', async () => {
    await expect(target({ type: 'webhook', url: 'http://127.0.0.1:1/' }).send(message)).rejects.toThrow()
  })
})

describe('NATS', () => {
  /** A server that speaks as much of NATS's protocol as a publishing client needs. */
  function fakeNats(options: { token?: string } = {}) {
    const published: string[] = []
    const connects: Record<string, unknown>[] = []
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      const info = { server_id: 'x', version: '2.10.0', proto: 1, headers: true, max_payload: 1 << 20 }
      socket.write(`INFO ${JSON.stringify({ ...info, auth_required: options.token !== undefined })}\r\n`)
      let rest = Buffer.alloc(0)
      socket.on('data', (chunk) => {
        rest = Buffer.concat([rest, chunk])
        for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
          const line = rest.toString('utf8', 0, end)
          const [verb] = line.split(' ')
          if (verb === 'PUB' || verb === 'HPUB') {
            const size = Number(line.split(' ').at(-1))
            if (rest.length < end + 2 + size + 2) return
            published.push(`${line.split(' ')[1]} ${rest.toString('utf8', end + 2, end + 2 + size)}`)
            rest = rest.subarray(end + 2 + size + 2)
            continue
          }
          rest = rest.subarray(end + 2)
          if (verb === 'PING') socket.write('PONG\r\n')
          if (verb === 'CONNECT') {
            const connect = JSON.parse(line.slice(8)) as Record<string, unknown>
            connects.push(connect)
            if (options.token !== undefined && connect.auth_token !== options.token) {
              socket.end("-ERR 'Authorization Violation'\r\n")
            }
          }
        }
      })
    })
    return { server, published, connects, sockets }
  }

  test('gets the message on its subject, with its id', async () => {
    const { server, published } = fakeNats({ token: 'secret' })
    const port = await listen(server)
    const made = target({ type: 'nats', url: `nats://127.0.0.1:${port}`, secret: 'secret', subject: 'a.b' })
    await made.send(message)
    await made.send(message)
    expect(published).toHaveLength(2)
    expect(published[0]).toMatch(/^a\.b NATS\/1\.0\r\nNats-Msg-Id: ab12\r\n\r\n\{"Records/)
  })
  test('is connected to anew after the connection broke', async () => {
    const { server, published, sockets } = fakeNats()
    const port = await listen(server)
    const made = target({ type: 'nats', url: `nats://127.0.0.1:${port}` })
    await made.send(message)
    sockets[0]!.destroy()
    // At most one message meets the broken connection, and it has then not been taken.
    await made.send(message).catch(() => made.send(message))
    expect(published.length).toBeGreaterThanOrEqual(2)
    expect(sockets).toHaveLength(2)
  })
  test('that refuses the token, or is not there, has not taken it', async () => {
    const { server, published } = fakeNats({ token: 'secret' })
    const port = await listen(server)
    const url = `nats://127.0.0.1:${port}`
    await expect(target({ type: 'nats', url, secret: 'wrong' }).send(message)).rejects.toThrow()
    await expect(target({ type: 'nats', url: 'nats://127.0.0.1:1' }).send(message)).rejects.toThrow()
    expect(published).toEqual([])
  })
})

test.each(['nats', 'redis'] as const)(
  '%s that accepts a connection and then says nothing has not taken the message, and holds up no stop',
  { timeout: 40_000 },
  async (type) => {
    const port = await listen(createServer((socket) => socket.resume()))
    const made = target({ type, url: `${type}://127.0.0.1:${port}` })
    await expect(made.send(message)).rejects.toThrow()
    await made.close()
  },
)

describe('Redis', () => {
  /** A server that takes commands in RESP: it answers RPUSH with a number and everything else with OK. */
  function fakeRedis(options: { password?: string } = {}) {
    const commands: string[][] = []
    const server = createServer((socket) => {
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        while (true) {
          const parsed = parseCommand(text)
          if (!parsed) return
          text = text.slice(parsed.length)
          const command = parsed.words.map((word) => Buffer.from(word, 'latin1').toString())
          commands.push(command)
          const name = command[0]!.toUpperCase()
          const at = command.findIndex((word) => word.toUpperCase() === 'AUTH')
          const isWrong = at >= 0 && command[at + 2] !== options.password
          socket.write(
            isWrong ? '-WRONGPASS no\r\n' : name === 'RPUSH' ? `:${commands.length}\r\n` : '+OK\r\n',
          )
        }
      })
    })
    return { server, commands }
  }

  function parseCommand(text: string): { words: string[]; length: number } | undefined {
    const head = /^\*(\d+)\r\n/.exec(text)
    if (!head) return undefined
    const words: string[] = []
    let at = head[0].length
    for (let i = 0; i < Number(head[1]); i++) {
      const size = /^\$(\d+)\r\n/.exec(text.slice(at))
      if (!size) return undefined
      at += size[0].length
      if (text.length < at + Number(size[1]) + 2) return undefined
      words.push(text.slice(at, at + Number(size[1])))
      at += Number(size[1]) + 2
    }
    return { words, length: at }
  }

  const pushes = (commands: string[][]) => commands.filter(([name]) => name!.toUpperCase() === 'RPUSH')

  test('gets the message at the end of its list', async () => {
    const { server, commands } = fakeRedis({ password: 'secret' })
    const port = await listen(server)
    const made = target({
      type: 'redis',
      url: `redis://127.0.0.1:${port}`,
      user: 'u',
      secret: 'secret',
      list: 'l',
    })
    await made.send(message)
    await made.send(message)
    expect(pushes(commands)).toEqual([
      ['RPUSH', 'l', message.body],
      ['RPUSH', 'l', message.body],
    ])
  })
  test('that refuses the password, or is not there, has not taken it', async () => {
    const { server, commands } = fakeRedis({ password: 'secret' })
    const port = await listen(server)
    const url = `redis://127.0.0.1:${port}`
    await expect(target({ type: 'redis', url, secret: 'wrong' }).send(message)).rejects.toThrow()
    await expect(target({ type: 'redis', url: 'redis://127.0.0.1:1' }).send(message)).rejects.toThrow()
    expect(pushes(commands)).toEqual([])
  })
})
