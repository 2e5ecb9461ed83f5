import { createHash, randomBytes } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { realClock } from '../src/platform/clock-and-random.js'
import type * as hashPool from '../src/platform/hash-pool.js'
import { crc64nvme } from '../src/util/crc-wasm.js'

// Use the compiled pool, since threads do not run TypeScript.
const compiled = new URL('../dist/src/platform/hash-pool.js', import.meta.url)
const { HashPool } = (await import(compiled.href)) as typeof hashPool

const BLOCK_BYTES = 65_536
let pool: hashPool.HashPool | undefined

afterEach(() => pool?.stop())

const digest = (algorithm: string, ...parts: Buffer[]) => {
  const hash = createHash(algorithm)
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/** Makes a block in the pool's memory, as the reader of a body does. */
function block(of: hashPool.HashPool, content: Buffer): Buffer {
  const buffer = of.allocate(content.length)
  content.copy(buffer)
  return buffer
}

test.each([0, 2])('digests of bodies that are hashed at the same time, with %d threads', async (threads) => {
  const hashing = new HashPool(realClock, threads, BLOCK_BYTES)
  pool = hashing
  const bodies = [randomBytes(5 * BLOCK_BYTES + 77), randomBytes(3 * BLOCK_BYTES), randomBytes(300_000)]
  await Promise.all(
    bodies.map(async (content) => {
      const body = hashing.start({ expectedBytes: undefined, crc64: true })
      for (let at = 0; at < content.length; at += BLOCK_BYTES) {
        const plain = content.subarray(at, at + BLOCK_BYTES)
        const mine = block(hashing, plain)
        const { hash, sealed } = await body.add(mine, mine)
        expect(hash.toString('hex')).toBe(digest('sha256', plain))
        expect(sealed.equals(plain)).toBe(true)
        hashing.release(sealed)
      }
      const { md5, crc64 } = await body.end()
      expect(md5.toString('hex')).toBe(digest('md5', content))
      expect(crc64!.readBigUInt64BE()).toBe(crc64nvme(content))
      body.discard()
    }),
  )
})

test('blocks may be added before the ones before them are through', async () => {
  const hashing = new HashPool(realClock, 2, BLOCK_BYTES)
  pool = hashing
  const parts = [randomBytes(BLOCK_BYTES), randomBytes(BLOCK_BYTES), randomBytes(10)]
  const body = hashing.start({ expectedBytes: undefined, crc64: true })
  const added = parts.map((part) => {
    const mine = block(hashing, part)
    return body.add(mine, mine)
  })
  const hashed = await Promise.all(added)
  expect(hashed.map(({ hash }) => hash.toString('hex'))).toEqual(parts.map((part) => digest('sha256', part)))
  expect((await body.end()).md5.toString('hex')).toBe(digest('md5', ...parts))
})

test('the MD5 is of the plain bytes, the SHA-256 of the sealed ones, which come back', async () => {
  const hashing = new HashPool(realClock, 1, BLOCK_BYTES)
  pool = hashing
  const plain = randomBytes(BLOCK_BYTES)
  const sealed = randomBytes(BLOCK_BYTES)
  const body = hashing.start({ expectedBytes: undefined, crc64: true })
  const added = await body.add(block(hashing, plain), Buffer.from(sealed))
  expect(added.hash.toString('hex')).toBe(digest('sha256', sealed))
  expect(added.sealed.equals(sealed)).toBe(true)
  expect((await body.end()).md5.toString('hex')).toBe(digest('md5', plain))
})

test('a short last block in a slab of Node is copied, not moved', async () => {
  const hashing = new HashPool(realClock, 1, BLOCK_BYTES)
  pool = hashing
  const slab = Buffer.from('a short body')
  const body = hashing.start({ expectedBytes: undefined, crc64: true })
  const { hash } = await body.add(slab, slab)
  expect(hash.toString('hex')).toBe(digest('sha256', Buffer.from('a short body')))
  expect(slab.toString()).toBe('a short body')
  await body.end()
})

test('stopping rejects what was under way, and hashing goes on with new threads', async () => {
  const hashing = new HashPool(realClock, 1, BLOCK_BYTES)
  pool = hashing
  const body = hashing.start({ expectedBytes: undefined, crc64: true })
  const mine = block(hashing, randomBytes(BLOCK_BYTES))
  const added = body.add(mine, mine)
  const stopped = hashing.stop()
  await expect(added).rejects.toMatchObject({ code: 'Closed' })
  await stopped
  const content = randomBytes(1000)
  const next = hashing.start({ expectedBytes: undefined, crc64: true })
  await next.add(Buffer.from(content), Buffer.from(content))
  expect((await next.end()).md5.toString('hex')).toBe(digest('md5', content))
})
