import { createHash } from 'node:crypto'
import { expect, it, onTestFinished } from 'vitest'
import { type BlockNode, CrashDisk, ownerOf, pathOf, syncCompression } from '../../testing/block-cluster.js'
import { DAY, HOUR, has, holders, MINUTE, make } from '../../testing/block-nodes.js'
import { MemoryDb } from '../../testing/memory-db.js'
import { CountingClock, startNode, systemRandom } from '../../testing/tls-nodes.js'
import { Quorum } from '../cluster/quorum.js'
import { MESSAGE_BYTES_MAX } from '../net/messages.js'
import { silentLog } from '../util/log.js'
import { DataDirs } from './data-dirs.js'
import { makeBlock } from './format.js'
import { LocalBlocks } from './local-blocks.js'
import { BLOCK_TREES } from './manager.js'
import { PutCalls, sendBlock } from './put-calls.js'
import { RefCounts } from './rc.js'
import { BlockStore } from './store.js'

/** A block that no compression makes shorter. */
function blockOf(bytes: number) {
  const data = systemRandom.bytes(bytes)
  return { data, hash: createHash('sha256').update(data).digest() }
}

it('blocks that are too long for a message are replicated and fetched like others', async () => {
  const c = await make()
  const { hash, data } = blockOf(MESSAGE_BYTES_MAX + 1000)
  const [node] = c.nodes
  await c.run(node!.blocks.put(hash, data, ownerOf(1)))
  await c.reference(node!, ownerOf(1), [hash])
  expect(holders(hash)).toBe(3)
  expect(node!.blocks.stats()).toMatchObject({ failedCopies: 0, writeBytesInFlight: 0 })
})

it('a block that is too long for a message is given to the replica of a new layout that lacks it', async () => {
  const c = await make({ nodes: 4 })
  await c.clock.advance(HOUR)
  const { hash, data } = blockOf(MESSAGE_BYTES_MAX + 1000)
  await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
  await c.reference(c.nodes[0]!, ownerOf(1), [hash])
  const ids = c.ids()
  const [first, second, old, fresh] = c.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
  for (const { disk } of [first, second]) disk.files.delete(pathOf(hash))
  for (const node of c.nodes) node.placement.set(ids, 2, () => [[ids[0]!, ids[1]!, ids[3]!]])
  c.net.cut(old.id, fresh.id)
  const row = { hash, owner: ownerOf(1), deleted: false }
  await c.run(fresh.db.transact((tx) => fresh.table.local.update(tx, row)))
  await c.clock.advance(MINUTE)
  expect(has(fresh, hash)).toBe(false)
  c.net.heal(old.id, fresh.id)
  c.connect(old.id)
  await c.run(old.db.transact((tx) => old.counts.unreferenced(tx, hash)))
  await c.clock.until(() => !has(old, hash), DAY, MINUTE)
  expect(has(fresh, hash)).toBe(true)
  expect(old.blocks.stats().resync.errors).toBe(0)
})

it('a stream that is not the block that was announced is refused', async () => {
  const c = await make()
  const { hash, data } = blockOf(1000)
  const { head } = makeBlock(data, data.length, false)
  const put = async (bytes: unknown, payload: Buffer | undefined) => {
    const stream =
      payload &&
      (async function* () {
        yield payload
      })()
    const body = { hash, owner: ownerOf(1), head, bytes }
    return c.nodes[0]!.transport.call(c.nodes[1]!.id, 'block/put', body, {
      ...{ timeoutMs: 1000 },
      ...(stream && { stream }),
    })
  }
  for (const bytes of [999, 1001, -1, 1.5, 'x', 2 ** 40])
    await expect(c.run(put(bytes, data))).rejects.toMatchObject({ code: 'InvalidArgument' })
  await expect(c.run(put(1000, undefined))).rejects.toMatchObject({ code: 'InvalidArgument' })
  await expect(c.run(put(1000, Buffer.alloc(1000)))).rejects.toMatchObject({ code: 'Corrupted' })
  await c.run(put(1000, data))
  expect(has(c.nodes[1]!, hash)).toBe(true)
})

it('long blocks go over real links, several at a time with memory for one', async () => {
  const clock = new CountingClock()
  const [from, to] = [await startNode(), await startNode()]
  onTestFinished(async () => {
    for (const { transport } of [from, to]) await transport.close()
  })
  const disk = new CrashDisk(clock)
  const dirs = new DataDirs([{ path: '/data', capacity: 1, readOnly: false }])
  const store = new BlockStore(disk, dirs, clock, { fsync: true, reserveBytes: 0, codec: syncCompression })
  const db = new MemoryDb({ trees: BLOCK_TREES })
  const local = new LocalBlocks(db, store, new RefCounts(clock), clock, silentLog)
  new PutCalls(local, to.transport, MESSAGE_BYTES_MAX)
  await from.transport.connect(to.address, to.transport.self)
  const caller = new Quorum(from.transport, clock)
  const send = async (bytes: number) => {
    const { hash, data } = blockOf(bytes)
    const { head, payload } = makeBlock(data, data.length, false)
    const request = { hash, owner: ownerOf(1), head, payload }
    await sendBlock(caller, to.transport.self, request, { timeoutMs: 60_000 })
    expect((await store.read(hash))?.payload.equals(data)).toBe(true)
  }
  const lengths = [-4097, -4096, -4095, 0, MESSAGE_BYTES_MAX]
  await Promise.all(lengths.map((more) => send(MESSAGE_BYTES_MAX + more)))
})
