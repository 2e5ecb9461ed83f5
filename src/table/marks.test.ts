import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type CollectionMark,
  type CopyMarks,
  compareMarks,
  decodeMarks,
  encodeMarks,
  joinMarks,
  missed,
  NO_MARKS,
  newestNumber,
  withCollected,
  withoutPrepared,
  withPrepared,
} from './marks.js'

const COPIES = 4

describe('marks of collections', () => {
  it('tell exactly which copies missed a collection, however collections overlap and break off', () => {
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom('confirm', 'drop', 'leave', 'join'),
        copy: fc.nat(COPIES - 1),
        reached: fc.array(fc.boolean(), { minLength: COPIES, maxLength: COPIES }),
        which: fc.nat(5),
      }),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(steps, (run) => {
        const marks: CopyMarks[] = Array.from({ length: COPIES }, () => NO_MARKS)
        /** The collections whose tombstones each copy has, or had. */
        const tookPart = Array.from({ length: COPIES }, () => new Set<CollectionMark>())
        /** The collections in which each copy dropped tombstones. */
        const dropped = Array.from({ length: COPIES }, () => new Set<CollectionMark>())
        const members = new Set(Array.from({ length: COPIES }, (_, i) => i))
        const open: { mark: CollectionMark; replicas: number[] }[] = []
        /** Those that were not confirmed by all, so that nobody drops anything under them. */
        const gone: CollectionMark[] = []
        let id = 0
        for (const { what, copy, reached, which } of run) {
          if (what === 'confirm' && members.has(copy)) {
            const mark = { n: newestNumber(marks[copy]!) + 1, id: id++ }
            const replicas = [...members]
            let isAll = true
            for (const each of replicas) {
              if (each === copy || reached[each]) marks[each] = withoutPrepared(marks[each]!, gone)
              if (each !== copy && (!reached[each] || newestNumber(marks[each]!) >= mark.n)) isAll = false
              else {
                marks[each] = withPrepared(marks[each]!, mark)
                tookPart[each]!.add(mark)
              }
            }
            if (isAll) open.push({ mark, replicas })
            else gone.push(mark)
          } else if (what === 'drop' && open.length > 0) {
            const { mark, replicas } = open[which % open.length]!
            for (const each of replicas) {
              if (!reached[each]) continue
              marks[each] = withCollected(marks[each]!, mark)
              dropped[each]!.add(mark)
            }
          } else if (what === 'leave' && members.size > 1) members.delete(copy)
          else if (what === 'join' && !members.has(copy)) {
            const [from] = members
            marks[copy] = joinMarks(marks[copy]!, marks[from!]!)
            for (const mark of tookPart[from!]!) tookPart[copy]!.add(mark)
            members.add(copy)
          }
        }
        for (let a = 0; a < COPIES; a++) {
          for (let b = 0; b < COPIES; b++) {
            // Only what is whole and complained about matters: a copy that lacks the newest of what another dropped.
            const newest = [...dropped[b]!].sort(compareMarks).at(-1)
            if (newest === undefined || tookPart[a]!.has(newest)) continue
            const later = marks[a]!.collected
            expect(missed(marks[a]!, marks[b]!) || (later && compareMarks(later, newest) > 0)).toBe(true)
          }
        }
        // Members took part in all that any of them dropped: none may be taken for one that missed something.
        for (const a of members) for (const b of members) expect(missed(marks[a]!, marks[b]!)).toBe(false)
      }),
      { numRuns: 300, seed: 7 },
    )
  })

  it('are the same after they were sent', () => {
    const marks = withCollected(withPrepared(NO_MARKS, { n: 3, id: 9 }), { n: 2, id: 1 })
    expect(decodeMarks(encodeMarks(marks))).toEqual(marks)
    expect(decodeMarks(encodeMarks(NO_MARKS))).toEqual(NO_MARKS)
    for (const malformed of [null, [], [null], [[1], []], [null, [[1, 'x']]], 'x']) {
      expect(() => decodeMarks(malformed)).toThrow('malformed')
    }
  })
})
