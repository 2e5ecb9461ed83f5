import { Packr } from 'msgpackr'
import { CarportError, type ErrorCode, messageOf } from '../util/errors.js'
import { ProtocolError } from './frames.js'

/** The most bytes of an encoded message: larger bodies must be streams, or several calls. */
export const MESSAGE_BYTES_MAX = 8 * 1024 * 1024
/** The longest time that a timer can have, 24 days. */
export const TIMEOUT_MS_MAX = 0x7fff_ffff

const METHOD_CHARS_MAX = 256
/** The length of a traceparent. */
const TRACE_CHARS = 55
const ERROR_CHARS_MAX = 2048
/** msgpackr keeps encoding into a buffer as large as the largest message; beyond this it is given a small one. */
const SLAB_BYTES_MAX = 256 * 1024
const SLAB_BYTES = 16 * 1024

const packr = new Packr({ useRecords: false })

const ERROR_CODES: Record<ErrorCode, true> = {
  QuorumUnavailable: true,
  Timeout: true,
  PeerUnreachable: true,
  RemoteError: true,
  LayoutNotReady: true,
  LayoutOutdated: true,
  NotCaughtUp: true,
  ClockSkew: true,
  StorageFull: true,
  BlockMissing: true,
  Corrupted: true,
  InvalidArgument: true,
  NotSupported: true,
  NotFound: true,
  Conflict: true,
  Closed: true,
  Internal: true,
}

/** `hlcUs` is the sender's HLC time in microseconds, 0 if it has none to tell (a client). */
export interface RequestMessage {
  hlcUs: number
  timeoutMs: number
  method: string
  body: unknown
  /** See CallOptions. */
  trace?: string
  readMark?: number
}

/** @throws CarportError InvalidArgument when the body is too large or cannot be encoded. */
export function encodeRequest(
  hlcUs: number,
  timeoutMs: number,
  method: string,
  body: unknown,
  { trace, readMark }: Pick<RequestMessage, 'trace' | 'readMark'> = {},
): Buffer {
  const message = [hlcUs, timeoutMs, method, body]
  if (readMark !== undefined) message.push(trace ?? null, readMark)
  else if (trace !== undefined) message.push(trace)
  return encode(message, method)
}

/** @throws CarportError InvalidArgument when the body is too large or cannot be encoded. */
export function encodeReply(hlcUs: number, body: unknown, method: string): Buffer {
  return encode([hlcUs, body], method)
}

export function encodeError(hlcUs: number, error: CarportError): Buffer {
  return packr.pack([hlcUs, error.code, error.message.slice(0, ERROR_CHARS_MAX)])
}

function encode(message: unknown[], method: string): Buffer {
  let bytes: Buffer
  try {
    bytes = packr.pack(message)
  } catch (cause) {
    throw new CarportError('InvalidArgument', `${method}: the body cannot be encoded`, { cause })
  }
  if (bytes.length > SLAB_BYTES_MAX) packr.useBuffer(Buffer.allocUnsafe(SLAB_BYTES))
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw new CarportError(
      'InvalidArgument',
      `${method}: a body of ${bytes.length} bytes is over the limit of ${MESSAGE_BYTES_MAX}`,
    )
  }
  return bytes
}

/** @throws ProtocolError */
export function decodeRequest(bytes: Buffer): RequestMessage {
  const message = decode(bytes, 4)
  const [hlcUs, timeoutMs, method, body, trace, readMark] = message
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0) || timeoutMs > TIMEOUT_MS_MAX) {
    throw new ProtocolError('a request without a valid timeout')
  }
  if (typeof method !== 'string' || method.length > METHOD_CHARS_MAX) {
    throw new ProtocolError('a request without a valid method')
  }
  const isTraced = typeof trace === 'string' && trace.length === TRACE_CHARS
  const request: RequestMessage = { hlcUs: checkedTime(hlcUs), timeoutMs, method, body }
  if (isTraced) request.trace = trace
  if (typeof readMark === 'number') request.readMark = readMark
  return request
}

/** @throws ProtocolError */
export function decodeReply(bytes: Buffer): { hlcUs: number; body: unknown } {
  const [hlcUs, body] = decode(bytes, 2)
  return { hlcUs: checkedTime(hlcUs), body }
}

/**
 * Reads an error; a code that this version does not know becomes RemoteError. A peer that shuts down is one that cannot be reached:
 * its Closed would be taken for the end of this node, and end what works in the background here.
 * @throws ProtocolError
 */
export function decodeError(bytes: Buffer): { hlcUs: number; error: CarportError } {
  const [hlcUs, code, text] = decode(bytes, 3)
  if (typeof code !== 'string' || typeof text !== 'string') throw new ProtocolError('a malformed error')
  const said: ErrorCode = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'RemoteError'
  const known = said === 'Closed' ? 'PeerUnreachable' : said
  return { hlcUs: checkedTime(hlcUs), error: new CarportError(known, text) }
}

/** The error that the caller of `method` sees instead of `error`: CarportErrors as they are, others without their stack. */
export function errorForCaller(error: unknown, method: string): CarportError {
  if (error instanceof CarportError) return error
  const text = messageOf(error)
  return new CarportError('RemoteError', `${method}: ${text}`)
}

function decode(bytes: Buffer, fields: number): unknown[] {
  let message: unknown
  try {
    message = packr.unpack(bytes)
  } catch (cause) {
    throw new ProtocolError('a message that is not MessagePack', { cause })
  }
  // Longer arrays are allowed, since a later version may add fields.
  if (!Array.isArray(message) || message.length < fields) throw new ProtocolError('a malformed message')
  return message
}

function checkedTime(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new ProtocolError('a message without a time')
  return Math.floor(value)
}
