import { expect, test } from 'vitest'
import { acceptedCodings, mayBeCompressed } from './encoding.js'

test.each([
  [undefined, []],
  ['', []],
  ['gzip, deflate, br, zstd', ['br', 'zstd', 'gzip']],
  ['gzip;q=1.0, br;q=0.5', ['gzip', 'br']],
  ['*', ['br', 'zstd', 'gzip']],
  ['*;q=0.5, br;q=0', ['zstd', 'gzip']],
  ['identity, gzip;q=0.9', []],
  ['identity;q=0, gzip;q=0.1', ['gzip']],
  ['X-GZIP', ['gzip']],
  ['gzip;q=nonsense', ['gzip']],
  ['deflate', []],
])('the codings that %o takes are %j', (header, codings) => {
  expect(acceptedCodings(header)).toEqual(codings)
})

test('a header of thousands of codings is read in part', () => {
  expect(acceptedCodings(`${'a,'.repeat(5000)}br`)).toEqual([])
})

test('compressed siblings are looked for by the ending of the key', () => {
  expect(['a.html', 'b/c.JS', 'd.svg'].every(mayBeCompressed)).toBe(true)
  expect(['a', 'a.png', 'a.js.br', 'html', 'a.html/b'].some(mayBeCompressed)).toBe(false)
})
