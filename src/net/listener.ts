import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import { CIPHERS, type NodeAddress } from './dial.js'
import { ALPN_PROTOCOL } from './handshake.js'
import type { NodeIdentity } from './identity.js'
import {
  exchangeHellos,
  HANDSHAKE_MS_MAX,
  type HandshakeOptions,
  type SecureConnection,
} from './secure-connection.js'

/** Connections that have not proven yet whose they are. One more ends the oldest, so that a newcomer has a chance. */
const STRANGERS_MAX = 128

interface Stranger {
  key: string
  raw: Socket
  tls: TLSSocket | undefined
  deadline: Timer
  /** Its fate is decided: there is nothing more to log. */
  decided: boolean
}

export interface ListenerOptions {
  identity: NodeIdentity
  clock: Clock
  log: Log
  handshake: HandshakeOptions
  onConnection(connection: SecureConnection, remote: NodeAddress): void
}

/** Accepts connections; passes on those whose handshake was good, and drops the others with one log line each. */
export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
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
    this.#server = createServer(tlsOptions)
    this.#server.on('connection', (raw) => this.#onConnection(raw))
    this.#server.on('secureConnection', (tls) => this.#onSecure(tls))
    this.#server.on('tlsClientError', (error, tls) => {
      this.#drop(this.#strangers.get(keyOf(tls)), error.message)
    })
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
    return closed
  }

  #onConnection(raw: Socket): void {
    if (raw.destroyed) return
    const key = keyOf(raw)
    if (this.#strangers.size >= STRANGERS_MAX) {
      this.#drop(this.#strangers.values().next().value, 'too many unfinished handshakes')
    }
    const deadline = this.#options.clock.after(HANDSHAKE_MS_MAX, () => {
      this.#drop(stranger, `no handshake within ${HANDSHAKE_MS_MAX} ms`)
    })
    const stranger: Stranger = { key, raw, tls: undefined, deadline, decided: false }
    this.#strangers.set(key, stranger)
    raw.once('close', () => this.#forget(stranger))
  }

  #onSecure(tls: TLSSocket): void {
    const stranger = this.#strangers.get(keyOf(tls))
    if (!stranger || stranger.decided) return void tls.destroy()
    stranger.tls = tls
    const remote = { host: stranger.raw.remoteAddress ?? '', port: stranger.raw.remotePort ?? 0 }
    exchangeHellos(tls, this.#options.handshake, (connection, refusal) => {
      // A refused one is forgotten when it is closed: until then the deadline watches over it.
      if (!connection) return this.#refused(stranger, refusal?.message ?? '')
      stranger.decided = true
      this.#forget(stranger)
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

  #refused(stranger: Stranger, reason: string): void {
    if (stranger.decided) return
    stranger.decided = true
    const { remoteAddress: host, remotePort: port } = stranger.raw
    this.#options.log.warn({ host, port, reason }, 'RPC connection dropped')
  }
}

function destroy(stranger: Stranger): void {
  if (stranger.tls) stranger.tls.destroy()
  else stranger.raw.destroy()
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}
