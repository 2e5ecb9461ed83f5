import { expect, test } from 'vitest'
import { PageCache } from './page-cache.js'

const page = (size: number) => ({ size })

test('pages never take more than the memory that they are given, and the oldest go first', () => {
  const cache = new PageCache<{ size: number }>(100_000)
  for (let i = 0; i < 1000; i++) {
    cache.set(`k${i}`, page(i * 7))
    expect(cache.bytes).toBeLessThanOrEqual(100_000)
    cache.get('k0')
  }
  expect(cache.get('k0')).toBeDefined()
  expect(cache.get('k1')).toBeUndefined()
})

test('what is replaced or deleted gives its memory back', () => {
  const cache = new PageCache<{ size: number }>(100_000)
  for (let i = 0; i < 50; i++) cache.set('k', page(5000))
  expect(cache.bytes).toBeLessThan(7000)
  cache.delete('k')
  cache.delete('k')
  expect(cache.bytes).toBe(0)
})

test('a page too large for its share is not kept, and without memory none is', () => {
  const cache = new PageCache<{ size: number }>(100_000)
  cache.set('large', page(50_000))
  expect(cache.get('large')).toBeUndefined()
  const none = new PageCache<{ size: number }>(0)
  none.set('k', page(0))
  expect(none.get('k')).toBeUndefined()
})
