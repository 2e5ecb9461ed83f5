/** The value of a hex digit, given by its character code; -1 if it is none. */
function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Decodes a percent-encoded part of a request target once. Its characters are bytes, as node:http gives them.
 * @param plusIsSpace for query strings
 * @returns undefined for a `%` without two hex digits and for bytes that are not UTF-8
 */
export function percentDecode(raw: string, plusIsSpace = false): string | undefined {
  let i = 0
  for (; i < raw.length; i++) {
    const c = raw.charCodeAt(i)
    if (c === 37 || c >= 128 || (plusIsSpace && c === 43)) break
  }
  if (i === raw.length) return raw
  const bytes = Buffer.allocUnsafe(raw.length)
  let n = bytes.write(raw.slice(0, i), 0, 'latin1')
  for (; i < raw.length; i++) {
    const c = raw.charCodeAt(i)
    if (c === 37) {
      const high = hexDigit(raw.charCodeAt(i + 1))
      const low = hexDigit(raw.charCodeAt(i + 2))
      if (high < 0 || low < 0) return undefined
      bytes[n++] = high * 16 + low
      i += 2
    } else if (c > 255) {
      return undefined
    } else {
      bytes[n++] = plusIsSpace && c === 43 ? 32 : c
    }
  }
  try {
    return utf8.decode(bytes.subarray(0, n))
  } catch {
    return undefined
  }
}

const HEX = '0123456789ABCDEF'

/** Whether a byte stands for itself in AWS's URI encoding: RFC 3986's unreserved characters. */
function isUnreserved(c: number): boolean {
  return (
    (c >= 97 && c <= 122) || // a-z
    (c >= 65 && c <= 90) ||
    (c >= 48 && c <= 57) ||
    c === 45 || // -
    c === 46 || // .
    c === 95 || // _
    c === 126 // ~
  )
}

/** AWS's UriEncode of a text's UTF-8 bytes; `/` stays only with `keepSlash`. */
export function uriEncode(text: string, keepSlash = false): string {
  let i = 0
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (!isUnreserved(c) && !(keepSlash && c === 47)) break
  }
  if (i === text.length) return text
  const bytes = Buffer.from(text, 'utf8')
  let out = ''
  for (const c of bytes) {
    if (isUnreserved(c) || (keepSlash && c === 47)) out += String.fromCharCode(c)
    else out += `%${HEX[c >> 4]}${HEX[c & 15]}`
  }
  return out
}

/**
 * The canonical form (each byte encoded once, by AWS's rules) of a raw part of a request target, however much
 * of it the sender encoded. A `%` that begins no escape stands for itself.
 */
export function recode(raw: string, keepSlash: boolean, plusIsSpace: boolean): string {
  let out = ''
  let start = 0 // of the run that is canonical as it is
  for (let i = 0; i < raw.length; i++) {
    let c = raw.charCodeAt(i)
    if (isUnreserved(c) || (keepSlash && c === 47)) continue
    let length = 1
    if (c === 37) {
      const high = hexDigit(raw.charCodeAt(i + 1))
      const low = hexDigit(raw.charCodeAt(i + 2))
      if (high >= 0 && low >= 0) {
        c = high * 16 + low
        length = 3
      }
    } else if (c === 43 && plusIsSpace) {
      c = 32
    }
    out += raw.slice(start, i)
    // An encoded slash stays encoded: it is not a separator of the path as sent.
    if (isUnreserved(c)) out += String.fromCharCode(c)
    else out += `%${HEX[(c >> 4) & 15]}${HEX[c & 15]}`
    i += length - 1
    start = i + 1
  }
  return start === 0 ? raw : out + raw.slice(start)
}
