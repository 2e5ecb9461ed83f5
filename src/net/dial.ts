import { isIP } from 'node:net'
import { type ConnectionOptions, connect, createSecureContext, type SecureContext } from 'node:tls'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { ALPN_PROTOCOL } from './handshake.js'
import type { NodeIdentity } from './identity.js'
import {
  exchangeHellos,
  HANDSHAKE_MS_MAX,
  type HandshakeOptions,
  type SecureConnection,
} from './secure-connection.js'

/** Where a node's RPC listens. `host` is a name or an IP address without brackets. */
export interface NodeAddress {
  host: string
  port: number
}

/** AES-128 first: it is a third faster than AES-256 with AES instructions; ChaCha20 for machines without. */
export const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384'

/** The TLS context of an identity, or of a client if there is none. */
export function secureContext(identity: NodeIdentity | undefined): SecureContext {
  return createSecureContext({
    ...(identity ? { key: identity.privateKeyPem, cert: identity.certificatePem } : {}),
    minVersion: 'TLSv1.3',
    ciphers: CIPHERS,
  })
}

/**
 * Opens a connection and exchanges hellos. Calls `onDone` once: with the connection, or with a CarportError
 * PeerUnreachable, Timeout or Conflict (another node than expected). Returns a function that gives up.
 * @param localHost the own IP address that the connection comes from; any unless it is given
 */
export function dial(
  address: NodeAddress,
  context: SecureContext,
  clock: Clock,
  handshake: HandshakeOptions,
  onDone: (connection: SecureConnection | undefined, failure?: CarportError) => void,
  localHost?: string,
): (reason: CarportError) => void {
  const at = address.host.includes(':')
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`
  let done = false
  const options: ConnectionOptions = {
    host: address.host,
    port: address.port,
    secureContext: context,
    ALPNProtocols: [ALPN_PROTOCOL],
    // Nobody signs a node's certificate: only the key in it counts, and the handshake checks that.
    rejectUnauthorized: false,
    servername: '',
    // An address of the other family cannot be reached from this one.
    ...(localHost !== undefined && { localAddress: localHost, family: isIP(localHost) }),
  }
  const finish = (connection: SecureConnection | undefined, failure?: CarportError) => {
    if (done) return
    done = true
    deadline.cancel()
    if (connection) return onDone(connection)
    socket.destroy()
    onDone(
      undefined,
      failure && new CarportError(failure.code, `${at}: ${failure.message}`, { cause: failure }),
    )
  }
  const deadline = clock.after(HANDSHAKE_MS_MAX, () => {
    finish(undefined, new CarportError('Timeout', `no connection within ${HANDSHAKE_MS_MAX} ms`))
  })
  const socket = connect(options)
  socket.setNoDelay(true)
  const onError = (error: Error) => finish(undefined, new CarportError('PeerUnreachable', error.message))
  const onClose = () => finish(undefined, new CarportError('PeerUnreachable', 'the connection was closed'))
  socket.on('error', onError)
  socket.on('close', onClose)
  socket.once('secureConnect', () => {
    exchangeHellos(socket, handshake, (connection, refusal) => {
      if (connection) {
        socket.off('error', onError)
        socket.off('close', onClose)
      }
      finish(connection, refusal)
    })
  })
  return (reason) => finish(undefined, reason)
}
