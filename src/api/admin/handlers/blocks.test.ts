import { expect, test } from 'vitest'
import { ManualClock } from '../../../../testing/cluster-fakes.js'
import { ERRORS_LISTED_MAX, listBlockErrors, retryBlocks } from './blocks.js'
import type { AdminContext } from './context.js'

/** A node with so many blocks that it could not fetch; tells how many were read in each turn of the event loop. */
function nodeWithErrors(count: number) {
  const clock = new ManualClock()
  const turns = [0]
  clock.after = (_delayMs, fn) => {
    turns.push(0)
    queueMicrotask(fn)
    return { cancel() {} }
  }
  const retried: Buffer[] = []
  const resync = {
    listErrors(limit: number, after?: Buffer) {
      const first = after ? after.readUInt32BE() + 1 : 0
      const found = Array.from({ length: Math.min(limit, count - first) }, (_, i) => {
        const hash = Buffer.alloc(32)
        hash.writeUInt32BE(first + i)
        return { hash, attempts: 1, lastTryMs: 0, message: '', refCount: 1, nextTryMs: 0 }
      })
      turns[turns.length - 1]! += found.length
      return found
    },
    async retryNow(hashes: readonly Buffer[]) {
      retried.push(...hashes)
    },
  }
  return { context: { clock, blocks: { resync } } as unknown as AdminContext, turns, retried }
}

test('failures of blocks are listed some in a turn, up to a number', async () => {
  const few = nodeWithErrors(450)
  const listed = await listBlockErrors(few.context)
  expect(listed.map(({ blockHash }) => Number.parseInt(blockHash.slice(0, 8), 16))).toEqual([
    ...Array(450).keys(),
  ])
  expect(Math.max(...few.turns)).toBeLessThanOrEqual(200)
  const many = nodeWithErrors(50_000)
  expect(await listBlockErrors(many.context)).toHaveLength(ERRORS_LISTED_MAX)
  expect(Math.max(...many.turns)).toBeLessThanOrEqual(200)
})

test('all blocks that failed are tried again, some in a turn', async () => {
  const { context, turns, retried } = nodeWithErrors(50_000)
  expect(await retryBlocks(context, { all: true })).toEqual({ count: 50_000 })
  expect(new Set(retried.map((hash) => hash.readUInt32BE())).size).toBe(50_000)
  expect(Math.max(...turns)).toBeLessThanOrEqual(200)
})
