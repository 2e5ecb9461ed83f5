import { describe, expect, test } from 'vitest'
import { makeBlock } from '../block/format.js'
import { quorumsOf } from '../cluster/quorum-sizes.js'
import { blockOwner, packBlocks, unpackBlocks, versionId } from '../model/content/refs.js'
import { bucketPartition, uploadSortKey, versionSortKey } from '../model/sort-keys.js'
import { encodeHead } from '../model/versions/codec.js'
import { tombstoneOf } from '../model/versions/tables.js'
import { assert } from './assert.js'
import { ByteBudget } from './byte-budget.js'
import { writeUint53 } from './uint53.js'

test('an assertion that does not hold is an internal error', () => {
  expect(() => assert(1 + 1 === 2, 'sums add up')).not.toThrow()
  expect(() => assert(1 + 1 === 3, 'sums add up')).toThrow(
    expect.objectContaining({ code: 'Internal', message: 'sums add up' }),
  )
})

describe('what would be stored wrong is refused', () => {
  const id = Buffer.alloc(16)
  const row = tombstoneOf({ bucket: id, key: Buffer.from('key'), isNull: true, timeUs: 1 }, id)
  const budget = new ByteBudget(100)
  const internal = (what: string, fn: () => unknown) =>
    test(what, () => expect(fn).toThrow(expect.objectContaining({ code: 'Internal' })))

  internal('a size that is no whole number', () => writeUint53(Buffer.alloc(8), 0.5, 0))
  internal('a negative time', () => writeUint53(Buffer.alloc(8), -1, 0))
  internal('a time beyond what a double tells apart', () => writeUint53(Buffer.alloc(8), 2 ** 53, 0))
  internal('a size that is not known', () => writeUint53(Buffer.alloc(8), Number.NaN, 0))
  internal('more bytes given back than taken', () => budget.release(1))
  internal('a negative amount of memory', () => budget.acquire(-1))
  internal('a bucket id cut short', () => bucketPartition(Buffer.alloc(0)))
  internal('a version id cut short', () => versionSortKey(Buffer.from('key'), Buffer.alloc(8), false))
  internal('an upload id cut short', () => uploadSortKey(Buffer.from('key'), Buffer.alloc(8)))
  internal('a nonce of a wrong length', () => versionId(1, Buffer.alloc(4)))
  internal('an owner of a wrong length', () => blockOwner(Buffer.alloc(15)))
  internal('a hash of a wrong length', () => packBlocks([{ hash: Buffer.alloc(16), size: 1 }]))
  internal('a head with an ETag of a wrong length', () => encodeHead({ ...row, etag: Buffer.alloc(8) }))
  internal('a head whose owner does not fit', () => encodeHead({ ...row, owner: 'x'.repeat(256) }))
  internal('a quorum that is no count', () => quorumsOf(Number.NaN, [['a']]))
  internal('a quorum for fewer sets than there are', () => quorumsOf([2], [['a'], ['b']]))
  internal('a block whose length is not that of its content', () => makeBlock(Buffer.alloc(3), 4, false))

  test('a list of blocks cut short is corrupted', () => {
    const packed = packBlocks([{ hash: Buffer.alloc(32, 1), size: 5 }])
    expect(unpackBlocks(packed)).toEqual([{ hash: Buffer.alloc(32, 1), size: 5 }])
    expect(() => unpackBlocks(packed.subarray(1))).toThrow(expect.objectContaining({ code: 'Corrupted' }))
  })
})
