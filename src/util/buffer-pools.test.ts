import { expect, test } from 'vitest'
import { BufferPools } from './buffer-pools.js'

const LARGEST = 1 << 20

test('memory of every size that came back is lent again', () => {
  const pools = new BufferPools(LARGEST, 2)
  for (const length of [LARGEST, 300_000, 262_144, 65_536, 20_000, 5_000]) {
    const first = pools.take(length)
    expect(first.length).toBe(length)
    pools.give(first.subarray(10, 20))
    expect(pools.take(length - 1).buffer).toBe(first.buffer)
    pools.clear()
  }
})

test('no buffer is more than four times as large as was asked for, down to 16 KiB', () => {
  const pools = new BufferPools(LARGEST, 2)
  for (const length of [100_000, 65_537, 17_000]) {
    expect(pools.take(length).buffer.byteLength).toBeLessThan(4 * length)
  }
  expect(pools.take(100).buffer.byteLength).toBe(100)
})

test('what is too large, or came from elsewhere, is not kept', () => {
  const pools = new BufferPools(LARGEST, 2)
  const large = pools.take(LARGEST + 1)
  expect(large.length).toBe(LARGEST + 1)
  pools.give(large)
  const foreign = Buffer.allocUnsafeSlow(LARGEST)
  pools.give(foreign)
  expect(pools.take(LARGEST).buffer).not.toBe(foreign.buffer)
})

test('memory that moved is lent still', () => {
  const pools = new BufferPools(LARGEST, 2)
  const taken = pools.take(60_000)
  const moved = structuredClone(taken.buffer, { transfer: [taken.buffer as ArrayBuffer] })
  const adopted = pools.adopt(Buffer.from(moved, 0, 60_000))
  pools.give(adopted)
  expect(pools.take(60_000).buffer).toBe(moved)
})
