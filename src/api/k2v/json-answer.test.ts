import fc from 'fast-check'
import { expect, test } from 'vitest'
import { piecesOf } from '../../../testing/text-pieces.js'
import { ItemValue, type K2vItem } from '../../model/k2v/item.js'
import { PIECE_CHARS } from '../http/text-pieces.js'
import { jsonAnswer, jsonItem, jsonList, jsonObject, jsonText, map } from './json-answer.js'

/** A value of so many bytes. */
const valueOfBytes = (bytes: number, time = 1): ItemValue =>
  ItemValue.of(time, bytes < 0 ? null : Buffer.alloc(bytes, 'value'))

function itemOf(sortKey: string, ...sizes: number[]): K2vItem {
  const values = sizes.map((bytes, i) => valueOfBytes(bytes, i + 1))
  const entries = [{ origin: 'o'.repeat(8), discard: 0, values }]
  return { bucket: Buffer.alloc(16), partitionKey: Buffer.from('p'), sortKey: Buffer.from(sortKey), entries }
}

test('a document is what JSON.stringify makes of it', async () => {
  const fields = fc.record({ a: fc.string(), b: fc.option(fc.integer()) }, { requiredKeys: [] })
  await fc.assert(
    fc.asyncProperty(
      fields,
      fc.array(fc.jsonValue(), { maxLength: 5 }),
      fields,
      async (before, list, after) => {
        const [piece] = await piecesOf(
          (clock) => jsonAnswer(jsonObject(before, 'list', map(list, jsonText), after), clock).body,
        )
        expect(JSON.parse(piece!.text)).toEqual(JSON.parse(JSON.stringify({ ...before, list, ...after })))
      },
    ),
  )
})

test('a long document is made in pieces, each in a turn of its own and of a bounded length', async () => {
  const items = [
    itemOf('big', 1 << 20, (1 << 20) - 1, -1),
    ...Array.from({ length: 20_000 }, (_, i) => itemOf(`small "${i}"`, i % 10)),
  ]
  const pieces = await piecesOf((clock) => jsonAnswer(jsonList(map(items, jsonItem)), clock).body)
  // The first piece is made in the turn of the request.
  expect(pieces.map(({ sleeps }) => sleeps)).toEqual([...pieces.keys()])
  expect(pieces.length).toBeGreaterThan(10)
  for (const { text } of pieces) expect(text.length).toBeLessThan(PIECE_CHARS + 128 * 1024)
  const parsed = JSON.parse(pieces.map(({ text }) => text).join('')) as { sk: string; v: (string | null)[] }[]
  expect(parsed).toHaveLength(items.length)
  const [big] = parsed
  expect(big!.v.map((v) => v && Buffer.from(v, 'base64').length)).toEqual([1 << 20, (1 << 20) - 1, null])
  expect(parsed.slice(1).map(({ sk }) => sk)).toEqual(items.slice(1).map(({ sortKey }) => sortKey.toString()))
})
