import { expect, test } from 'vitest'
import { versionId } from '../content/refs.js'
import { decodeHead, encodeHead, listedBytes, readListed } from './codec.js'
import { agesFromMs, lastModifiedMs, plainVersion, type VersionRecord } from './record.js'
import { tombstoneOf } from './tables.js'

const at = {
  bucket: Buffer.alloc(16, 0xb1),
  key: Buffer.from('a key'),
  isNull: false,
  timeUs: 1_700_000_000_000_123,
}

const version: VersionRecord = {
  ...tombstoneOf(at, versionId(at.timeUs, Buffer.alloc(8, 7))),
  state: 'object',
  owner: 'GK000000000000000000000001',
  size: 3,
  etag: Buffer.alloc(16, 0xe7),
  headers: { 'content-type': 'text/plain' },
}
const chain = {
  root: Buffer.alloc(16, 1),
  ballot: Buffer.alloc(16, 2) as unknown as NonNullable<VersionRecord['chain']>['ballot'],
  lineage: Buffer.alloc(8, 3),
}
const TOLD_MS = 981_173_106_789
const decoded = (v: VersionRecord) => decodeHead(encodeHead(v), () => undefined)

test('a version without a Last-Modified of its own has the bytes that it always had', () => {
  expect(encodeHead(version).toString('hex')).toBe(HEAD)
  const read = decodeHead(Buffer.from(HEAD, 'hex'), () => undefined)
  expect(read.modifiedMs).toBeUndefined()
  expect([lastModifiedMs(read), agesFromMs(read)]).toEqual([1_700_000_000_000, 1_700_000_000_000.123])
  expect(readListed(Buffer.from(HEAD, 'hex')).modifiedMs).toBeUndefined()
})

test.each([
  ['a plain row', version],
  ['a conditional row', { ...version, generation: 1, chain }],
  ['a delete marker', { ...version, state: 'marker' as const }],
  ['a row without an owner', { ...version, owner: '' }],
])('%s keeps a Last-Modified of its own, whatever else it has', (_, plain) => {
  const dated = { ...plain, modifiedMs: TOLD_MS }
  const read = decoded(dated)
  expect(plainVersion(read)).toEqual(plainVersion(dated))
  expect([read.owner, read.key.toString(), read.bucket]).toEqual([plain.owner, 'a key', plain.bucket])
  expect([lastModifiedMs(read), agesFromMs(read)]).toEqual([TOLD_MS, TOLD_MS])
  // Times and order are those of the write.
  expect([read.timeUs, read.createdUs]).toEqual([plain.timeUs, plain.createdUs])
  expect(encodeHead(plainVersion(read))).toEqual(encodeHead(dated))
})

test('listings read it from the beginning of a head, whatever flags a page has set there', () => {
  const head = encodeHead({ ...version, modifiedMs: TOLD_MS })
  const page = Buffer.from(head.subarray(0, listedBytes(head)))
  page[0]! |= 0x90
  const { modifiedMs, owner, createdUs, size } = readListed(page)
  expect([modifiedMs, owner, createdUs, size]).toEqual([TOLD_MS, version.owner, at.timeUs, 3])
  expect(listedBytes(head)).toBe(listedBytes(encodeHead(version)) + 8)
})

test('heads that are cut short, and formats that nobody writes yet, are refused', () => {
  const head = encodeHead({ ...version, modifiedMs: TOLD_MS })
  for (const bytes of [60, 66, 92, 98, 100, 120])
    expect(() => decodeHead(head.subarray(0, bytes), () => undefined)).toThrow(/malformed object row/)
  for (const format of [0, 5, 6, 15, 255]) {
    const other = Buffer.from(head)
    other[0] = format
    expect(() => decodeHead(other, () => undefined)).toThrow('unknown format')
  }
})

/** As the releases before wrote it. */
const HEAD = [
  '010100060a24181e407b0000000000060a24181e407b070707070707070700060a24181e407b0000000000000003e7e7',
  'e7e7e7e7e7e7e7e7e7e7e7e7e7e70000ff1a474b303030303030303030303030303030303030303030303031b1b1b1b1',
  'b1b1b1b1b1b1b1b1b1b1b1b1000561206b657981a16881ac636f6e74656e742d74797065aa746578742f706c61696e',
].join('')
