/** Texts for people: tables, sizes, times. Nothing here may let a stored name drive the terminal. */
import { formatSpan } from '../util/text.js'

export { formatSpan, shortId } from '../util/text.js'

/** Makes control characters visible, so that a name cannot move the cursor or forge a line. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** Rows with columns aligned, two spaces between them; a row may be shorter than others. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  const cells = rows.map((row) => row.map(printable))
  for (const row of cells) {
    row.forEach((cell, i) => {
      // The last cell of a row needs no padding.
      if (i < row.length - 1) widths[i] = Math.max(widths[i] ?? 0, width(cell))
    })
  }
  return cells
    .map((row) =>
      row
        .map((cell, i) => (i < row.length - 1 ? cell + ' '.repeat(widths[i]! - width(cell)) : cell))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** The number of columns that a text takes on a terminal, nearly: one per code point. */
function width(text: string): number {
  return [...text].length
}

const DECIMAL = ['B', 'KB', 'MB', 'GB', 'TB', 'PB']
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** A size in powers of 1000, as capacities are given: "1.5 TB". */
export function formatSize(bytes: number): string {
  return scaled(bytes, 1000, DECIMAL)
}

/** A size in powers of 1024 and of 1000: "1.0 MiB (1.0 MB)". */
export function formatSizeBoth(bytes: number): string {
  return `${scaled(bytes, 1024, BINARY)} (${formatSize(bytes)})`
}

function scaled(bytes: number, base: number, units: readonly string[]): string {
  let value = bytes
  let unit = 0
  // Rounding would write 999.95 as 1000.0.
  while (value >= base - 0.05 && unit < units.length - 1) {
    value /= base
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`
}

/** A capacity, or "gateway". */
export function formatCapacity(capacity: number | null): string {
  return capacity === null ? 'gateway' : formatSize(capacity)
}

/** "3 hours ago" */
export function formatAgo(seconds: number): string {
  return seconds < 1 ? 'just now' : `${formatSpan(seconds)} ago`
}

/** An RFC 3339 time in UTC without fractions; a text that is no time is shown as it is. */
export function formatTime(time: string): string {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? time : `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** The day of an RFC 3339 time, in UTC. */
export function formatDate(time: string | null): string {
  return time === null ? '' : formatTime(time).slice(0, 10)
}

/** Things by the time at which they were made; those without one come first. */
export function oldestFirst<T extends { created: string | null }>(things: readonly T[]): T[] {
  return [...things].sort((a, b) => {
    const [x, y] = [a.created ?? '', b.created ?? '']
    return x < y ? -1 : x > y ? 1 : 0
  })
}

/** The first of several values and how many there are. */
export function abbreviate(values: readonly string[]): string {
  return values.length < 2 ? (values[0] ?? '') : `${values[0]}, ... (${values.length})`
}

/** "RWO", with spaces for what is not permitted. */
export function formatPermissions(p: { read: boolean; write: boolean; owner: boolean }): string {
  return `${p.read ? 'R' : ' '}${p.write ? 'W' : ' '}${p.owner ? 'O' : ' '}`
}
