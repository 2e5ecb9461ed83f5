import type { TLSSocket } from 'node:tls'
import type { Hlc } from '../util/clock.js'
import { CarportError, messageOf } from '../util/errors.js'
import {
  clientId,
  commonVersion,
  type Direction,
  decodeHello,
  encodeHello,
  type Hello,
  helloBytes,
  Role,
  VERDICT_TEXT,
  Verdict,
  type VersionRange,
} from './handshake.js'
import { nodeIdOfCertificate } from './identity.js'
import type { NodeId } from './transport.js'

/** TCP, TLS and the handshake together. */
export const HANDSHAKE_MS_MAX = 10_000

/** This side's identity, and its demands on the other. */
export interface HandshakeOptions {
  direction: Direction
  role: Role
  secret: Buffer
  versions: VersionRange
  incarnation: string
  dialNumber: number
  /** Undefined in clients. */
  hlc: Hlc | undefined
  /** On the dialing side: the node that it wants to speak to. */
  expectedId?: NodeId
  /** On the listening side: decides whether it takes that peer or client. */
  admit?: (peer: NodeId, hello: Hello) => Verdict
}

/** A connection whose peer has proven who it is, and that it belongs to the cluster. Its socket is paused. */
export interface SecureConnection {
  socket: TLSSocket
  peer: NodeId
  hello: Hello
  version: number
  /** Bytes that arrived after the peer's hello. */
  firstBytes: Buffer
}

/**
 * Exchanges hellos on a socket whose TLS handshake is done. Calls `onDone` once: with the connection, or with the
 * reason why it was closed (`CarportError` Conflict for another node than expected, else PeerUnreachable).
 * The deadline is the caller's: it destroys the socket.
 */
export function exchangeHellos(
  socket: TLSSocket,
  options: HandshakeOptions,
  onDone: (connection: SecureConnection | undefined, refusal?: CarportError) => void,
): void {
  const { direction, secret } = options
  const other: Direction = direction === 'dialer' ? 'listener' : 'dialer'
  // The certificate is read once, since Node hands it out only the first time.
  const certified = certifiedId(socket)
  let received: Buffer = Buffer.alloc(0)

  const release = () => {
    // The errors of a socket that was given up mean nothing, but an 'error' event without a listener ends the process.
    socket.on('error', () => {})
    socket.off('data', onData)
    socket.off('error', onError)
    socket.off('close', onClose)
  }
  const refuse = (message: string, code: 'PeerUnreachable' | 'Conflict' = 'PeerUnreachable') => {
    release()
    // The listening side's verdict must still be sent.
    if (direction === 'listener') socket.destroySoon()
    else socket.destroy()
    onDone(undefined, new CarportError(code, message))
  }
  const say = (verdict: Verdict, role: Role = options.role) => {
    const { versions, incarnation, dialNumber } = options
    const hlcUs = options.hlc?.now() ?? 0
    const hello = { verdict, role, versions, incarnation, dialNumber, hlcUs }
    socket.write(encodeHello(hello, direction, secret, socket))
  }
  const onError = (error: Error) => refuse(`the connection broke during the handshake: ${error.message}`)
  const onClose = () => refuse('the connection was closed during the handshake')
  const onData = (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
    try {
      const bytes = helloBytes(received)
      if (bytes === undefined || received.length < bytes) return
      const { hello, proven } = decodeHello(received.subarray(0, bytes), other, secret, socket)
      onHello(hello, proven, received.subarray(bytes))
    } catch (error) {
      refuse(messageOf(error))
    }
  }
  const onHello = (hello: Hello, proven: boolean, firstBytes: Buffer) => {
    if (direction === 'dialer' && hello.verdict !== Verdict.welcome) {
      return refuse(`the peer refused: ${VERDICT_TEXT[hello.verdict]}`)
    }
    const turnAway = (verdict: Verdict, message: string) => {
      if (direction === 'listener') say(verdict)
      refuse(message)
    }
    if (!proven) return turnAway(Verdict.wrongSecret, 'the peer has another rpc_secret')
    const version = commonVersion(options.versions, hello.versions)
    if (version === undefined) {
      const { min, max } = hello.versions
      return turnAway(Verdict.noCommonVersion, `the peer speaks only protocol versions ${min} to ${max}`)
    }
    const isClient = direction === 'listener' && hello.role === Role.client
    const peer = isClient ? clientId(socket) : certified
    if (!peer) return turnAway(Verdict.badCertificate, 'the peer has no valid node certificate')
    const verdict = options.admit?.(peer, hello) ?? Verdict.welcome
    if (verdict !== Verdict.welcome) return turnAway(verdict, `not admitted: ${VERDICT_TEXT[verdict]}`)
    release()
    socket.pause()
    if (direction === 'listener') say(Verdict.welcome)
    onDone({ socket, peer, hello, version, firstBytes })
  }

  socket.on('error', onError)
  socket.on('close', onClose)
  if (direction === 'dialer') {
    // An unexpected node gets no proof from this side.
    if (!certified) {
      refuse('the peer has no valid node certificate')
      return
    }
    if (options.expectedId !== undefined && certified !== options.expectedId) {
      refuse(`node ${certified} answered instead of ${options.expectedId}`, 'Conflict')
      return
    }
    say(Verdict.welcome)
  }
  socket.on('data', onData)
}

/** The id in the certificate whose key the other side has shown to hold: TLS 1.3 verified its signature. */
function certifiedId(socket: TLSSocket): NodeId | undefined {
  const certificate = socket.getPeerX509Certificate()
  return certificate && nodeIdOfCertificate(certificate.raw)
}
