import { createHash, randomFillSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { settle } from '../../testing/cluster-fakes.js'
import { ByteBudget } from '../util/byte-budget.js'
import { CarportError } from '../util/errors.js'
import { compressBlock, zstdCompression } from './compression.js'
import { DataDirs } from './data-dirs.js'
import {
  FILE_HEAD_BYTES,
  fileHead,
  HEAD_BYTES,
  isIntact,
  makeBlock,
  matchesHash,
  parseFile,
  plainContent,
} from './format.js'
import { judge, newRecord } from './rc-record.js'
import { replicate } from './replicate.js'
import { receiveBlock, singleChunk } from './wire.js'

const zstd = zstdCompression(1)
const HASH = createHash('sha256').update('a block').digest()

/** Both forms of a block's file. */
function filesOf({ head, payload }: { head: Buffer; payload: Buffer }): Buffer[] {
  return [Buffer.concat([fileHead({ head }, HASH), payload]), Buffer.concat([head, payload])]
}

describe('the block format', () => {
  it('gives back what was stored, compressed or not', async () => {
    for (const compression of [zstd, zstdCompression('none')]) {
      for (const bytes of [0, 1, 63, 64, 1000, 200_000]) {
        const data = Buffer.alloc(bytes, 'carport ')
        for (const file of filesOf(await compressBlock(data, compression))) {
          expect(Buffer.compare(await plainContent(parseFile(file, HASH).block, zstd), data)).toBe(0)
        }
      }
    }
  })

  it('compresses only what shrinks by five percent', async () => {
    const text = Buffer.alloc(1 << 20, 'the same again and again ')
    expect((await compressBlock(text, zstd)).payload.length).toBeLessThan(text.length / 10)
    const noise = randomFillSync(Buffer.alloc(1 << 20))
    expect((await compressBlock(noise, zstd)).payload).toBe(noise)
    const almost = Buffer.concat([noise.subarray(0, 49_000), Buffer.alloc(1_000)])
    expect((await compressBlock(almost, zstd)).payload).toBe(almost)
  })

  it('hands plain content on without a copy', async () => {
    const data = randomFillSync(Buffer.alloc(1000))
    for (const file of filesOf(makeBlock(data, data.length, false))) {
      const plain = await plainContent(parseFile(file, HASH).block, zstd)
      expect(plain.buffer).toBe(file.buffer)
    }
  })

  it('detects every single damaged, missing or additional byte', () => {
    for (const file of filesOf(makeBlock(Buffer.alloc(300, 'x'), 300, false))) {
      fc.assert(
        fc.property(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
          const bad = Buffer.from(file)
          bad[at]! ^= change
          expect(() => parseFile(bad, HASH)).toThrow(expect.objectContaining({ code: 'Corrupted' }))
        }),
      )
      for (let length = 0; length < file.length; length += 7) {
        expect(() => parseFile(file.subarray(0, length), HASH)).toThrow(CarportError)
      }
      expect(() => parseFile(Buffer.concat([file, Buffer.alloc(1)]), HASH)).toThrow(CarportError)
    }
  })

  it('names its block, or says that it does not', () => {
    const [named, unnamed] = filesOf(makeBlock(Buffer.alloc(300, 'x'), 300, false))
    expect(parseFile(named!, HASH).isNamed).toBe(true)
    expect(() => parseFile(named!, createHash('sha256').digest())).toThrow('another block')
    expect(parseFile(unnamed!, HASH).isNamed).toBe(false)
  })

  it('is Corrupted when it decompresses to something else', async () => {
    const squeezed = await zstd.compress(Buffer.alloc(1000, 'a'))
    const wrongLength = makeBlock(squeezed, 999, true)
    expect(isIntact(wrongLength)).toBe(true)
    await expect(plainContent(wrongLength, zstd)).rejects.toMatchObject({ code: 'Corrupted' })
    await expect(plainContent(makeBlock(Buffer.from('no zstd'), 9, true), zstd)).rejects.toMatchObject({
      code: 'Corrupted',
    })
    const good = makeBlock(squeezed, 1000, true)
    expect(await matchesHash(good, createHash('sha256').update(Buffer.alloc(1000, 'a')).digest(), zstd)).toBe(
      true,
    )
    expect(await matchesHash(good, createHash('sha256').digest(), zstd)).toBe(false)
    expect(await matchesHash(wrongLength, createHash('sha256').digest(), zstd)).toBe(false)
  })

  it('keeps its layout', () => {
    const { head } = makeBlock(Buffer.from('123456789'), 9, false)
    expect(head.length).toBe(HEAD_BYTES)
    expect(head.toString('hex')).toBe('4350420100000000000000096fecf21a')
    const file = fileHead({ head }, Buffer.alloc(32, 7))
    expect(file.length).toBe(FILE_HEAD_BYTES)
    expect(file.toString('hex')).toBe(`4350420200000000000000096fecf21a${'07'.repeat(32)}84070198`)
  })
})

describe('placement over data folders', () => {
  const hashes = Array.from({ length: 4000 }, (_, i) => createHash('sha256').update(`${i}`).digest())
  const share = (dirs: DataDirs, index: number) =>
    hashes.filter((hash) => dirs.writable(hash)[0] === index).length / hashes.length

  it('follows the capacities', () => {
    const dirs = new DataDirs([
      { path: '/a', capacity: 1, readOnly: false },
      { path: '/b', capacity: 2, readOnly: false },
      { path: '/c', capacity: 5, readOnly: false },
      { path: '/d', capacity: 100, readOnly: true },
    ])
    expect(share(dirs, 0)).toBeCloseTo(1 / 8, 1)
    expect(share(dirs, 1)).toBeCloseTo(2 / 8, 1)
    expect(share(dirs, 2)).toBeCloseTo(5 / 8, 1)
    expect(share(dirs, 3)).toBe(0)
    expect([...dirs.readable(hashes[0]!)].sort()).toEqual([0, 1, 2, 3])
  })

  it('moves blocks only to a folder that is new, and only its share', () => {
    const before = new DataDirs([
      { path: '/a', capacity: 1, readOnly: false },
      { path: '/b', capacity: 1, readOnly: false },
    ])
    const after = new DataDirs([
      { path: '/a/', capacity: 1, readOnly: false },
      { path: '/b', capacity: 1, readOnly: false },
      { path: '/c', capacity: 1, readOnly: false },
    ])
    const moved = hashes.filter((hash) => before.writable(hash)[0] !== after.writable(hash)[0])
    expect(moved.every((hash) => after.writable(hash)[0] === 2)).toBe(true)
    expect(moved.length / hashes.length).toBeCloseTo(1 / 3, 1)
  })

  it('refuses folders that cannot work', () => {
    expect(() => new DataDirs([])).toThrow(RangeError)
    expect(() => new DataDirs([{ path: '/a', capacity: 0, readOnly: false }])).toThrow(RangeError)
  })
})

describe('the verdict on a block', () => {
  const record = (fields: object) => ({ ...newRecord(), ...fields })
  const cases = [
    ['referenced and there', record({ count: 1 }), 0, true, { kind: 'keep' }],
    [
      'referenced and absent',
      record({ count: 2, present: true }),
      0,
      false,
      { kind: 'fetch', untilMs: Number.POSITIVE_INFINITY },
    ],
    ['in its grace', record({ keepUntilMs: 1001 }), 0, true, { kind: 'wait', untilMs: 1001 }],
    [
      'claimed for longer than its grace',
      record({ keepUntilMs: 1001 }),
      2000,
      true,
      { kind: 'wait', untilMs: 2000 },
    ],
    ['claimed and absent', record({ keepUntilMs: 1001 }), 2000, false, { kind: 'fetch', untilMs: 2000 }],
    ['past its grace', record({ keepUntilMs: 1000 }), 1000, true, { kind: 'delete' }],
    ['past its grace, without a file', record({ present: true }), 0, false, { kind: 'forget' }],
  ] as const
  for (const [name, rc, claimedUntilMs, exists, verdict] of cases) {
    it(name, () => expect(judge(rc, claimedUntilMs, exists, 1000)).toEqual(verdict))
  }
})

describe('the byte budget', () => {
  it('grants in order, never more than its limit, and one oversized amount alone', async () => {
    const budget = new ByteBudget(100)
    const granted: string[] = []
    const take = (name: string, bytes: number) =>
      Promise.resolve(budget.acquire(bytes)).then(() => void granted.push(name))
    void take('a', 60)
    void take('b', 60)
    void take('c', 10)
    await settle()
    expect(granted).toEqual(['a'])
    budget.release(60)
    await settle()
    expect(granted).toEqual(['a', 'b', 'c'])
    void take('huge', 1000)
    await settle()
    expect(granted).toHaveLength(3)
    budget.release(60)
    budget.release(10)
    await settle()
    expect(granted.at(-1)).toBe('huge')
    budget.release(1000)
    expect(budget.usedBytes).toBe(0)
  })

  it('refuses those who wait when it closes', async () => {
    const budget = new ByteBudget(10)
    expect(budget.acquire(10)).toBeUndefined()
    const waiting = budget.acquire(1)
    budget.close(new CarportError('Closed', 'over'))
    await expect(waiting).rejects.toMatchObject({ code: 'Closed' })
    await expect(budget.acquire(1)).rejects.toMatchObject({ code: 'Closed' })
  })
})

describe('replication to several sets', () => {
  it('needs a quorum of each live layout, and finishes with the last node', async () => {
    const pending = new Map<string, { resolve: () => void; reject: (error: unknown) => void }>()
    const send = (node: string) =>
      new Promise<void>((resolve, reject) => pending.set(node, { resolve, reject }))
    const failed: string[] = []
    const sets = [
      ['a', 'b', 'c'],
      ['b', 'c', 'd'],
    ]
    const { acknowledged, finished } = replicate(sets, 2, send, (node) => failed.push(node))
    let state = 'open'
    void acknowledged.then(() => {
      state = 'acknowledged'
    })
    void finished.then(() => {
      state = 'finished'
    })
    expect([...pending.keys()]).toEqual(['a', 'b', 'c', 'd'])
    pending.get('a')!.resolve()
    pending.get('b')!.resolve()
    await settle()
    expect(state).toBe('open')
    pending.get('c')!.reject(new Error('down'))
    await settle()
    expect(state).toBe('open')
    pending.get('d')!.resolve()
    await settle()
    expect(state).toBe('finished')
    expect(failed).toEqual(['c'])
  })

  it('fails as soon as one set cannot reach its quorum, and says StorageFull for what is full', async () => {
    const down = replicate(
      [['a', 'b', 'c']],
      2,
      () => Promise.reject(new Error('down')),
      () => {},
    )
    await expect(down.acknowledged).rejects.toMatchObject({ code: 'QuorumUnavailable' })
    const full = new CarportError('StorageFull', 'full')
    const refused = replicate(
      [['a', 'b', 'c']],
      2,
      () => Promise.reject(full),
      () => {},
    )
    await expect(refused.acknowledged).rejects.toBe(full)
    await expect(
      replicate(
        [],
        2,
        async () => {},
        () => {},
      ).acknowledged,
    ).rejects.toMatchObject({
      code: 'LayoutNotReady',
    })
  })
})

describe('a block on its way from a peer', () => {
  const { head, payload } = makeBlock(Buffer.alloc(1000, 'y'), 1000, false)
  const body = { found: true, head, bytes: payload.length }
  async function* chunks(...parts: Buffer[]) {
    yield* parts
  }

  it('is put together from any chunks, and passed on without a copy if it is one', async () => {
    const pieces = [payload.subarray(0, 1), payload.subarray(1, 500), payload.subarray(500)]
    expect((await receiveBlock(body, chunks(...pieces), HASH))!.block.payload.equals(payload)).toBe(true)
    expect((await receiveBlock(body, chunks(payload), HASH))!.block.payload).toBe(payload)
  })

  it('is refused when it is too short, too long, damaged, or said to be absurdly long', async () => {
    const bad = Buffer.from(payload)
    bad[7]! ^= 1
    await expect(receiveBlock(body, chunks(bad), HASH)).rejects.toMatchObject({ code: 'Corrupted' })
    await expect(receiveBlock(body, chunks(payload.subarray(1)), HASH)).rejects.toMatchObject({
      code: 'RemoteError',
    })
    await expect(receiveBlock(body, chunks(payload, payload), HASH)).rejects.toMatchObject({
      code: 'RemoteError',
    })
    await expect(receiveBlock({ ...body, bytes: 2 ** 40 }, chunks(payload), HASH)).rejects.toMatchObject({
      code: 'RemoteError',
    })
    expect(await receiveBlock({ found: false }, undefined, HASH)).toBeUndefined()
    expect(await receiveBlock(null, undefined, HASH)).toBeUndefined()
  })

  it('gives its memory back exactly once, however the stream ends', async () => {
    for (const end of ['read', 'return', 'abort', 'abort before'] as const) {
      let ends = 0
      const controller = new AbortController()
      if (end === 'abort before') controller.abort()
      const iterator = singleChunk(payload, controller.signal, () => ends++)[Symbol.asyncIterator]()
      if (end === 'read') while (!(await iterator.next()).done);
      if (end === 'return') await iterator.return!()
      if (end === 'abort') controller.abort()
      expect(ends).toBe(1)
      await iterator.return!()
      controller.abort()
      expect(ends).toBe(1)
    }
  })
})
