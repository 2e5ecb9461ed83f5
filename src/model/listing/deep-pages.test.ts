import { expect, it } from 'vitest'
import type { LocalTable } from '../../table/local.js'
import { encodeHead } from '../versions/codec.js'
import type { VersionRecord } from '../versions/record.js'
import { nextStart } from './objects.js'
import { buildPage, type PageRequest, readPage } from './page.js'

const KEYS = 10_000_000
const EMPTY = Buffer.alloc(0)
const HEAD = encodeHead({
  ...{ bucket: Buffer.alloc(16), key: EMPTY, state: 'object', isNull: true, timeUs: 1, generation: 0 },
  ...{ id: Buffer.alloc(16), createdUs: 1, size: 4, etag: Buffer.alloc(16), etagParts: 0, owner: '' },
  ...{ headers: {}, metadata: {}, content: { kind: 'inline' }, mutable: {}, body: EMPTY },
} as VersionRecord)

/** Ten million keys that are made as they are asked for, by their rank; counts rows and ranges that were looked at. */
function virtualTable(keyAt: (rank: number) => string) {
  const counts = { rows: 0, ranges: 0 }
  const rankOf = (key: Buffer | undefined) => {
    let [low, high] = [0, KEYS]
    while (key && low < high) {
      const middle = (low + high) >> 1
      if (Buffer.from(keyAt(middle)).compare(key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
  const scan: LocalTable<VersionRecord>['scan'] = (_reader, _bucket, { start, end }, visit) => {
    counts.ranges++
    for (let rank = rankOf(start); rank < (end ? rankOf(end) : KEYS); rank++) {
      counts.rows++
      if (visit(Buffer.from(keyAt(rank)), HEAD) === false) return
    }
  }
  return { counts, table: { scan } as LocalTable<VersionRecord> }
}

/** What one page costs, and where the next one begins. */
function costOf(keyAt: (rank: number) => string, start: string, delimiter: string, prefix = '') {
  const { counts, table } = virtualTable(keyAt)
  const request: PageRequest = {
    ...{ bucket: Buffer.alloc(16), prefix: Buffer.from(prefix), delimiter: Buffer.from(delimiter) },
    ...{ start: Buffer.from(start), limit: 1000 },
  }
  const walk = buildPage(undefined as never, table, request)
  for (;;) {
    const { done, value } = walk.next()
    if (!done) continue
    const page = readPage(value)
    return { ...counts, entries: page.entries.length, next: nextStart(page)?.toString() }
  }
}

const flat = (rank: number) => `k${String(rank).padStart(8, '0')}`
/** A hundred thousand folders with a hundred keys each. */
const inFolders = (rank: number) =>
  `d${String(Math.floor(rank / 100)).padStart(6, '0')}/k${String(rank % 100).padStart(3, '0')}`

it('a page of a thousand keys costs the same wherever it begins among ten million', () => {
  for (const delimiter of ['', '/']) {
    const { next: _, ...first } = costOf(flat, '', delimiter)
    const { next, ...deep } = costOf(flat, flat(9_500_000), delimiter)
    expect(deep).toEqual(first)
    expect(first.entries).toBe(1000)
    expect(first.rows).toBeLessThan(1100)
    expect(next).toBe(`${flat(9_500_999)}\0`)
  }
})

it('a page of a thousand folders costs the same wherever it begins, however much is in them', () => {
  const { next: _, ...first } = costOf(inFolders, '', '/')
  const { next, ...deep } = costOf(inFolders, 'd095000/', '/')
  expect(deep).toEqual(first)
  expect(first.entries).toBe(1000)
  expect(first.rows).toBeLessThan(10_000)
  expect(next).toBe('d0959990')
  const { next: end, ...inside } = costOf(inFolders, '', '/', 'd099000/')
  expect([inside.entries, inside.rows, end]).toEqual([100, 100, undefined])
})
