import { createHmac } from 'node:crypto'
import type { NatsConnection } from '@nats-io/transport-node'
import type { NotificationTarget } from '../config/notifications.js'
import type { EventMessage, EventTarget } from '../model/events/delivery.js'

/** How long a target may take to accept a message, in ms. */
const SEND_TIMEOUT_MS = 10_000

/** The targets of the configuration. Nothing is connected, and no client library loaded, before the first message. */
export function eventTargets(targets: readonly NotificationTarget[]): EventTarget[] {
  const make = { webhook, nats, redis }
  return targets.map((target) => make[target.type](target))
}

/**
 * POSTs each message. With a secret, X-Carport-Signature-256 has `sha256=` and the HMAC-SHA256 of the body in hex. Any 2xx
 * answer means that the message is taken.
 */
function webhook({ name, url, secret }: NotificationTarget): EventTarget {
  return {
    name,
    kind: 'webhook',
    async send({ id, body }) {
      const headers: Record<string, string> = {
        'Content-Type': 'application/json',
        'User-Agent': 'Carport',
        'X-Carport-Event-Id': id,
      }
      if (secret !== null) {
        const signature = createHmac('sha256', secret).update(body).digest('hex')
        headers['X-Carport-Signature-256'] = `sha256=${signature}`
      }
      const signal = AbortSignal.timeout(SEND_TIMEOUT_MS)
      const answer = await fetch(url, { method: 'POST', headers, body, redirect: 'error', signal })
      // Drop the answer's body: only its status counts.
      await answer.body?.cancel()
      if (!answer.ok) throw new Error(`the webhook answered ${answer.status}`)
    },
    async close() {},
  }
}

/** Publishes each message to a subject, its id as Nats-Msg-Id: a stream of JetStream drops what it has already. */
function nats({ name, url, user, secret, subject }: NotificationTarget): EventTarget {
  const connection = new Lazy<{ connection: NatsConnection; waiting: Set<(error: Error) => void> }>(
    async () => {
      const { connect } = await import('@nats-io/transport-node')
      const connection = await connect({
        servers: url,
        name: 'carport',
        timeout: SEND_TIMEOUT_MS,
        reconnect: false,
        ...(user === null ? secret !== null && { token: secret } : { user, pass: secret ?? '' }),
      })
      const waiting = new Set<(error: Error) => void>()
      void connection.closed().then((error) => {
        const broken = error ?? new Error('the connection to NATS was closed')
        for (const reject of waiting) reject(broken)
      })
      return { connection, waiting }
    },
    ({ connection }) => connection.close(),
  )
  return {
    name,
    kind: 'nats',
    send: ({ id, body }) =>
      connection.use(async ({ connection, waiting }) => {
        const { headers } = await import('@nats-io/transport-node')
        const header = headers()
        header.set('Nats-Msg-Id', id)
        const options = connection.info?.headers ? { headers: header } : {}
        connection.publish(subject, body, options)
        // The server answers a flush after it took all earlier messages. A flush does not settle when its connection ends.
        let reject: (error: Error) => void = () => {}
        const flushed = new Promise<void>((resolve, fail) => {
          reject = fail
          waiting.add(reject)
          connection.flush().then(resolve, fail)
        })
        await withTimeout(flushed, 'NATS').finally(() => waiting.delete(reject))
      }),
    close: () => connection.close(),
  }
}

/** Pushes each message to the end of a list. */
function redis({ name, url, user, secret, list }: NotificationTarget): EventTarget {
  interface Redis {
    push(message: string): Promise<unknown>
    close(): Promise<void>
  }
  const connection = new Lazy<Redis>(
    async () => {
      const { createClient } = await import('@redis/client')
      const client = createClient({
        url,
        ...(user !== null && { username: user }),
        ...(secret !== null && { password: secret }),
        disableOfflineQueue: true,
        socket: { connectTimeout: SEND_TIMEOUT_MS, reconnectStrategy: false },
      })
      // Each failure rejects the message that met it; an 'error' event without a listener would end the process.
      client.on('error', () => {})
      // The client's own limit counts until the connection stands, not until the server answers.
      await withTimeout(client.connect(), 'Redis').catch((error: unknown) => {
        client.destroy()
        throw error
      })
      return {
        push: (message) => client.rPush(list, message),
        close: async () => client.destroy(),
      }
    },
    (connected) => connected.close(),
  )
  return {
    name,
    kind: 'redis',
    send: ({ body }: EventMessage) =>
      connection.use(async (connected) => {
        await withTimeout(connected.push(body), 'Redis')
      }),
    close: () => connection.close(),
  }
}

/** A connection made when it is first needed, and made anew after a failure. */
class Lazy<T> {
  #connected: Promise<T> | undefined

  constructor(
    private readonly connect: () => Promise<T>,
    private readonly disconnect: (connected: T) => Promise<void>,
  ) {}

  async use(fn: (connected: T) => Promise<void>): Promise<void> {
    this.#connected ??= this.connect()
    const connecting = this.#connected
    try {
      await fn(await connecting)
    } catch (error) {
      if (this.#connected === connecting) await this.close()
      throw error
    }
  }

  async close(): Promise<void> {
    const connecting = this.#connected
    this.#connected = undefined
    if (!connecting) return
    try {
      await this.disconnect(await connecting)
    } catch {
      // The connection failed already, or was never made.
    }
  }
}

function withTimeout<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not answer in time`)), SEND_TIMEOUT_MS)
  })
  promise.catch(() => {})
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
