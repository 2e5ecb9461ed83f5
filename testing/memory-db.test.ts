import { describe, expect, it } from 'vitest'
import { CONTRACT_TREES, describeDbContract } from './db-contract.js'
import { MemoryDb } from './memory-db.js'

describeDbContract('MemoryDb', async () => {
  const db = new MemoryDb({ trees: CONTRACT_TREES })
  return {
    db,
    async reopen() {
      await db.close()
      return db.reopen()
    },
    async openSnapshot() {
      await db.snapshot('/snapshot')
      return MemoryDb.fromSnapshot(db, '/snapshot')
    },
    dispose: () => db.close(),
  }
})

const key = Buffer.from('k')

describe('MemoryDb', () => {
  it('spoils a peeked buffer at the next read and after an await', async () => {
    const db = new MemoryDb({ trees: ['a'] })
    await db.transact((tx) => tx.put('a', key, Buffer.from('v')))
    const first = db.peek('a', key)!
    expect(String(first)).toBe('v')
    const second = db.peek('a', key)!
    expect(String(first)).not.toBe('v')
    await undefined
    expect(String(second)).not.toBe('v')
  })

  it('refuses puts and still deletes while it is full', async () => {
    const db = new MemoryDb({ trees: ['a'] })
    await db.transact((tx) => tx.put('a', key, Buffer.from('v')))
    db.full = true
    await expect(db.transact((tx) => tx.put('a', key, Buffer.from('w')))).rejects.toMatchObject({
      code: 'StorageFull',
    })
    expect(String(db.get('a', key))).toBe('v')
    await db.transact((tx) => tx.delete('a', key))
    expect(db.count('a')).toBe(0)
  })
})
