import { expect, it } from 'vitest'
import { unreachedOf } from './branch-report.js'

const TEXT = 'function f(a) { if (a) { g() } else { h() } }\nfunction never() { i() }\n'

/** The ranges that V8 would tell: of the module, of `f` with its branches, and of `never`. */
function run(first: number, second: number) {
  const range = (part: string, count: number) => {
    const startOffset = TEXT.indexOf(part)
    return { startOffset, endOffset: startOffset + part.length, count }
  }
  return [
    { functionName: '', ranges: [{ startOffset: 0, endOffset: TEXT.length, count: 1 }] },
    {
      functionName: 'f',
      ranges: [
        range(TEXT.split('\n')[0]!, first + second),
        range('{ g() }', first),
        range('{ h() }', second),
      ],
    },
    { functionName: 'never', ranges: [range('function never() { i() }', 0)] },
  ]
}

const told = (...runs: ReturnType<typeof run>[]) =>
  unreachedOf(TEXT, runs).map(({ start, end }) => TEXT.slice(start, end))

it('tells which branches and functions no run reached', () => {
  expect(told(run(1, 0))).toEqual(['{ h() }', 'function never() { i() }'])
  expect(told(run(1, 0), run(0, 3))).toEqual(['function never() { i() }'])
  expect(told(run(0, 0))).toEqual([TEXT.split('\n')[0], 'function never() { i() }'])
})

it('tells of a file that no run loaded', () => {
  expect(told()).toEqual([TEXT])
})
