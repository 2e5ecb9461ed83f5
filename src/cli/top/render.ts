/** The screen of `carport top`, as lines of text. Pure. */

import type { TopRow } from '../../api/admin/rates.js'
import { formatSize, printable, shortId, table } from '../format.js'

/** The columns by which nodes can be sorted, each with its key on the keyboard. */
export const SORTS = {
  n: { name: 'name', of: undefined },
  r: { name: 'requests', of: (row: TopRow) => row.requestsPerSecond },
  b: { name: 'bytes', of: (row: TopRow) => sum(row.bytesInPerSecond, row.bytesOutPerSecond) },
  l: { name: 'latency', of: (row: TopRow) => row.latencyP99Ms },
  e: { name: 'errors', of: (row: TopRow) => sum(row.clientErrorsPerSecond, row.serverErrorsPerSecond) },
  d: { name: 'delay', of: (row: TopRow) => row.loopDelayP99Ms },
  c: { name: 'cpu', of: (row: TopRow) => row.cpu },
  m: { name: 'memory', of: (row: TopRow) => row.memoryBytes },
  u: { name: 'queues', of: (row: TopRow) => sum(row.resyncQueue, row.otherQueues) },
  p: { name: 'peers', of: (row: TopRow) => row.roundTripMs },
} as const satisfies Record<string, { name: string; of: ((row: TopRow) => number | null) | undefined }>

export type Sort = keyof typeof SORTS

export function isSort(key: string): key is Sort {
  return Object.hasOwn(SORTS, key)
}

/** The nodes in an order: the greatest first, those of which it is not known last, equal ones by their names. */
export function sorted(rows: readonly TopRow[], sort: Sort): TopRow[] {
  const { of } = SORTS[sort]
  const rank = (row: TopRow) => of?.(row) ?? Number.NEGATIVE_INFINITY
  return [...rows].sort((a, b) => {
    const [left, right] = [rank(a), rank(b)]
    return left === right ? compareNames(a, b) : right - left
  })
}

function compareNames(a: TopRow, b: TopRow): number {
  const [left, right] = [a, b].map(({ hostname, id }) => `${hostname ?? ''}\0${id}`)
  return left! < right! ? -1 : left === right ? 0 : 1
}

const HEAD = [
  ...['Node', 'Host', 'Zone', 'Req/s', '4xx/s', '5xx/s', 'In/s', 'Out/s', 'p50', 'p99'],
  ...['Loop', 'CPU', 'Memory', 'Resync', 'Queues', 'RTT'],
]

/**
 * All lines of the screen.
 * @param time what the clock shows
 */
export function renderTop(rows: readonly TopRow[], sort: Sort, time: string): string[] {
  const up = rows.filter(({ isUp }) => isUp)
  const total = (of: (row: TopRow) => number | null) => sum(...up.map(of))
  const errors = total((row) => row.serverErrorsPerSecond)
  return [
    `carport top  ${time}  ${up.length} of ${rows.length} nodes up  ${decimal(total((row) => row.requestsPerSecond))} requests/s  ` +
      `in ${size(total((row) => row.bytesInPerSecond))}/s  out ${size(total((row) => row.bytesOutPerSecond))}/s  ` +
      `${decimal(errors)} failed/s`,
    '',
    ...table([HEAD, ...sorted(rows, sort).map(cells)]).split('\n'),
    '',
    ...(up.some((row) => row.memoryBytes === null && row.error === null)
      ? ['Nodes without an admin API ([admin] api_bind_addr) do not measure their requests.']
      : []),
    `Sorted by ${SORTS[sort].name}. Keys: ${Object.entries(SORTS)
      .map(([key, { name }]) => `${key} ${name}`)
      .join(', ')}, q quit`,
  ]
}

function cells(row: TopRow): string[] {
  const base = [shortId(row.id), row.hostname ?? '?', row.zone ?? '-']
  if (!row.isUp) return [...base, 'DOWN']
  if (row.error !== null) return [...base, `does not answer: ${printable(row.error)}`]
  return [
    ...base,
    decimal(row.requestsPerSecond),
    decimal(row.clientErrorsPerSecond),
    decimal(row.serverErrorsPerSecond),
    size(row.bytesInPerSecond),
    size(row.bytesOutPerSecond),
    milliseconds(row.latencyP50Ms),
    milliseconds(row.latencyP99Ms),
    milliseconds(row.loopDelayP99Ms),
    row.cpu === null ? '-' : `${Math.round(row.cpu * 100)}%`,
    size(row.memoryBytes),
    row.resyncQueue === null ? '-' : String(row.resyncQueue),
    row.otherQueues === null ? '-' : String(row.otherQueues),
    milliseconds(row.roundTripMs),
  ]
}

function sum(...values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : known.reduce((total, value) => total + value, 0)
}

function decimal(value: number | null): string {
  return value === null ? '-' : value >= 100 ? value.toFixed(0) : value.toFixed(1)
}

function size(value: number | null): string {
  return value === null ? '-' : formatSize(Math.round(value))
}

function milliseconds(value: number | null): string {
  if (value === null) return '-'
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`
  return value >= 10 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`
}
