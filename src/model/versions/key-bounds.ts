/**
 * The longest keys of objects. Clients may ask for longer texts, as the prefix or the marker of a listing; these are
 * brought into the bounds here, since the database takes no longer keys.
 */

/** The length of the longest key, in UTF-8. */
export const KEY_BYTES_MAX = 1024
/** With 0x00 and 0x01 counted twice: two below what terminatedKey takes, for the key that follows. */
const ESCAPED_BYTES_MAX = 1498

/** The length of the longest beginning of `bytes` that is not longer than a key may be. */
function boundedLength(bytes: Uint8Array): number {
  const most = Math.min(bytes.length, KEY_BYTES_MAX)
  if (most * 2 <= ESCAPED_BYTES_MAX) return most
  let escaped = 0
  for (let i = 0; i < most; i++) {
    escaped += bytes[i]! <= 1 ? 2 : 1
    if (escaped > ESCAPED_BYTES_MAX) return i
  }
  return most
}

/** Whether there can be an object of that key, or one whose key begins with it. */
export function isKeyWithinBounds(key: Uint8Array): boolean {
  return boundedLength(key) === key.length
}

/** A position that keys come after as they come after `start`, however long that is: inclusive, as `start`. */
export function boundedStart(start: Buffer): Buffer {
  const length = boundedLength(start)
  if (length === start.length) return start
  // Every key from `start` on is greater than this beginning of it, and none is between the two.
  return Buffer.concat([start.subarray(0, length), Buffer.of(0)])
}
