import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { PLANTED_BUGS } from './bugs.js'
import { plantInto } from './planted-bug.js'

it.each(PLANTED_BUGS.map((bug) => [bug.name, bug] as const))('%s: has its place in the source', (_, bug) => {
  for (const file of new Set(bug.edits.map((edit) => edit.file))) {
    const source = readFileSync(file, 'utf8')
    expect(plantInto(bug, file, source)).not.toBe(source)
  }
})

it('each bug has a name of its own', () => {
  expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length)
})
