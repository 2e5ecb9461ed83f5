import { describe, expect, it } from 'vitest'
import type { VectorClock } from '../src/model/k2v/causality.js'
import { EMPTY_CLOCK } from '../src/model/k2v/causality.js'
import { changeOf, clockOf, type K2vItem, mergeItems } from '../src/model/k2v/item.js'
import { K2vHistory } from './k2v-history.js'

const KEY = { bucket: Buffer.alloc(16), partitionKey: Buffer.from('p'), sortKey: Buffer.from('s') }
const [A, B] = ['aaaaaaaa', 'bbbbbbbb']

function change(
  current: K2vItem | undefined,
  origin: string,
  time: number,
  text: string | null,
  context: VectorClock,
) {
  const content = text === null ? null : Buffer.from(text)
  return changeOf(KEY, current, { origin, time, context, content })
}

/** A history in which `one` was written, and replaced by `two`, whose writer had read it. */
function replaced() {
  const history = new K2vHistory()
  const write = (text: string | null, context: VectorClock) => {
    const op = history.write('i', text, context, '')
    history.answered(op)
  }
  const read = (item: K2vItem | undefined) => history.read('i', item, history.moment(), '')
  const one = change(undefined, A, 1, 'one', EMPTY_CLOCK)
  write('one', EMPTY_CLOCK)
  read(one)
  const two = mergeItems(one, change(one, B, 2, 'two', clockOf(one)))
  write('two', clockOf(one))
  return { history, write, read, one, two }
}

describe('the check of histories', () => {
  it('takes one in which every write replaces what its writer had read', () => {
    const { history, read, two } = replaced()
    read(two)
    expect(history.check()).toEqual([])
  })

  it('finds a value that is lost', () => {
    const { history, write, read, two } = replaced()
    write('three', EMPTY_CLOCK)
    read(two)
    expect(history.check()).toEqual([expect.stringMatching(/lacks what was acknowledged: write i three/)])
  })

  it('finds a value that comes back', () => {
    const { history, read, one } = replaced()
    read(one)
    expect(history.check()).toContainEqual(expect.stringMatching(/shows one, which write i two .* had seen/))
  })

  it('finds a dot that is used twice', () => {
    const { history, read } = replaced()
    read(change(undefined, A, 1, 'another', EMPTY_CLOCK))
    expect(history.check()).toContainEqual(expect.stringMatching(/stands for another, and stood for one/))
  })

  it('finds a token for a value that was not shown', () => {
    const { history, write, read, two } = replaced()
    const three = mergeItems(two, change(two, B, 3, 'three', EMPTY_CLOCK))
    write('three', EMPTY_CLOCK)
    read(three)
    // A change that does not bring the earlier value of its origin with it.
    const four = change(undefined, B, 4, 'four', EMPTY_CLOCK)
    history.write('i', 'four', EMPTY_CLOCK, '')
    read(four)
    expect(history.check()).toContainEqual(expect.stringMatching(/has a token for three/))
  })

  it('takes that a deletion is forgotten with its item, and finds one that is lost beside an older value', () => {
    const { history, write, read, one } = replaced()
    const both = mergeItems(one, change(one, B, 3, null, EMPTY_CLOCK))
    write(null, EMPTY_CLOCK)
    read(both)
    // A later value of the same writer: its token covers the deletion.
    read(change(undefined, B, 5, 'anew', EMPTY_CLOCK))
    expect(history.check().filter((problem) => problem.includes('has a token for null'))).toEqual([])
    read(mergeItems(one, change(undefined, B, 5, 'anew', EMPTY_CLOCK)))
    expect(history.check()).toContainEqual(expect.stringContaining('has a token for null'))
  })

  it.each([[true], [false]])(
    'takes one that knows less where the item was deleted before: %s',
    (isDeleted) => {
      const { history, write, read, two } = replaced()
      read(two)
      if (isDeleted) write(null, clockOf(two))
      else write('more', clockOf(two))
      read(change(undefined, A, 9, 'anew', EMPTY_CLOCK))
      const found = history.check().filter((problem) => problem.includes('knows less'))
      expect(found).toHaveLength(isDeleted ? 0 : 1)
    },
  )

  it('finds a token that goes back', () => {
    const { history, write, read, two } = replaced()
    read(two)
    const three = change(undefined, A, 5, 'three', clockOf(two))
    write('three', clockOf(two))
    read(three)
    read(two)
    expect(history.check()).toContainEqual(expect.stringMatching(/knows less than a read before it/))
  })
})
