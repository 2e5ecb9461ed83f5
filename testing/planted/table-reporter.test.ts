import { expect, it } from 'vitest'
import { tableOf } from './table-reporter.js'

it('tells what was caught and how fast, and puts what escaped and false alarms at the end', () => {
  const table = tableOf([
    { bug: 'none', breaks: 'nothing', seeds: 9, seconds: 60, caughtBy: { kind: 'power', problem: 'x|y\nz' } },
    { bug: 'slow to find', breaks: 'b', seeds: 20, seconds: 99.6, caughtBy: { kind: 'busy', problem: 'p' } },
    { bug: 'hidden', breaks: 'c', seeds: 30, seconds: 120 },
    { bug: 'plain', breaks: 'd', seeds: 1, seconds: 2, caughtBy: { kind: 'faults', problem: 'q\nr' } },
  ])
  expect(table.split('\n').slice(2)).toEqual([
    '| plain | d | 1 | 2 | faults: q |',
    '| slow to find | b | 20 | 100 | busy: p |',
    '| none | nothing | 9 | 60 | **power: x/y** |',
    '| hidden | c | 30 | 120 | **escaped** |',
    '',
    '2 of 3 bugs were caught',
  ])
})
