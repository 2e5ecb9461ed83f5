import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GlobBuilder, type Steps } from './glob.js'

/** A pattern of `*`, `?` and literals. */
function globOf(source: string) {
  const builder = new GlobBuilder()
  for (const char of source) {
    if (char === '*') builder.star()
    else if (char === '?') builder.one()
    else builder.literal(char)
  }
  return builder.build()
}

function stepsOf(source: string, text: string, wanted: boolean): number {
  const steps: Steps = { count: 0 }
  expect(globOf(source).test(text, steps)).toBe(wanted)
  return steps.count
}

test('matches what the same pattern as a regular expression matches', () => {
  const source = fc.array(fc.constantFrom('*', '?', 'a', 'b', 'ab', 'aabaa', 'abababab'), { maxLength: 9 })
  fc.assert(
    fc.property(
      source,
      fc.array(fc.constantFrom('a', 'b', 'aabaa', 'abababab'), { maxLength: 9 }),
      (parts, texts) => {
        const text = texts.join('')
        const expression = parts.map((part) => (part === '*' ? '.*' : part === '?' ? '.' : part)).join('')
        expect(globOf(parts.join('')).test(text)).toBe(new RegExp(`^(?:${expression})$`, 's').test(text))
      },
    ),
    { numRuns: 3000 },
  )
})

test('pieces with ? of more than a word of bits are found at every place', () => {
  const piece = `${'ab'.repeat(20)}?${'ba'.repeat(20)}`
  for (const before of [0, 1, 31, 32, 33, 200]) {
    const text = `${'a'.repeat(before)}${piece.replace('?', 'x')}aa`
    expect(globOf(`*${piece}*`).test(text)).toBe(true)
    expect(globOf(`*${piece}`).test(text)).toBe(false)
    expect(globOf(`*${piece}??`).test(text)).toBe(true)
    expect(globOf(`*${piece}*`).test(text.replace('x', ''))).toBe(false)
  }
})

describe('the steps of the worst cases', () => {
  const LENGTH = 4096
  const text = 'a'.repeat(LENGTH)

  test.each([
    ['many stars', '*a'.repeat(1000)],
    ['many stars and no end', `${'*a'.repeat(1000)}b`],
    ['many stars and none of the last piece', `${'*a'.repeat(1000)}*b*`],
    ['a long piece that nearly fits everywhere', `*${'a'.repeat(LENGTH / 2)}b*`],
    ['a long piece that fails at its beginning', `*b${'a'.repeat(LENGTH / 2)}*`],
    ['many pieces that nearly fit', `*${`${'a'.repeat(60)}*`.repeat(60)}${'a'.repeat(30)}b*`],
  ])('%s: linear in the text', (_, source) => {
    expect(stepsOf(source, text, source === '*a'.repeat(1000))).toBeLessThanOrEqual(
      8 * (text.length + source.length),
    )
  })

  test('a piece with ?: one step a character for each 32 places', () => {
    const source = `*${'a?'.repeat(LENGTH / 4)}b*`
    expect(stepsOf(source, text, false)).toBeLessThanOrEqual(text.length * (source.length / 32 + 1))
    expect(stepsOf(`${'*a?b'.repeat(1000)}*`, text, false)).toBeLessThanOrEqual(4 * text.length)
  })
})
