/** A satisfiable byte range: `start` inclusive, `end` exclusive. */
export interface ByteRange {
  start: number
  end: number
}

/**
 * Reads a Range header (RFC 9110, section 14). Ranges of another unit, several ranges and malformed ones are ignored,
 * as the RFC allows and AWS does: the answer is the whole object then.
 * @returns 'unsatisfiable' (416) if no byte of the range exists
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  if (header === undefined) return undefined
  if (!header.startsWith('bytes=')) return undefined
  // No expression with two runs of spaces that may touch: what does not match it would take quadratic time.
  const ends = header.slice('bytes='.length).split('-', 3)
  const [first, last] = ends.map((text) => text.trim()) as [string, string]
  if (ends.length !== 2 || !/^\d*$/.test(first + last) || first + last === '') return undefined
  if (first === '') {
    const length = Number(last)
    if (length === 0 || size === 0) return 'unsatisfiable'
    return { start: Math.max(0, size - length), end: size }
  }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return undefined
  if (start >= size) return 'unsatisfiable'
  return { start, end: last === '' ? size : Math.min(size, Number(last) + 1) }
}
