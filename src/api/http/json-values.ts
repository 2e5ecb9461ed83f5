const QUOTE = 0x22
const BACKSLASH = 0x5c
/** The bytes before each value but the first: a comma, a colon, or the bracket of a list or object. */
const MARKS = new Set([...',:[{'].map((mark) => mark.charCodeAt(0)))

/**
 * Whether a JSON document has more than `max` values and names. Each becomes an object of its own when the document is
 * parsed, in one turn of the event loop: a body of some megabytes may have millions. Takes a small part of the time of
 * parsing, whatever the bytes are.
 */
export function hasMoreJsonValues(body: Buffer, max: number): boolean {
  let values = 1
  for (let at = 0; at < body.length; at++) {
    const byte = body[at]!
    if (byte === QUOTE) at = stringEnd(body, at)
    else if (MARKS.has(byte) && ++values > max) return true
  }
  return values > max
}

/** The place of the quote that ends the string that begins at `start`; the document's end if there is none. */
function stringEnd(body: Buffer, start: number): number {
  for (let at = start + 1; ; at++) {
    at = body.indexOf(QUOTE, at)
    if (at < 0) return body.length
    let escapes = 0
    while (body[at - escapes - 1] === BACKSLASH) escapes++
    if (escapes % 2 === 0) return at
  }
}
