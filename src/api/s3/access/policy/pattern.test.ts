import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compilePattern } from './pattern.js'

const syntax = { wildcards: true, variables: true }
const agent = (name: string) => (name === 'aws:useragent' ? 'ab' : undefined)

test('variables stand for their values, beside wildcards', () => {
  const source = '*$\u007baws:UserAgent}?$\u007baws:UserAgent}'
  const pattern = compilePattern(source, syntax)
  expect(pattern.matches('xabxab', agent)).toBe(true)
  expect(pattern.matches('abxab', agent)).toBe(true)
  expect(pattern.matches('abab', agent)).toBe(false)
  expect(pattern.matches('abxab', () => undefined)).toBe(false)
})

test('with variables match what the same pattern with the values in it matches', () => {
  const piece = fc.constantFrom('*', '?', 'a', 'b', '$\u007baws:UserAgent}')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.stringMatching(/^[ab]{0,10}$/), (pieces, text) => {
      const written = pieces.map((one) => (one.startsWith('$') ? 'ab' : one))
      const plain = compilePattern(written.join(''), syntax).matches(text, agent)
      expect(compilePattern(pieces.join(''), syntax).matches(text, agent)).toBe(plain)
    }),
  )
})

test('a long value named often takes neither memory nor time', () => {
  const pattern = compilePattern('*$\u007baws:UserAgent}'.repeat(1000), syntax)
  const value = 'x'.repeat(15_000)
  const before = process.cpuUsage()
  for (let i = 0; i < 20; i++) expect(pattern.matches(value, () => value)).toBe(false)
  const { user, system } = process.cpuUsage(before)
  expect(user + system).toBeLessThan(1_000_000)
})
