/** A range of addresses: IPv4 ones in their IPv6 form (::ffff:a.b.c.d). */
export interface AddressRange {
  bytes: Uint8Array
  /** Leading bits that count, of 128. */
  bits: number
  version: 4 | 6
}

const V4_PREFIX_BITS = 96

/** Parses an IPv4 or IPv6 address into 16 bytes; undefined if it is none. */
export function parseAddress(text: string): { bytes: Uint8Array; version: 4 | 6 } | undefined {
  const zone = text.indexOf('%')
  const address = zone < 0 ? text : text.slice(0, zone)
  if (!address.includes(':')) {
    const v4 = parseV4(address)
    return v4 && { bytes: mapped(v4), version: 4 }
  }
  const bytes = parseV6(address)
  if (!bytes) return undefined
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
  return { bytes, version: isMapped ? 4 : 6 }
}

/** Parses an address or CIDR range; undefined if it is none. */
export function parseRange(text: string): AddressRange | undefined {
  const slash = text.indexOf('/')
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash))
  if (!address) return undefined
  const width = text.includes(':') ? 128 : 32
  let bits = width
  if (slash >= 0) {
    const suffix = text.slice(slash + 1)
    if (!/^\d{1,3}$/.test(suffix) || Number(suffix) > width) return undefined
    bits = Number(suffix)
  }
  return { bytes: address.bytes, bits: width === 32 ? bits + V4_PREFIX_BITS : bits, version: address.version }
}

export function inRange(range: AddressRange, address: Uint8Array): boolean {
  const whole = range.bits >> 3
  for (let i = 0; i < whole; i++) if (range.bytes[i] !== address[i]) return false
  const rest = range.bits & 7
  if (rest === 0) return true
  const mask = (0xff << (8 - rest)) & 0xff
  return (range.bytes[whole]! & mask) === (address[whole]! & mask)
}

/** How many leading bits of an address the range fixes, in its own version's terms. */
export function prefixBits(range: AddressRange): number {
  return range.version === 4 ? Math.max(0, range.bits - V4_PREFIX_BITS) : range.bits
}

function mapped(v4: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes[10] = bytes[11] = 255
  bytes.set(v4, 12)
  return bytes
}

function parseV4(text: string): number[] | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  const parts = match?.slice(1).map(Number)
  return parts?.every((part) => part <= 255) ? parts : undefined
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = groups(halves[0]!)
  const tail = halves.length === 2 ? groups(halves[1]!) : []
  if (!head || !tail) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail]
  const bytes = new Uint8Array(16)
  all.forEach((group, i) => {
    bytes[2 * i] = group >> 8
    bytes[2 * i + 1] = group & 0xff
  })
  return bytes
}

/** 16-bit groups; the last may be an IPv4 address, which makes two. */
function groups(text: string): number[] | undefined {
  if (text === '') return []
  const found: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    const v4 = i === parts.length - 1 && part.includes('.') ? parseV4(part) : undefined
    if (v4) found.push(v4[0]! * 256 + v4[1]!, v4[2]! * 256 + v4[3]!)
    else if (/^[0-9a-fA-F]{1,4}$/.test(part)) found.push(Number.parseInt(part, 16))
    else return undefined
  }
  return found
}
