import { encodeToken } from '../../model/k2v/causality.js'
import type { ItemValue, K2vItem } from '../../model/k2v/item.js'
import { clockOf, valuesOf } from '../../model/k2v/item.js'
import { type Clock, sleep } from '../../util/clock.js'
import type { Answer, AnswerHeaders } from '../http/answer.js'

/** Characters of a document that are made in one turn of the event loop: some milliseconds' work. */
export const PIECE_CHARS = 256 * 1024
/** Bytes of a value that become one text; base64 of a multiple of three needs no padding. */
const VALUE_PART_BYTES = 48 * 1024

/** The texts of a JSON document one after the other, made as they are asked for. */
export type JsonTexts = Generator<string, void, void>

/**
 * An answer with a document: as one text if that is short, else in pieces, each made in a turn of its own, when the client has
 * taken the one before.
 */
export function jsonAnswer(texts: JsonTexts, clock: Clock, headers: AnswerHeaders = {}): Answer {
  const first = nextPiece(texts)
  const body = first.isLast ? first.text : pieces(first.text, texts, clock)
  return { status: 200, headers: { ...headers, 'Content-Type': 'application/json' }, body }
}

async function* pieces(first: string, texts: JsonTexts, clock: Clock): AsyncGenerator<Buffer> {
  yield Buffer.from(first)
  for (;;) {
    await sleep(clock, 0)
    const { text, isLast } = nextPiece(texts)
    yield Buffer.from(text)
    if (isLast) return
  }
}

function nextPiece(texts: JsonTexts): { text: string; isLast: boolean } {
  let text = ''
  while (text.length < PIECE_CHARS) {
    const { done, value } = texts.next()
    if (done) return { text, isLast: true }
    text += value
  }
  return { text, isLast: false }
}

/** A short document. */
export function* jsonText(value: unknown): JsonTexts {
  yield JSON.stringify(value)
}

/** An object that has `fields`, and then a list as `name`. `parts` yields the texts of its elements. */
export function* jsonObject(
  fields: object,
  name: string,
  parts: Iterable<JsonTexts>,
  more: object = {},
): JsonTexts {
  const start = JSON.stringify(fields).slice(0, -1)
  yield `${start}${start.length > 1 ? ',' : ''}${JSON.stringify(name)}:`
  yield* jsonList(parts)
  const end = JSON.stringify(more).slice(1)
  yield end.length > 1 ? `,${end}` : end
}

/** A list. */
export function* jsonList(parts: Iterable<JsonTexts>): JsonTexts {
  let separator = '['
  for (const part of parts) {
    yield separator
    yield* part
    separator = ','
  }
  yield separator === '[' ? '[]' : ']'
}

/** An item in the results of ReadBatch and PollRange. */
export function* jsonItem(item: K2vItem): JsonTexts {
  yield `{"sk":${JSON.stringify(item.sortKey.toString('utf8'))},"ct":"${encodeToken(clockOf(item))}","v":`
  yield* jsonValues(valuesOf(item))
  yield '}'
}

/** Values: base64, or null for a deletion. */
export function jsonValues(values: readonly ItemValue[]): JsonTexts {
  return jsonList(map(values, jsonValue))
}

function* jsonValue(value: ItemValue): JsonTexts {
  const content = value.content()
  if (content === null) {
    yield 'null'
    return
  }
  yield '"'
  for (let at = 0; at < content.length; at += VALUE_PART_BYTES) {
    yield content.toString('base64', at, Math.min(content.length, at + VALUE_PART_BYTES))
  }
  yield '"'
}

/** Makes the texts of each element when it is asked for. */
export function* map<T>(elements: Iterable<T>, texts: (element: T) => JsonTexts): Generator<JsonTexts> {
  for (const element of elements) yield texts(element)
}
