import { expect, test } from 'vitest'
import { uploadSortKey } from '../sort-keys.js'
import { deletedUpload, type UploadRow } from './tables.js'
import { Uploads } from './uploads.js'

const BUCKET = Buffer.alloc(16)
const EMPTY = { owner: '', headers: {}, metadata: {}, mutable: {} }

/** Uploads over rows in memory, and how many of them were looked at. */
function uploadsOf(rows: UploadRow[]) {
  const sorted = rows
    .map((row) => ({ row, sortKey: uploadSortKey(row.key, row.id) }))
    .sort((a, b) => a.sortKey.compare(b.sortKey))
  let lookedAt = 0
  const table = {
    async range(_bucket: Buffer, { start, end, limit }: { start: Buffer; end?: Buffer; limit: number }) {
      const found = sorted
        .filter(({ sortKey }) => sortKey.compare(start) >= 0 && (!end || sortKey.compare(end) < 0))
        .slice(0, limit)
      lookedAt += found.length
      return found.map(({ row }) => row)
    },
  }
  return { uploads: new Uploads({ uploads: table } as never), lookedAt: () => lookedAt }
}

function row(key: string, deleted = false): UploadRow {
  const named = { bucket: BUCKET, key: Buffer.from(key), id: Buffer.alloc(16, 1) }
  return deleted ? deletedUpload(named) : { ...named, deleted: false, timeUs: 1, ...EMPTY }
}

const numbered = (prefix: string, count: number, deleted = false) =>
  Array.from({ length: count }, (_, i) => row(`${prefix}${String(i).padStart(6, '0')}`, deleted))

test('what is below a common prefix is skipped', async () => {
  const { uploads, lookedAt } = uploadsOf([...numbered('a/', 30_000), row('b'), ...numbered('c/', 10)])
  const page = await uploads.page(BUCKET, { prefix: '', delimiter: '/', limit: 100 })
  expect(page.prefixes).toEqual(['a/', 'c/'])
  expect(page.uploads.map(({ key }) => String(key))).toEqual(['b'])
  expect(page.next).toBeUndefined()
  expect(lookedAt()).toBeLessThan(2_000)
})

test('a page looks at no more than so many uploads that ended, and says where to go on', async () => {
  const { uploads, lookedAt } = uploadsOf([...numbered('m', 50_000, true), row('z')])
  const found: string[] = []
  let after: { key: Buffer; id: Buffer } | undefined
  let pages = 0
  do {
    const before = lookedAt()
    const page = await uploads.page(BUCKET, { prefix: '', delimiter: '', limit: 10, ...(after && { after }) })
    expect(lookedAt() - before).toBeLessThanOrEqual(21_000)
    found.push(...page.uploads.map(({ key }) => String(key)))
    after = page.next && { key: Buffer.from(page.next.key), id: Buffer.from(page.next.id!, 'hex') }
    pages++
  } while (after)
  expect(found).toEqual(['z'])
  expect(pages).toBe(3)
})
