import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ManualClock } from '../../testing/cluster-fakes.js'
import { MemoryDb } from '../../testing/memory-db.js'
import { isMissing, RC_TREES, RefCounts } from './rc.js'

const HASHES = [1, 2, 3].map((n) => Buffer.alloc(32, n))
const OWNERS = [1, 2].map((n) => Buffer.alloc(16, n))

const step = fc.record({
  what: fc.constantFrom(
    'referenced',
    'unreferenced',
    'claim',
    'claim absent',
    'renounced',
    'present',
    'absent',
    'settle',
    'delete',
    'end delete',
    'forget',
    'unqueue',
    'repair 0',
    'repair 2',
    'enqueue',
    'wait',
  ),
  hash: fc.nat(HASHES.length - 1),
  owner: fc.nat(OWNERS.length - 1),
})

test('the number of blocks that are missing is that of a walk over all, whatever happens to them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new ManualClock()
      const db = new MemoryDb({ trees: RC_TREES })
      const counts = new RefCounts(clock)
      for (const { what, hash: h, owner: o } of steps) {
        const hash = HASHES[h]!
        const owner = OWNERS[o]!
        if (what === 'wait') await clock.advance(86_400_000)
        await db.transact((tx) => {
          if (what === 'referenced') counts.referenced(tx, hash, owner)
          else if (what === 'unreferenced') counts.unreferenced(tx, hash)
          else if (what === 'claim') counts.claim(tx, hash, owner, true)
          else if (what === 'claim absent') counts.claim(tx, hash, owner, false)
          else if (what === 'renounced') counts.renounced(tx, hash, owner)
          else if (what === 'present') counts.setPresent(tx, hash, true)
          else if (what === 'absent') counts.setPresent(tx, hash, false)
          else if (what === 'settle') counts.settle(tx, hash)
          else if (what === 'delete') counts.beginDelete(tx, hash, 1000)
          else if (what === 'end delete') counts.endDelete(tx, hash)
          else if (what === 'forget') counts.forget(tx, hash)
          else if (what === 'unqueue') counts.unqueueReferenced(tx, hash)
          else if (what === 'enqueue') counts.enqueue(tx, hash, clock.nowMs())
          else if (what !== 'wait') counts.repair(tx, hash, Number(what.at(-1)))
        })
        const missing = HASHES.map((each) => counts.get(db, each)).filter(
          (record) => record && isMissing(record) && record.dueMs !== 0,
        )
        expect(counts.sizes(db).absent).toBe(missing.length)
      }
    }),
  )
})
