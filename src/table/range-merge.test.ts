import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mergePages, type Page } from './range-merge.js'

/** Replicas as maps from key to version; a reader walks them page by page, with pages cut at any length. */
const replicaSets = fc.record({
  replicas: fc.array(fc.dictionary(fc.constantFrom(...'abcdefghij'), fc.nat(3)), {
    minLength: 1,
    maxLength: 3,
  }),
  reverse: fc.boolean(),
  limit: fc.integer({ min: 1, max: 6 }),
  cuts: fc.infiniteStream(fc.integer({ min: 1, max: 4 })),
})

describe('mergePages', () => {
  it('gives every key once, in order, with the copy of every replica, wherever pages are cut', () => {
    fc.assert(
      fc.property(replicaSets, ({ replicas, reverse, limit, cuts }) => {
        const walked: string[] = []
        let after: string | undefined
        for (;;) {
          const pages = replicas.map((replica, i): Page => {
            const keys = Object.keys(replica).sort()
            if (reverse) keys.reverse()
            const from = keys.filter((key) => after === undefined || (reverse ? key < after : key > after))
            const shown = from.slice(0, Math.min(limit, cuts.next().value!))
            const rows = shown.map((key) => ({
              sortKey: Buffer.from(key),
              head: Buffer.of(replica[key]!),
              body: undefined,
              hasBody: false,
            }))
            return { node: String(i), rows, more: shown.length < from.length }
          })
          const merged = mergePages(pages, reverse, limit)
          expect(merged.keys.length).toBeLessThanOrEqual(limit)
          for (const { sortKey, copies } of merged.keys) {
            const key = sortKey.toString()
            walked.push(key)
            expect(copies.map((copy) => copy.head?.[0])).toEqual(replicas.map((replica) => replica[key]))
          }
          if (!merged.next) break
          const next = merged.next.toString()
          expect(next).not.toBe(after)
          after = next
        }
        const all = [...new Set(replicas.flatMap((replica) => Object.keys(replica)))].sort()
        expect(walked).toEqual(reverse ? all.reverse() : all)
      }),
      { numRuns: 500 },
    )
  })
})
