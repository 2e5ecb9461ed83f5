/** Words for people, wherever they are written. */

const SPANS: readonly [seconds: number, name: string][] = [
  [86_400 * 365, 'year'],
  [86_400 * 30, 'month'],
  [86_400, 'day'],
  [3600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
]

/** The digits of an id of a node, bucket or block that are shown: every command takes them. */
export function shortId(id: string): string {
  return id.slice(0, 16)
}

/** "1 block", "2 blocks" */
export function plural(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`
}

/**
 * A time in whole units, rounded down: "3 hours".
 * @param longestSeconds no longer unit than this is used
 */
export function formatSpan(seconds: number, longestSeconds = Number.POSITIVE_INFINITY): string {
  const fitting = SPANS.find(([length]) => length <= longestSeconds && seconds >= length)
  const [length, name] = fitting ?? [1, 'second']
  return plural(Math.floor(seconds / length), name)
}

/** The same text, without the longer one of which V8 has it as a part, and which it would keep in memory. */
export function ownText(text: string): string {
  const encoding = /[^\0-\xff]/.test(text) ? 'utf16le' : 'latin1'
  return Buffer.from(text, encoding).toString(encoding)
}
