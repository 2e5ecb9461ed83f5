import { isIP } from 'node:net'

/** A value that cannot be taken, in two parts so that every message names the fault and the expected form. */
export class ValueError extends Error {
  override readonly name = 'ValueError'

  constructor(
    readonly wrong: string,
    readonly expected: string,
  ) {
    super(`${wrong}, expected ${expected}`)
  }
}

const SIZE_UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  ki: 2 ** 10,
  kib: 2 ** 10,
  m: 1e6,
  mb: 1e6,
  mi: 2 ** 20,
  mib: 2 ** 20,
  g: 1e9,
  gb: 1e9,
  gi: 2 ** 30,
  gib: 2 ** 30,
  t: 1e12,
  tb: 1e12,
  ti: 2 ** 40,
  tib: 2 ** 40,
  p: 1e15,
  pb: 1e15,
  pi: 2 ** 50,
  pib: 2 ** 50,
}
export const SIZE_EXPECTED = 'a number of bytes or a size such as "10G" (10^9) or "1MiB" (2^20)'

/**
 * Bytes of a size: a number, or text with a unit. K, M, G, T, P (with or without B) are powers of 1000,
 * Ki, Mi, ... powers of 1024; case does not matter.
 * @throws ValueError
 */
export function parseSize(value: unknown): number {
  let bytes: number | undefined
  if (typeof value === 'number') bytes = value
  else if (typeof value === 'string') {
    const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(value)
    const unit = match === null ? undefined : SIZE_UNITS[match[2]!.toLowerCase()]
    if (unit !== undefined) bytes = Math.round(Number(match![1]) * unit)
  }
  if (bytes === undefined || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw new ValueError(`is ${show(value)}`, SIZE_EXPECTED)
  }
  return bytes
}

const SECOND_MS = 1000
const DAY_MS = 86_400 * SECOND_MS
// A year of systemd's has 365.25 days, and a month is a twelfth of it.
const YEAR_MS = 365.25 * DAY_MS
const DURATION_UNITS: [names: RegExp, ms: number][] = [
  [/^(us|µs|μs|usecs?|microseconds?)$/, 0.001],
  [/^(ms|msecs?|millis?|milliseconds?)$/, 1],
  [/^(s|secs?|seconds?)$/, SECOND_MS],
  [/^(m|mins?|minutes?)$/, 60 * SECOND_MS],
  [/^(h|hrs?|hours?)$/, 3600 * SECOND_MS],
  [/^(d|days?)$/, DAY_MS],
  [/^(w|wks?|weeks?)$/, 7 * DAY_MS],
  [/^(M|months?)$/, YEAR_MS / 12],
  [/^(y|yrs?|years?)$/, YEAR_MS],
]
export const DURATION_EXPECTED = 'a duration such as "6h", "30m" or "1d 12h"'
const DURATION_CHARS_MAX = 200
/** A number and its unit; either may be missing, but not both. */
const DURATION_PART = /[\s,]*(?:\+\s*)?(?:(\d+(?:\.\d+)?|\.\d+)(?![\d.])\s*([a-zµμ]*)|([a-zµμ]+))[\s,]*/giy

/**
 * Milliseconds of a time span as systemd writes it (systemd.time(7)), as Garage takes it: numbers with units, added up.
 * A number alone is seconds, a unit alone is one of it. "infinity" is refused, since it is no length of time.
 * Beyond systemd, commas may stand between the parts, and units may be in any case, except that M is a month and m a minute.
 * @throws ValueError
 */
export function parseDuration(value: unknown): number {
  if (typeof value === 'number') return checkDuration(value * SECOND_MS, value)
  const text = typeof value === 'string' ? value.trim() : ''
  if (text === '' || text.length > DURATION_CHARS_MAX) {
    throw new ValueError(`is ${show(value)}`, DURATION_EXPECTED)
  }
  let totalMs = 0
  DURATION_PART.lastIndex = 0
  while (DURATION_PART.lastIndex < text.length) {
    const part = DURATION_PART.exec(text)
    if (part === null) throw new ValueError(`is ${show(value)}`, DURATION_EXPECTED)
    const [, number = '1', unitOfNumber, unitAlone] = part
    const unit = unitOfNumber ?? unitAlone!
    const ms = unitMs(unit)
    if (ms === undefined) {
      const wrong = text === unit ? `is ${show(value)}` : `has the unknown unit ${show(unit)}`
      throw new ValueError(wrong, DURATION_EXPECTED)
    }
    totalMs += Number(number) * ms
  }
  return checkDuration(totalMs, value)
}

function unitMs(unit: string): number | undefined {
  if (unit === '') return SECOND_MS
  const name = unit === 'M' ? unit : unit.toLowerCase()
  return DURATION_UNITS.find(([names]) => names.test(name))?.[1]
}

function checkDuration(ms: number, value: unknown): number {
  const rounded = Math.round(ms)
  if (!Number.isSafeInteger(rounded) || rounded < 0) {
    throw new ValueError(`is ${show(value)}`, DURATION_EXPECTED)
  }
  return rounded
}

export interface TcpAddress {
  kind: 'tcp'
  /** An IP address, without brackets. */
  host: string
  port: number
}

export interface UnixAddress {
  kind: 'unix'
  path: string
}

/** Where a server listens. */
export type ListenAddress = TcpAddress | UnixAddress

/** Where a peer is reached: an IP address (without brackets) or a host name, and a port. */
export interface HostPort {
  host: string
  port: number
}

const TCP_EXPECTED = 'an IP address and a port such as "[::]:3900" or "127.0.0.1:3900"'

/** @throws ValueError */
export function parseTcpAddress(value: unknown): TcpAddress {
  const parts = typeof value === 'string' ? splitHostPort(value) : undefined
  if (parts === undefined || isIP(parts.host) === 0 || (isIP(parts.host) === 6) !== parts.bracketed) {
    throw new ValueError(`is ${show(value)}`, TCP_EXPECTED)
  }
  return { kind: 'tcp', host: parts.host, port: parts.port }
}

/** An IP address and a port, or the absolute path of a Unix socket. @throws ValueError */
export function parseListenAddress(value: unknown): ListenAddress {
  if (typeof value === 'string' && value.startsWith('/')) return { kind: 'unix', path: value }
  try {
    return parseTcpAddress(value)
  } catch {
    throw new ValueError(`is ${show(value)}`, `${TCP_EXPECTED}, or the absolute path of a Unix socket`)
  }
}

const HOST_PORT_EXPECTED = 'a host and a port such as "[2001:db8::1]:3901" or "node1.example.org:3901"'
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i

/** An address that others connect to: the port is not 0. @throws ValueError */
export function parseHostPort(value: unknown): HostPort {
  const parts = typeof value === 'string' ? splitHostPort(value) : undefined
  const valid =
    parts !== undefined &&
    parts.port > 0 &&
    (parts.bracketed ? isIP(parts.host) === 6 : isIP(parts.host) === 4 || isHostName(parts.host))
  if (!valid) throw new ValueError(`is ${show(value)}`, HOST_PORT_EXPECTED)
  return { host: parts.host, port: parts.port }
}

/** Whether it is a name; dotted numbers that are no IPv4 address ("300.1.1.1") are none. */
function isHostName(text: string): boolean {
  return HOST_NAME.test(text) && !/^[\d.]+$/.test(text)
}

export interface PeerAddress extends HostPort {
  /** 64 hexadecimal digits. */
  id: string
}

/** `<node id>@<host>:<port>`. @throws ValueError */
export function parsePeer(value: unknown): PeerAddress {
  const match = typeof value === 'string' ? /^([0-9a-f]{64})@(.+)$/i.exec(value) : null
  if (match === null) {
    throw new ValueError(`is ${show(value)}`, '"<node id of 64 hexadecimal digits>@<host>:<port>"')
  }
  return { id: match[1]!.toLowerCase(), ...parseHostPort(match[2]) }
}

/** A network in CIDR notation. @throws ValueError */
export function parseSubnet(value: unknown): string {
  const match = typeof value === 'string' ? /^([^/]+)\/(\d{1,3})$/.exec(value) : null
  const family = match === null ? 0 : isIP(match[1]!)
  if (family === 0 || Number(match![2]) > (family === 4 ? 32 : 128)) {
    throw new ValueError(`is ${show(value)}`, 'a network such as "10.0.0.0/8" or "2001:db8::/32"')
  }
  return value as string
}

/** An address or a network in CIDR notation. @throws ValueError */
export function parseNetwork(value: unknown): string {
  if (typeof value === 'string' && isIP(value) !== 0) return value
  try {
    return parseSubnet(value)
  } catch {
    throw new ValueError(
      `is ${show(value)}`,
      'an IP address or a network such as "127.0.0.1" or "10.0.0.0/8"',
    )
  }
}

/** Writes a host and port; IPv6 addresses stand in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Writes an address in the form of the configuration. */
export function formatListenAddress(address: ListenAddress): string {
  return address.kind === 'unix' ? address.path : formatHostPort(address)
}

function splitHostPort(text: string): (HostPort & { bracketed: boolean }) | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (match === null || Number(match[3]) > 65535) return undefined
  return {
    host: match[1] ?? match[2]!,
    port: Number(match[3]),
    bracketed: match[1] !== undefined,
  }
}

/** Shows a value in a message: JSON, shortened. */
export function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value)) return 'a list'
    return value instanceof Date ? 'a date' : 'a section'
  }
  const text = JSON.stringify(value) ?? 'absent'
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}
