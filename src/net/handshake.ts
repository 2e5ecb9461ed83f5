import { createHmac, timingSafeEqual } from 'node:crypto'
import { ProtocolError } from './frames.js'

/**
 * The first message of each side, before any frame. The dialing side speaks first; the listening side answers once
 * the proof is good, else with the reason of its refusal. The fields up to the proof keep their place in every
 * version; later ones may add more after it.
 *
 *   magic 8 | length of the rest u16 | verdict u8 | role u8 | oldest and newest version u16 u16
 *   | incarnation 8 | dial number u32 | HLC time f64, µs | proof 32
 *
 * The proof is HMAC-SHA256(rpc_secret, TLS exporter (RFC 5705) of that direction | the fields before it): it is worth
 * nothing on another connection, so that an attacker in between gains nothing by passing it on.
 */
export interface Hello {
  verdict: Verdict
  role: Role
  versions: VersionRange
  /** A random number of the process, 16 hex digits: tells a restarted peer from one that merely has two links. */
  incarnation: string
  /** Grows with each connection that the dialing process opens. */
  dialNumber: number
  /** The sender's HLC time in microseconds; 0 from clients. */
  hlcUs: number
}

export interface VersionRange {
  min: number
  max: number
}

export const Role = { peer: 0, client: 1 } as const
export type Role = (typeof Role)[keyof typeof Role]

export const Verdict = {
  welcome: 0,
  wrongSecret: 1,
  noCommonVersion: 2,
  badCertificate: 3,
  tooMany: 4,
} as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

/** Texts that explain a verdict to the operator of the side that was refused. */
export const VERDICT_TEXT: Record<Verdict, string> = {
  [Verdict.welcome]: 'welcome',
  [Verdict.wrongSecret]: 'it has another rpc_secret',
  [Verdict.noCommonVersion]: 'the two have no protocol version in common',
  [Verdict.badCertificate]: 'it does not accept the certificate',
  [Verdict.tooMany]: 'it has too many connections',
}

/** Versions of the protocol that this program speaks. */
export const PROTOCOL_VERSIONS: VersionRange = { min: 1, max: 1 }
export const ALPN_PROTOCOL = 'carport-rpc'
export const SECRET_BYTES = 32
export const INCARNATION_BYTES = 8
/** The most bytes that are read of a hello. */
export const HELLO_BYTES_MAX = 1024

const MAGIC = Buffer.from('carport\n')
const PREFIX_BYTES = MAGIC.length + 2
const PROOF_BYTES = 32
const PROOF_OFFSET = 36
const HELLO_BYTES = PROOF_OFFSET + PROOF_BYTES
const EXPORTER_BYTES = 32
const NO_CONTEXT = Buffer.alloc(0)

/** The part of TLSSocket that the proof needs: it identifies the connection. */
export interface Exporter {
  exportKeyingMaterial(length: number, label: string, context: Buffer): Buffer
}

export type Direction = 'dialer' | 'listener'

/** The message, with the proof of `secret`; a refusal carries none. */
export function encodeHello(hello: Hello, from: Direction, secret: Buffer, exporter: Exporter): Buffer {
  const bytes = Buffer.alloc(HELLO_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt16BE(HELLO_BYTES - PREFIX_BYTES, 8)
  bytes[10] = hello.verdict
  bytes[11] = hello.role
  bytes.writeUInt16BE(hello.versions.min, 12)
  bytes.writeUInt16BE(hello.versions.max, 14)
  bytes.write(hello.incarnation, 16, INCARNATION_BYTES, 'hex')
  bytes.writeUInt32BE(hello.dialNumber, 24)
  bytes.writeDoubleBE(hello.hlcUs, 28)
  if (hello.verdict === Verdict.welcome) proofOf(bytes, from, secret, exporter).copy(bytes, PROOF_OFFSET)
  return bytes
}

/** Returns how many bytes the message in `bytes` takes; undefined while that is unknown. @throws ProtocolError */
export function helloBytes(bytes: Buffer): number | undefined {
  const common = Math.min(bytes.length, MAGIC.length)
  if (bytes.compare(MAGIC, 0, common, 0, common) !== 0)
    throw new ProtocolError('it does not speak this protocol')
  if (bytes.length < PREFIX_BYTES) return undefined
  const total = PREFIX_BYTES + bytes.readUInt16BE(8)
  if (total < HELLO_BYTES || total > HELLO_BYTES_MAX) throw new ProtocolError('a malformed handshake')
  return total
}

/**
 * Reads a message of `helloBytes` bytes. `proven` tells whether the sender has the secret; if it is false, believe no field.
 * @throws ProtocolError
 */
export function decodeHello(
  bytes: Buffer,
  from: Direction,
  secret: Buffer,
  exporter: Exporter,
): { hello: Hello; proven: boolean } {
  const proof = bytes.subarray(PROOF_OFFSET, HELLO_BYTES)
  const proven = timingSafeEqual(proof, proofOf(bytes, from, secret, exporter))
  const verdict = bytes[10]!
  const role = bytes[11]!
  const hlcUs = bytes.readDoubleBE(28)
  if (!isOneOf(Verdict, verdict) || !isOneOf(Role, role) || !Number.isFinite(hlcUs)) {
    throw new ProtocolError('a malformed handshake')
  }
  const hello: Hello = {
    verdict,
    role,
    versions: { min: bytes.readUInt16BE(12), max: bytes.readUInt16BE(14) },
    incarnation: bytes.toString('hex', 16, 16 + INCARNATION_BYTES),
    dialNumber: bytes.readUInt32BE(24),
    hlcUs: Math.floor(hlcUs),
  }
  return { hello, proven }
}

/** The newest version that both speak; undefined if there is none. */
export function commonVersion(ours: VersionRange, theirs: VersionRange): number | undefined {
  const version = Math.min(ours.max, theirs.max)
  return version >= Math.max(ours.min, theirs.min) ? version : undefined
}

/** A client has no certificate; its id, good for this one connection, comes from the connection itself. */
export function clientId(exporter: Exporter): string {
  return exporter
    .exportKeyingMaterial(EXPORTER_BYTES, 'EXPORTER-carport-rpc-client', NO_CONTEXT)
    .toString('hex')
}

function proofOf(bytes: Buffer, from: Direction, secret: Buffer, exporter: Exporter): Buffer {
  const key = exporter.exportKeyingMaterial(EXPORTER_BYTES, `EXPORTER-carport-rpc-${from}`, NO_CONTEXT)
  return createHmac('sha256', secret).update(key).update(bytes.subarray(0, PROOF_OFFSET)).digest()
}

function isOneOf<T extends number>(values: Record<string, T>, value: number): value is T {
  return Object.values(values).includes(value as T)
}
