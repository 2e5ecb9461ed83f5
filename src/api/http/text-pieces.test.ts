import fc from 'fast-check'
import { expect, test } from 'vitest'
import { piecesOf } from '../../../testing/text-pieces.js'
import { bodyOf, indentedJson, PIECE_CHARS } from './text-pieces.js'

test('a document is what JSON.stringify makes of it, long or short', () => {
  const long = fc.array(fc.jsonValue(), { minLength: 200, maxLength: 400 })
  const documents = fc.oneof(fc.jsonValue(), long, fc.dictionary(fc.string(), fc.oneof(fc.jsonValue(), long)))
  fc.assert(
    fc.property(documents, (value) => {
      expect([...indentedJson(value)].join('')).toBe(JSON.stringify(value, undefined, 2))
    }),
  )
  const absent = { a: undefined, list: Array.from({ length: 400 }, (_, i) => (i % 2 ? undefined : i)), b: {} }
  expect([...indentedJson(absent)].join('')).toBe(JSON.stringify(absent, undefined, 2))
})

test('a long document is made in pieces, each in a turn of its own and of a bounded length', async () => {
  const names = Array.from({ length: 20_000 }, (_, i) => ({
    id: i,
    name: `name "${i}"`,
    aliases: ['a', 'b'],
  }))
  const value = { success: { node: names, other: names.slice(0, 3) }, error: {} }
  const pieces = await piecesOf((clock) => bodyOf(indentedJson(value), clock))
  // The first piece is made in the turn of the request.
  expect(pieces.map(({ sleeps }) => sleeps)).toEqual([...pieces.keys()])
  expect(pieces.length).toBeGreaterThan(5)
  for (const { text } of pieces) expect(text.length).toBeLessThan(PIECE_CHARS + 64 * 1024)
  expect(pieces.map(({ text }) => text).join('')).toBe(JSON.stringify(value, undefined, 2))
})
