/**
 * Contents of all requests share one memory. With blocks in memory instead of on disks, these tests count what is held:
 * the bound holds whatever clients do, nobody waits for ever, and those who stall do not hold up those who do not.
 */
import { expect, test } from 'vitest'
import { ManualClock } from '../../../testing/cluster-fakes.js'
import { SeededRandom } from '../../../testing/seeded-random.js'
import { BlobStore } from './blobs.js'
import { inlineHashing, sha256 } from './hashing.js'
import { type BlockPointer, packBlocks } from './refs.js'

const KIB = 1024
const BLOCK = 256 * KIB
const MEMORY = 16 * BLOCK
const BUCKET = Buffer.alloc(16)

function setUp() {
  const clock = new ManualClock()
  const stored = new Map<string, Buffer>()
  /** Blocks that were read and not given back. */
  let lent = 0
  let lentMost = 0
  const blobs = new BlobStore({
    blocks: {
      async put(hash, data, _owner, onFree) {
        await Promise.resolve()
        stored.set(hash.toString('hex'), Buffer.from(data))
        onFree?.()
      },
      async get(hash) {
        lentMost = Math.max(lentMost, ++lent)
        await Promise.resolve()
        return Buffer.from(stored.get(hash.toString('hex'))!)
      },
      async retain() {},
      uploadClaims: () => ({ confirm: async () => {}, release: async () => {}, settle() {} }) as never,
    },
    lists: undefined as never,
    hashing: inlineHashing,
    recycle: () => lent--,
    blockBytes: BLOCK,
    inlineBytesMax: 0,
    blocksInFlight: 4,
    memoryBytes: MEMORY,
    random: new SeededRandom(1),
    clock,
  })
  const body = Buffer.alloc(10 * BLOCK + 1000, 'content of an object ')
  const blocks: BlockPointer[] = []
  for (let at = 0; at < body.length; at += BLOCK) {
    const block = body.subarray(at, at + BLOCK)
    const hash = sha256(block)
    stored.set(hash.toString('hex'), Buffer.from(block))
    blocks.push({ hash, size: block.length })
  }
  const version = {
    bucket: BUCKET,
    id: Buffer.alloc(16),
    body: undefined,
    content: { kind: 'blocks' as const, blocks: packBlocks(blocks) },
  }
  const read = (options = {}) => blobs.read(version, 0, body.length, options)
  const readWhole = async () => {
    const chunks: Buffer[] = []
    for await (const chunk of read()) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  }
  const whole = (size: number, pieces: AsyncIterable<Buffer>) =>
    blobs.write({ length: size, readAll: () => Promise.reject(new Error('too long')), stream: () => pieces })
  return { clock, blobs, body, read, readWhole, whole, lentMost: () => lentMost }
}

async function* inPieces(body: Buffer, bytes = 64 * KIB): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += bytes) yield body.subarray(at, at + bytes)
}

test('300 clients that do not read what they asked for hold no more than the memory, and others go on', async () => {
  const { clock, blobs, body, read, readWhole, lentMost } = setUp()
  const stalled = Array.from({ length: 300 }, () => read())
  for (const chunks of stalled) void chunks.next()
  await clock.advance(0)
  expect(blobs.memory.usedBytes).toBeLessThanOrEqual(MEMORY)
  let isDone = false
  const reading = readWhole().then((bytes) => {
    isDone = true
    return bytes
  })
  // Each second those who do not read make way for others; 300 of them are before this one.
  for (let second = 0; second < 120 && !isDone; second++) await clock.advance(1_000)
  expect(isDone).toBe(true)
  expect((await reading).equals(body)).toBe(true)
  expect(blobs.memory.usedBytes).toBeLessThanOrEqual(MEMORY)
  expect(lentMost()).toBeLessThanOrEqual(MEMORY / BLOCK)
})

test('a client that stalled and goes on gets every byte, and in the end nothing is held', async () => {
  const { clock, blobs, body, read } = setUp()
  const others = Array.from({ length: 30 }, () => read())
  for (const chunks of others) void chunks.next()
  const chunks: Buffer[] = []
  const slow = (async () => {
    for await (const chunk of read()) {
      chunks.push(Buffer.from(chunk))
      await new Promise<void>((resolve) => clock.after(2_500, resolve))
    }
  })()
  for (let i = 0; i < 20; i++) await clock.advance(2_500)
  for (const other of others) void other.return(undefined)
  for (let i = 0; i < 60; i++) await clock.advance(2_500)
  await slow
  expect(Buffer.concat(chunks).equals(body)).toBe(true)
  expect(blobs.memory.usedBytes).toBe(0)
})

test('uploads whose clients stall hold no more than the memory, and a quick one passes slow ones', async () => {
  const { clock, blobs, body, whole } = setUp()
  let giveUp = (_error: Error): void => {}
  const end = new Promise<never>((_, reject) => {
    giveUp = reject
  })
  async function* stalling(): AsyncGenerator<Buffer> {
    // 64 KiB take ten seconds: slow enough to stay with the small buffer.
    for (let i = 0; i < 64; i++) {
      yield Buffer.alloc(KIB)
      await new Promise<void>((resolve) => clock.after(160, resolve))
    }
    yield Buffer.alloc(KIB)
    await end
  }
  const slow = Array.from({ length: 100 }, () =>
    whole(body.length, stalling()).catch((error) => error.message),
  )
  for (let i = 0; i < 30; i++) await clock.advance(1_000)
  expect(blobs.memory.usedBytes).toBeLessThanOrEqual(MEMORY)
  let isDone = false
  const quick = whole(body.length, inPieces(body)).then((stored) => {
    isDone = true
    return stored
  })
  await clock.advance(1_000)
  expect(isDone).toBe(true)
  expect((await quick).size).toBe(body.length)
  giveUp(new Error('gone'))
  expect(new Set(await Promise.all(slow))).toEqual(new Set(['gone']))
  expect(blobs.memory.usedBytes).toBe(0)
})

test('many copies at once, which hold memory for writing while they read, all end', async () => {
  const { clock, blobs, body, read, whole } = setUp()
  let ended = 0
  const copies = Array.from({ length: 100 }, () =>
    whole(body.length, read({ isCopy: true })).then((stored) => {
      ended++
      return stored
    }),
  )
  for (let i = 0; i < 60 && ended < copies.length; i++) await clock.advance(1_000)
  expect(ended).toBe(copies.length)
  for (const copy of await Promise.all(copies)) expect(copy.size).toBe(body.length)
  expect(blobs.memory.usedBytes).toBe(0)
})
