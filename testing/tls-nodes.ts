import { randomBytes } from 'node:crypto'
import type { NodeAddress } from '../src/net/dial.js'
import { createIdentity } from '../src/net/identity.js'
import { TlsTransport, type TlsTransportOptions } from '../src/net/tls-transport.js'
import type { ByteStream } from '../src/net/transport.js'
import { type Clock, Hlc, type Timer } from '../src/util/clock.js'
import type { Log } from '../src/util/log.js'
import type { Random } from '../src/util/random.js'

/** A clock of real time whose pending timers can be counted. */
export class CountingClock implements Clock {
  pending = 0

  nowMs(): number {
    return Date.now()
  }

  monotonicMs(): number {
    return performance.now()
  }

  after(delayMs: number, fn: () => void): Timer {
    let live = true
    this.pending++
    const end = () => {
      if (live) this.pending--
      live = false
    }
    const timeout = setTimeout(() => {
      end()
      fn()
    }, delayMs)
    timeout.unref()
    return {
      cancel() {
        end()
        clearTimeout(timeout)
      },
    }
  }
}

export const systemRandom: Random = { bytes: randomBytes, float: Math.random }

/** A log that keeps its lines. */
export class LogLines implements Log {
  readonly lines: { level: string; message: string; fields: object }[] = []

  debug(): void {}

  info(): void {}

  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', message, fields })
  }

  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', message, fields })
  }

  child(): Log {
    return this
  }

  get text(): string {
    return this.lines
      .map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`)
      .join('\n')
  }
}

export interface TestNode {
  transport: TlsTransport
  clock: CountingClock
  log: LogLines
  hlc: Hlc
  address: NodeAddress
}

export const SECRET = Buffer.alloc(32, 7)

/** A node that listens on a free loopback port. */
export async function startNode(options: Partial<TlsTransportOptions> = {}): Promise<TestNode> {
  const clock = new CountingClock()
  const log = new LogLines()
  const hlc = options.hlc ?? new Hlc(clock)
  const transport = new TlsTransport({
    identity: createIdentity(systemRandom),
    rpcSecret: SECRET,
    listen: { host: '127.0.0.1', port: 0 },
    clock,
    random: systemRandom,
    log,
    ...options,
    hlc,
  })
  const address = await transport.listen()
  return { transport, clock, log, hlc, address }
}

/** Resolves as soon as `condition` holds; looks after every turn of the event loop. */
export async function until(condition: () => boolean, what: string, withinMs = 5000): Promise<void> {
  const startMs = performance.now()
  while (!condition()) {
    if (performance.now() - startMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** The number of bytes in a stream. */
export async function countBytes(stream: ByteStream): Promise<number> {
  let bytes = 0
  for await (const chunk of stream) bytes += chunk.length
  return bytes
}
