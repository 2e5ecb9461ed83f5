import { encodeToken } from '../../model/k2v/causality.js'
import type { ItemValue, K2vItem } from '../../model/k2v/item.js'
import { clockOf, valuesOf } from '../../model/k2v/item.js'
import type { Clock } from '../../util/clock.js'
import type { Answer, AnswerHeaders } from '../http/answer.js'
import { bodyOf, type Texts } from '../http/text-pieces.js'

/** Bytes of a value that become one text; base64 of a multiple of three needs no padding. */
const VALUE_PART_BYTES = 48 * 1024

/** An answer with a document, in pieces if that is long. */
export function jsonAnswer(texts: Texts, clock: Clock, headers: AnswerHeaders = {}): Answer {
  return {
    status: 200,
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: bodyOf(texts, clock),
  }
}

/** A short document. */
export function* jsonText(value: unknown): Texts {
  yield JSON.stringify(value)
}

/** An object that has `fields`, and then a list as `name`. `parts` yields the texts of its elements. */
export function* jsonObject(fields: object, name: string, parts: Iterable<Texts>, more: object = {}): Texts {
  const start = JSON.stringify(fields).slice(0, -1)
  yield `${start}${start.length > 1 ? ',' : ''}${JSON.stringify(name)}:`
  yield* jsonList(parts)
  const end = JSON.stringify(more).slice(1)
  yield end.length > 1 ? `,${end}` : end
}

/** A list. */
export function* jsonList(parts: Iterable<Texts>): Texts {
  let separator = '['
  for (const part of parts) {
    yield separator
    yield* part
    separator = ','
  }
  yield separator === '[' ? '[]' : ']'
}

/** An item in the results of ReadBatch and PollRange. */
export function* jsonItem(item: K2vItem): Texts {
  yield `{"sk":${JSON.stringify(item.sortKey.toString('utf8'))},"ct":"${encodeToken(clockOf(item))}","v":`
  yield* jsonValues(valuesOf(item))
  yield '}'
}

/** Values: base64, or null for a deletion. */
export function jsonValues(values: readonly ItemValue[]): Texts {
  return jsonList(map(values, jsonValue))
}

function* jsonValue(value: ItemValue): Texts {
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
export function* map<T>(elements: Iterable<T>, texts: (element: T) => Texts): Generator<Texts> {
  for (const element of elements) yield texts(element)
}
