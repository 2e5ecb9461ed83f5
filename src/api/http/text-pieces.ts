import { type Clock, sleep } from '../../util/clock.js'
import type { AnswerBody } from './answer.js'

/** Characters of a document that are made in one turn of the event loop: some milliseconds' work. */
export const PIECE_CHARS = 256 * 1024

/** The texts of a document one after the other, made as they are asked for. */
export type Texts = Generator<string, void, void>

/** A document as one text if it is short, else in pieces, each made in a turn of its own, when the client has taken the one before. */
export function bodyOf(texts: Texts, clock: Clock): AnswerBody {
  const { text, isLast } = nextPiece(texts)
  return isLast ? text : pieces(text, texts, clock)
}

async function* pieces(first: string, texts: Texts, clock: Clock): AsyncGenerator<Buffer> {
  yield Buffer.from(first)
  for (;;) {
    // The client may have taken it in this turn already.
    await sleep(clock, 0)
    const { text, isLast } = nextPiece(texts)
    yield Buffer.from(text)
    if (isLast) return
  }
}

function nextPiece(texts: Texts): { text: string; isLast: boolean } {
  let text = ''
  while (text.length < PIECE_CHARS) {
    const { done, value } = texts.next()
    if (done) return { text, isLast: true }
    text += value
  }
  return { text, isLast: false }
}

/** Values below which a part of a document becomes one text. */
const VALUES_IN_TEXT = 300

/** What `JSON.stringify(value, undefined, 2)` makes of a document of plain objects, lists, texts, numbers and the like. */
export function* indentedJson(value: unknown, indent = ''): Texts {
  if (valuesIn(value, VALUES_IN_TEXT) <= VALUES_IN_TEXT) {
    yield JSON.stringify(value, undefined, 2).replaceAll('\n', `\n${indent}`)
    return
  }
  const within = `${indent}  `
  const isList = Array.isArray(value)
  let separator = isList ? '[\n' : '{\n'
  const parts: Iterable<readonly [unknown, unknown]> = isList ? value.entries() : entriesOf(value as object)
  for (const [name, part] of parts) {
    yield isList ? separator + within : `${separator}${within}${JSON.stringify(name)}: `
    if (part === undefined) yield 'null'
    else yield* indentedJson(part, within)
    separator = ',\n'
  }
  yield `\n${indent}${isList ? ']' : '}'}`
}

function* entriesOf(value: object): Generator<[string, unknown]> {
  for (const name in value) {
    const part = (value as Record<string, unknown>)[name]
    if (part !== undefined) yield [name, part]
  }
}

/** How many values a document has, or a number above `max`. */
function valuesIn(value: unknown, max: number): number {
  if (typeof value !== 'object' || value === null) return 1
  let count = 1
  for (const name in value) {
    count += valuesIn((value as Record<string, unknown>)[name], max - count)
    if (count > max) break
  }
  return count
}
