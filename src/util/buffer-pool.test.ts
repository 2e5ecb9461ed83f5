import { expect, test } from 'vitest'
import { BufferPool } from './buffer-pool.js'

test('memory that came back is lent again', () => {
  const pool = new BufferPool(1024, 2)
  const first = pool.take(1000)
  expect(first.length).toBe(1000)
  pool.give(first.subarray(10, 20))
  expect(pool.take(500).buffer).toBe(first.buffer)
})

test('memory comes back once, and only to the pool it is from', () => {
  const pool = new BufferPool(1024, 2)
  const buffer = pool.take(1024)
  pool.give(buffer)
  pool.give(buffer)
  pool.give(Buffer.alloc(1024))
  expect(pool.take(1024).buffer).toBe(buffer.buffer)
  expect(pool.take(1024).buffer).not.toBe(buffer.buffer)
})

test('other sizes are served without the pool', () => {
  const pool = new BufferPool(1024, 2)
  expect(pool.take(5000).length).toBe(5000)
  const short = pool.take(10)
  expect(short.length).toBe(10)
  expect(short.buffer.byteLength).toBe(10)
})
