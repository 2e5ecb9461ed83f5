import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { ItemValue, type K2vItem } from '../../model/k2v/item.js'
import type { Answer } from '../http/answer.js'
import { isStream } from '../http/respond.js'
import { jsonAnswer, jsonItem, jsonList, jsonObject, jsonText, map, PIECE_CHARS } from './json-answer.js'

/** A value of so many bytes. */
const valueOfBytes = (bytes: number, time = 1): ItemValue =>
  ItemValue.of(time, bytes < 0 ? null : Buffer.alloc(bytes, 'value'))

function itemOf(sortKey: string, ...sizes: number[]): K2vItem {
  const values = sizes.map((bytes, i) => valueOfBytes(bytes, i + 1))
  const entries = [{ origin: 'o'.repeat(8), discard: 0, values }]
  return { bucket: Buffer.alloc(16), partitionKey: Buffer.from('p'), sortKey: Buffer.from(sortKey), entries }
}

/** The pieces of an answer, with the number of sleeps before each. */
async function piecesOf(make: (clock: ManualClock) => Answer) {
  const clock = new ManualClock()
  let sleeps = 0
  const after = clock.after.bind(clock)
  clock.after = (delayMs, fn) => {
    sleeps++
    queueMicrotask(fn)
    return after(delayMs, () => {})
  }
  const { body } = make(clock)
  if (!isStream(body)) return [{ text: String(body), sleeps }]
  const pieces: { text: string; sleeps: number }[] = []
  for await (const piece of body) pieces.push({ text: piece.toString(), sleeps })
  return pieces
}

test('a document is what JSON.stringify makes of it', async () => {
  const fields = fc.record({ a: fc.string(), b: fc.option(fc.integer()) }, { requiredKeys: [] })
  await fc.assert(
    fc.asyncProperty(
      fields,
      fc.array(fc.jsonValue(), { maxLength: 5 }),
      fields,
      async (before, list, after) => {
        const [piece] = await piecesOf((clock) =>
          jsonAnswer(jsonObject(before, 'list', map(list, jsonText), after), clock),
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
  const pieces = await piecesOf((clock) => jsonAnswer(jsonList(map(items, jsonItem)), clock))
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
