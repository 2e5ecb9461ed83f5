import type { Admission } from '../api/http/admission.js'
import { HTTP_SERVER_OPTIONS, type HttpFront } from '../api/http/front.js'
import type { HttpRequest } from '../api/http/request.js'
import type { ListenAddress } from '../config/values.js'
import type { AccessLog } from '../platform/access-log.js'
import { type Listening, type ListenTls, listen } from '../platform/listen.js'
import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'

/** How long requests may go on after SIGTERM, in ms. */
const DRAIN_MS = 30_000

/** The parts of a node that its fronts need. */
export interface ServeDeps {
  clock: Clock
  random: Random
  log: Log
  accessLog: AccessLog
  /** One for all ports. */
  admission: Admission
  /** How long a client may neither send nor read while it is waited for, in ms (default 60 s). */
  clientIdleMs?: number
}

/** A port on which requests are served. */
export interface Serving {
  listening: Listening
  /** Refuses new connections, and resolves when all requests ended or were cut off. */
  stop(): Promise<void>
}

/**
 * Serves a front on a port.
 * @throws CarportError as `listen`
 */
export async function serveHttp<R extends HttpRequest>(
  front: HttpFront<R>,
  address: ListenAddress,
  { clock, log, clientIdleMs }: Pick<ServeDeps, 'clock' | 'log' | 'clientIdleMs'>,
  tls: Omit<ListenTls, 'log'> | null,
): Promise<Serving> {
  const options = {
    ...HTTP_SERVER_OPTIONS,
    ...(clientIdleMs !== undefined && {
      headersTimeout: clientIdleMs,
      connectionsCheckingInterval: clientIdleMs / 4,
    }),
  }
  const attach = (server: Parameters<typeof front.attach>[0]) => front.attach(server)
  const listening = await listen(address, options, attach, tls ? { ...tls, log } : undefined)
  return { listening, stop: () => drain(listening, front, clock) }
}

/** New connections are refused and old ones closed after their request; requests that take too long are cut off. */
async function drain(listening: Listening, front: { drain(): Promise<void> }, clock: Clock): Promise<void> {
  const closed = listening.close()
  const timer = clock.after(DRAIN_MS, () => listening.closeAllConnections())
  await front.drain()
  listening.closeIdleConnections()
  await closed
  timer.cancel()
}
