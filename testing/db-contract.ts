import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Db, RangeOptions, Reader, Tx } from '../src/db/db.js'
import { CarportError } from '../src/util/errors.js'

export const CONTRACT_TREES = ['a', 'b'] as const

export interface DbUnderTest {
  db: Db
  /** Closes the store and opens it again. */
  reopen(): Promise<Db>
  /** Writes a snapshot and opens it. */
  openSnapshot(): Promise<Db>
  dispose(): Promise<void>
}

const b = (text: string) => Buffer.from(text, 'latin1')
const keysOf = (reader: Reader, options?: RangeOptions) =>
  [...reader.keys('a', options)].map((key) => key.toString('latin1'))
const entriesOf = (reader: Reader, options?: RangeOptions) =>
  [...reader.range('a', options)].map(({ key, value }) => `${key.toString('latin1')}=${value}`)

/** Tests that every implementation of Db must pass. `open` gives a new, empty store with the trees CONTRACT_TREES. */
export function describeDbContract(name: string, open: () => Promise<DbUnderTest>): void {
  describe(`${name}: contract of Db`, () => {
    let under: DbUnderTest
    let db: Db
    beforeEach(async () => {
      under = await open()
      db = under.db
    })
    afterEach(() => under.dispose())

    const fill = (...keys: string[]) =>
      db.transact((tx) => {
        for (const key of keys) tx.put('a', b(key), b(`v${key}`))
      })

    it('counts the bytes of the values that each function reads and writes', async () => {
      const read = (tx: Tx) => {
        tx.get('a', b('k'))
        tx.peek('a', b('k'))
        tx.get('a', b('absent'))
        return tx.bytes
      }
      const counts = await Promise.all([
        db.transact((tx) => {
          tx.put('a', b('k'), b('12345'))
          return tx.bytes
        }),
        db.transact(read),
        db.transact((tx) => tx.bytes),
      ])
      expect(counts).toEqual([5, 10, 0])
    })

    it('gives back what was put, in its own tree, as a copy', async () => {
      await db.transact((tx) => {
        tx.put('a', b('k'), b('one'))
        tx.put('a', b('empty'), Buffer.alloc(0))
        tx.put('a', b('big'), Buffer.alloc(300_000, 7))
      })
      const value = db.get('a', b('k'))
      expect(value).toEqual(b('one'))
      expect(db.get('a', b('empty'))).toEqual(Buffer.alloc(0))
      expect(db.get('a', b('big'))!.equals(Buffer.alloc(300_000, 7))).toBe(true)
      expect(db.get('b', b('k'))).toBeUndefined()
      expect(db.has('a', b('k'))).toBe(true)
      expect(db.has('a', b('l'))).toBe(false)
      expect(db.count('a')).toBe(3)
      expect(db.count('b')).toBe(0)
      value!.fill(0)
      expect(db.get('a', b('k'))).toEqual(b('one'))
    })

    it('gives back values of all lengths that share no bytes with each other', async () => {
      const lengths = [0, 1, 4095, 4096, 4097, 8192, 8193, 65_536, 70_000]
      await db.transact((tx) => {
        for (const length of lengths) tx.put('a', b(`v${length}`), Buffer.alloc(length, length % 251))
      })
      const read = () => lengths.map((length) => db.get('a', b(`v${length}`))!)
      const copies = Array.from({ length: 20 }, read).flat()
      for (const [i, copy] of copies.entries()) copy.fill(i)
      for (const [i, copy] of copies.entries()) {
        expect(copy.length).toBe(lengths[i % lengths.length])
        expect(copy.every((byte) => byte === i)).toBe(true)
      }
      for (const [i, copy] of read().entries())
        expect(copy.equals(Buffer.alloc(lengths[i]!, lengths[i]! % 251))).toBe(true)
    })

    it('peeks a buffer of the right length, small or large', async () => {
      await db.transact((tx) => {
        tx.put('a', b('small'), b('xyz'))
        tx.put('a', b('empty'), Buffer.alloc(0))
        tx.put('a', b('big'), Buffer.alloc(300_000, 7))
      })
      for (const key of ['small', 'big', 'small', 'empty']) {
        const copy = db.get('a', b(key))!
        const peeked = db.peek('a', b(key))!
        expect(Buffer.isBuffer(peeked)).toBe(true)
        expect(peeked.byteLength).toBe(copy.length)
        expect(peeked.equals(copy)).toBe(true)
      }
      expect(db.peek('a', b('none'))).toBeUndefined()
    })

    it('walks ranges with start <= key < end, forwards and backwards', async () => {
      await fill('\x00', 'a', 'b', 'ba', 'c', '\xff\xff')
      const all = ['\x00', 'a', 'b', 'ba', 'c', '\xff\xff']
      expect(keysOf(db)).toEqual(all)
      expect(keysOf(db, { reverse: true })).toEqual(all.toReversed())
      expect(keysOf(db, { start: b('b') })).toEqual(['b', 'ba', 'c', '\xff\xff'])
      expect(keysOf(db, { end: b('b') })).toEqual(['\x00', 'a'])
      expect(keysOf(db, { start: b('a'), end: b('c') })).toEqual(['a', 'b', 'ba'])
      expect(keysOf(db, { start: b('a'), end: b('c'), reverse: true })).toEqual(['ba', 'b', 'a'])
      expect(keysOf(db, { end: b('bb'), reverse: true, limit: 2 })).toEqual(['ba', 'b'])
      expect(keysOf(db, { start: b('aa'), reverse: true })).toEqual(['\xff\xff', 'c', 'ba', 'b'])
      expect(keysOf(db, { start: b('aa'), limit: 1 })).toEqual(['b'])
      expect(keysOf(db, { start: b('c'), end: b('b') })).toEqual([])
      expect(keysOf(db, { start: b('b'), end: b('b') })).toEqual([])
      expect(keysOf(db, { limit: 0 })).toEqual([])
      expect(keysOf(db, { end: Buffer.alloc(0) })).toEqual([])
      expect(entriesOf(db, { start: b('a'), end: b('ba'), reverse: true })).toEqual(['b=vb', 'a=va'])
      expect([...db.keys('b')]).toEqual([])
      expect([...db.keys('b', { reverse: true })]).toEqual([])
    })

    it('finds nothing at keys that are longer than any, and takes bounds that are', async () => {
      const longest = 'a'.repeat(1900)
      await fill('a', longest, 'b')
      for (const length of [1901, 1979, 3000, 100_000]) {
        const long = Buffer.alloc(length, 'a')
        expect([db.get('a', long), db.peek('a', long), db.has('a', long)]).toEqual([
          undefined,
          undefined,
          false,
        ])
        expect(keysOf(db, { start: long })).toEqual(['b'])
        expect(keysOf(db, { end: long })).toEqual(['a', longest])
        expect(keysOf(db, { start: long, reverse: true })).toEqual(['b'])
        expect(keysOf(db, { end: long, reverse: true })).toEqual([longest, 'a'])
        expect(keysOf(db, { start: b('a'), end: long })).toEqual(['a', longest])
        expect(keysOf(db, { start: long, end: Buffer.alloc(length, 'b') })).toEqual(['b'])
        expect(keysOf(db, { start: long, end: Buffer.alloc(length + 1, 'a') })).toEqual([])
        const seen: string[] = []
        db.scan('a', { start: long }, (key) => seen.push(key.toString()) > 0)
        expect(seen).toEqual(['b'])
      }
    })

    it('hands out keys and values of a range that stay valid', async () => {
      await fill('a', 'b', 'c')
      const entries = [...db.range('a')]
      db.get('a', b('a'))
      db.peek('a', b('b'))
      expect(entries.map((e) => `${e.key}${e.value}`)).toEqual(['ava', 'bvb', 'cvc'])
      expect(entries.every((e) => Buffer.isBuffer(e.key) && Buffer.isBuffer(e.value))).toBe(true)
    })

    it('scans a range without copies, until it is told to stop', async () => {
      await db.transact((tx) => {
        for (const name of ['a', 'b', 'c', 'd']) tx.put('a', b(name), b(`value of ${name}`))
        tx.put('b', b('big'), Buffer.alloc(300_000, 7))
        const inside: string[] = []
        tx.scan('a', { start: b('b') }, (key, value) => {
          inside.push(`${key}: ${value}`)
          return true
        })
        expect(inside).toEqual(['b: value of b', 'c: value of c', 'd: value of d'])
      })
      const seen: string[] = []
      db.scan('a', { start: b('b') }, (key, value) => {
        seen.push(`${key}: ${value}`)
        return seen.length < 2
      })
      expect(seen).toEqual(['b: value of b', 'c: value of c'])
      // A walk that was broken off does not disturb the next one.
      db.scan('a', { start: b('c'), end: b('d') }, (key) => {
        seen.push(String(key))
        return true
      })
      expect(seen.slice(2)).toEqual(['c'])
      let big = 0
      db.scan('b', {}, (_, value) => {
        big = value.equals(Buffer.alloc(300_000, 7)) ? value.length : -1
        return true
      })
      expect(big).toBe(300_000)
      expect(() => db.scan('undeclared', {}, () => true)).toThrow()
    })

    it('lets reads happen while a range is walked', async () => {
      await fill('a', 'b', 'c')
      const seen: string[] = []
      for (const key of db.keys('a', { start: b('a'), end: b('d') })) seen.push(String(db.peek('a', key)))
      for (const { key } of db.range('a', { reverse: true })) {
        seen.push(String(db.get('a', key)), ...keysOf(db, { start: key, limit: 1 }))
      }
      expect(seen).toEqual(['va', 'vb', 'vc', 'vc', 'c', 'vb', 'b', 'va', 'a'])
    })

    it('shows a transaction its own writes, in ranges too, and lets it write while it walks', async () => {
      await fill('a', 'b', 'c')
      const seen = await db.transact((tx) => {
        tx.put('a', b('bb'), b('new'))
        tx.delete('a', b('a'))
        tx.delete('a', b('never there'))
        const result = [
          ...entriesOf(tx),
          String(tx.get('a', b('bb'))),
          String(tx.has('a', b('a'))),
          tx.count('a'),
        ]
        const walked: string[] = []
        for (const key of tx.keys('a')) {
          walked.push(key.toString())
          tx.delete('a', key)
          tx.put('b', key, key)
        }
        return [...result, ...walked, ...keysOf(tx), ...keysOf(tx, { reverse: true })]
      })
      expect(seen).toEqual(['b=vb', 'bb=new', 'c=vc', 'new', 'false', 3, 'b', 'bb', 'c'])
      expect(keysOf(db)).toEqual([])
      expect([...db.keys('b')].map(String)).toEqual(['b', 'bb', 'c'])
    })

    it('undoes a function that throws and keeps its neighbours', async () => {
      await fill('a')
      const results = await Promise.allSettled([
        db.transact((tx) => tx.put('a', b('x'), b('1'))),
        db.transact((tx) => {
          tx.put('a', b('y'), b('2'))
          tx.delete('a', b('a'))
          throw new Error('no')
        }),
        db.transact((tx) => {
          tx.put('a', b('z'), b('3'))
          return keysOf(tx)
        }),
        db.transact(() => {
          throw new CarportError('Conflict', 'nothing written')
        }),
      ])
      expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
      expect(results[1]).toMatchObject({ reason: { message: 'no' } })
      expect(results[2]).toMatchObject({ value: ['a', 'x', 'z'] })
      expect(results[3]).toMatchObject({ reason: { code: 'Conflict' } })
      expect(keysOf(db)).toEqual(['a', 'x', 'z'])
    })

    it('runs functions one after another, each seeing the ones before', async () => {
      const add = () =>
        db.transact((tx) => {
          const n = Number(tx.get('a', b('n')) ?? 0) + 1
          tx.put('a', b('n'), b(String(n)))
          return n
        })
      const results = await Promise.all(Array.from({ length: 600 }, add))
      expect(results).toEqual(Array.from({ length: 600 }, (_, i) => i + 1))
      expect(String(db.get('a', b('n')))).toBe('600')
    })

    it('calls onCommit once, after the commit and before the promise resolves, and not after a throw', async () => {
      const events: string[] = []
      await Promise.allSettled([
        db
          .transact((tx) => {
            tx.put('a', b('k'), b('v'))
            tx.onCommit(() => events.push(`committed ${db.get('a', b('k'))}`))
          })
          .then(() => events.push('resolved')),
        db.transact((tx) => {
          tx.put('a', b('l'), b('v'))
          tx.onCommit(() => events.push('never'))
          throw new Error('no')
        }),
      ])
      expect(events).toEqual(['committed v', 'resolved'])
    })

    it('accepts transactions started by callbacks of a commit', async () => {
      const inner: Promise<unknown>[] = []
      await db.transact((tx) => {
        tx.put('a', b('1'), b(''))
        tx.onCommit(() => inner.push(db.transact((tx2) => tx2.put('a', b('2'), b('')))))
      })
      await Promise.all(inner)
      expect(keysOf(db)).toEqual(['1', '2'])
    })

    it('refuses bad keys, undeclared trees, promises and writes after the end', async () => {
      await expect(db.transact((tx) => tx.put('a', Buffer.alloc(0), b('v')))).rejects.toMatchObject({
        code: 'InvalidArgument',
      })
      await expect(db.transact((tx) => tx.put('a', Buffer.alloc(1901), b('v')))).rejects.toMatchObject({
        code: 'InvalidArgument',
      })
      await expect(db.transact((tx) => tx.put('nowhere', b('k'), b('v')))).rejects.toThrow('nowhere')
      expect(() => db.get('nowhere', b('k'))).toThrow('nowhere')
      await expect(db.transact(async (tx) => tx.put('a', b('k'), b('v')))).rejects.toThrow(TypeError)
      const late = await db.transact((tx) => ({ tx }))
      expect(() => late.tx.put('a', b('k'), b('v'))).toThrow('over')
      await db.transact((tx) => tx.put('a', Buffer.alloc(1900, 1), b('v')))
      expect(db.count('a')).toBe(1)
    })

    it('keeps its content over close and open, and refuses work when closed', async () => {
      const last = fill('a', 'b')
      const again = await under.reopen()
      await last
      expect(keysOf(again)).toEqual(['a', 'b'])
      await expect(db.transact(() => 1)).rejects.toMatchObject({ code: 'Closed' })
    })

    it('writes a snapshot that opens with the state of its moment', async () => {
      await fill('a', 'b')
      const copy = await under.openSnapshot()
      await fill('c')
      expect(entriesOf(copy)).toEqual(['a=va', 'b=vb'])
      await copy.transact((tx) => tx.put('a', b('d'), b('')))
      expect(keysOf(copy)).toEqual(['a', 'b', 'd'])
      expect(keysOf(db)).toEqual(['a', 'b', 'c'])
      await copy.close()
    })

    it('agrees with a sorted map on random programs', async () => {
      const key = fc
        .uint8Array({ minLength: 1, maxLength: 3 })
        .map((bytes) => Buffer.from(bytes.map((x) => x & 3)))
      const bound = fc.option(key, { nil: undefined })
      const step = fc.oneof(
        fc.record({ put: key, value: fc.nat(99) }),
        fc.record({ delete: key }),
        fc.record({
          start: bound,
          end: bound,
          reverse: fc.boolean(),
          limit: fc.option(fc.nat(5), { nil: undefined }),
        }),
      )
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(step, { maxLength: 20 }), { maxLength: 5 }),
          async (transactions) => {
            await db.transact((tx) => {
              for (const k of tx.keys('a')) tx.delete('a', k)
            })
            const model = new Map<string, string>()
            for (const steps of transactions) {
              await db.transact((tx) => {
                for (const s of steps) {
                  if ('put' in s) {
                    tx.put('a', s.put, b(String(s.value)))
                    model.set(s.put.toString('latin1'), String(s.value))
                  } else if ('delete' in s) {
                    tx.delete('a', s.delete)
                    model.delete(s.delete.toString('latin1'))
                  } else expect(entriesOf(tx, s)).toEqual(modelRange(model, s))
                }
              })
              for (const s of steps) {
                if ('reverse' in s) expect(entriesOf(db, s)).toEqual(modelRange(model, s))
              }
            }
            expect(entriesOf(db)).toEqual(modelRange(model, {}))
            expect(db.count('a')).toBe(model.size)
          },
        ),
        { numRuns: 40 },
      )
    })
  })
}

function modelRange(model: ReadonlyMap<string, string>, options: RangeOptions): string[] {
  const start = options.start?.toString('latin1')
  const end = options.end?.toString('latin1')
  const keys = [...model.keys()]
    .filter((k) => (start === undefined || k >= start) && (end === undefined || k < end))
    .sort((x, y) => (x < y ? -1 : 1))
  if (options.reverse) keys.reverse()
  return keys.slice(0, options.limit).map((k) => `${k}=${model.get(k)}`)
}
