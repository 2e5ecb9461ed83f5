import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { RepeatedLog } from '../util/repeated-log.js'
import { Admission } from './admission.js'
import { CIPHERS, type NodeAddress } from './dial.js'
import { ALPN_PROTOCOL, Role } from './handshake.js'
import type { NodeIdentity } from './identity.js'
import {
  exchangeHellos,
  HANDSHAKE_MS_MAX,
  type HandshakeOptions,
  type SecureConnection,
} from './secure-connection.js'

/**
 * The most connections that have not proven yet whose they are; addresses of known peers are counted by themselves. One
 * more ends the oldest of the address that has the most, so that a newcomer from elsewhere has a chance.
 */
const STRANGERS_MAX = 128

interface Stranger {
  key: string
  host: string
  isKnown: boolean
  raw: Socket
  tls: TLSSocket | undefined
  deadline: Timer
  /** Whether its fate is decided, so that there is nothing more to log. */
  decided: boolean
}

export interface ListenerOptions {
  identity: NodeIdentity
  clock: Clock
  log: Log
  handshake: HandshakeOptions
  onConnection(connection: SecureConnection, remote: NodeAddress): void
}

/** Accepts connections, passes on those whose handshake was good, and drops the others. */
export class Listener {
  readonly #options: ListenerOptions
  /** Takes connections before TLS does, so that one that is not admitted costs no handshake. */
  readonly #server: Server
  readonly #admission: Admission
  readonly #drops: RepeatedLog
  readonly #strangers = new Map<string, Stranger>()

  constructor(options: ListenerOptions) {
    this.#options = options
    const tlsOptions: TlsOptions = {
      key: options.identity.privateKeyPem,
      cert: options.identity.certificatePem,
      minVersion: 'TLSv1.3',
      ciphers: CIPHERS,
      ALPNProtocols: [ALPN_PROTOCOL],
      requestCert: true,
      rejectUnauthorized: false,
      noDelay: true,
    }
    this.#admission = new Admission(options.clock)
    this.#drops = new RepeatedLog(
      options.clock,
      options.log,
      'RPC connections dropped; host and reason are those of most of them',
    )
    const tls = createTlsServer(tlsOptions)
    tls.on('secureConnection', (socket) => this.#onSecure(socket))
    tls.on('tlsClientError', (error, socket) => {
      this.#drop(this.#strangers.get(keyOf(socket)), error.message)
    })
    this.#server = createTcpServer({ noDelay: true })
    this.#server.on('connection', (raw) => {
      if (this.#admit(raw)) tls.emit('connection', raw)
    })
  }

  /** Remembers that a peer is at this address: its connections go before those of strangers. */
  know(host: string): void {
    this.#admission.know(host)
  }

  /** @throws CarportError Conflict when the address is in use, InvalidArgument when it is not this machine's. */
  listen(address: NodeAddress): Promise<NodeAddress> {
    return new Promise((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException) => {
        const code = error.code === 'EADDRINUSE' ? 'Conflict' : 'InvalidArgument'
        const text = `cannot listen for RPC on ${address.host}:${address.port}: ${error.message}`
        reject(new CarportError(code, text, { cause: error }))
      }
      this.#server.once('error', onError)
      this.#server.listen({ host: address.host, port: address.port }, () => {
        this.#server.off('error', onError)
        this.#server.on('error', (err) => this.#options.log.error({ err }, 'RPC listener failed'))
        const { address: host, port } = this.#server.address() as AddressInfo
        resolve({ host, port })
      })
    })
  }

  /** Stops listening and drops the strangers. Resolves when all connections that it accepted are closed. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const stranger of this.#strangers.values()) {
      stranger.decided = true
      stranger.deadline.cancel()
      destroy(stranger)
    }
    this.#drops.flush()
    return closed
  }

  #admit(raw: Socket): boolean {
    // It is read from before anybody else listens: an error that nobody hears would end the node.
    raw.on('error', () => {})
    const { remoteAddress: host, remotePort: port } = raw
    // The client reset it while it waited.
    if (raw.destroyed || host === undefined) {
      raw.destroy()
      return false
    }
    if (!this.#admission.admits(host)) {
      this.#dropped(host, port, 'too many new connections from this address')
      raw.resetAndDestroy()
      return false
    }
    const key = keyOf(raw)
    const isKnown = this.#admission.isKnown(host)
    const crowded = this.#mostCrowded(isKnown)
    if (crowded) this.#drop(crowded, 'too many unfinished handshakes')
    const deadline = this.#options.clock.after(HANDSHAKE_MS_MAX, () => {
      this.#drop(stranger, `no handshake within ${HANDSHAKE_MS_MAX} ms`)
    })
    const stranger: Stranger = { key, host, isKnown, raw, tls: undefined, deadline, decided: false }
    this.#strangers.set(key, stranger)
    raw.once('close', () => this.#forget(stranger))
    return true
  }

  /** Picks the stranger to drop when there are too many: the oldest of the address that has the most of them. */
  #mostCrowded(isKnown: boolean): Stranger | undefined {
    const oldest = new Map<string, { first: Stranger; count: number }>()
    let total = 0
    for (const stranger of this.#strangers.values()) {
      if (stranger.isKnown !== isKnown) continue
      total++
      const entry = oldest.get(stranger.host)
      if (entry) entry.count++
      else oldest.set(stranger.host, { first: stranger, count: 1 })
    }
    if (total < STRANGERS_MAX) return undefined
    return [...oldest.values()].reduce((most, entry) => (entry.count > most.count ? entry : most)).first
  }

  #onSecure(tls: TLSSocket): void {
    const stranger = this.#strangers.get(keyOf(tls))
    if (!stranger || stranger.decided) return void tls.destroy()
    stranger.tls = tls
    const remote = { host: stranger.raw.remoteAddress ?? '', port: stranger.raw.remotePort ?? 0 }
    exchangeHellos(tls, this.#options.handshake, (connection, refusal) => {
      // A refused connection is forgotten when it is closed: until then its deadline still runs.
      if (!connection) return this.#refused(stranger, refusal?.message ?? '')
      stranger.decided = true
      this.#forget(stranger)
      if (connection.hello.role === Role.peer) this.know(stranger.host)
      this.#options.onConnection(connection, remote)
    })
  }

  #forget(stranger: Stranger): void {
    stranger.deadline.cancel()
    if (this.#strangers.get(stranger.key) === stranger) this.#strangers.delete(stranger.key)
  }

  #drop(stranger: Stranger | undefined, reason: string): void {
    if (!stranger) return
    this.#refused(stranger, reason)
    this.#forget(stranger)
    destroy(stranger)
  }

  #dropped(host: string | undefined, port: number | undefined, reason: string): void {
    this.#drops.add({ host, reason }, { port }, 'RPC connection dropped')
  }

  #refused(stranger: Stranger, reason: string): void {
    if (stranger.decided) return
    stranger.decided = true
    this.#dropped(stranger.host, stranger.raw.remotePort, reason)
  }
}

function destroy(stranger: Stranger): void {
  if (stranger.tls) stranger.tls.destroy()
  else stranger.raw.destroy()
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}
