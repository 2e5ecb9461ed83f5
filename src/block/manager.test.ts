import { createHash, randomFillSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type BlockNode, blockOf, ownerOf, pathOf, syncCompression } from '../../testing/block-cluster.js'
import { HOUR, has, holders, MINUTE, make } from '../../testing/block-nodes.js'
import { settle } from '../../testing/cluster-fakes.js'
import { compressBlock } from './compression.js'
import { FILE_HEAD_BYTES, parseFile } from './format.js'

describe('blocks on three nodes', () => {
  it('puts on all replicas, compressed, and gets from each', async () => {
    const c = await make()
    const { hash, data } = blockOf(1, 100_000)
    await c.run(c.nodes[0]!.blocks.put(hash, data))
    await c.clock.advance(100)
    for (const node of c.nodes) {
      expect(node.disk.files.get(pathOf(hash))!.content.length).toBeLessThan(10_000)
      expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
    }
    expect(c.nodes.every((node) => node.blocks.stats().remoteGets === 0)).toBe(true)
  })

  it('stores incompressible data as it is', async () => {
    const c = await make()
    const data = randomFillSync(Buffer.alloc(300_000))
    const hash = createHash('sha256').update(data).digest()
    await c.run(c.nodes[0]!.blocks.put(hash, data))
    expect(c.nodes[0]!.disk.files.get(pathOf(hash))!.content.length).toBe(data.length + FILE_HEAD_BYTES)
    expect((await c.run(c.nodes[1]!.blocks.get(hash))).equals(data)).toBe(true)
  })

  it('takes the empty block', async () => {
    const c = await make()
    const data = Buffer.alloc(0)
    const hash = createHash('sha256').digest()
    await c.run(c.nodes[0]!.blocks.put(hash, data))
    await c.clock.advance(100)
    c.nodes[2]!.disk.files.delete(pathOf(hash))
    expect((await c.run(c.nodes[2]!.blocks.get(hash))).length).toBe(0)
  })

  it('puts with one replica down, which fetches the block when its reference arrives', async () => {
    const c = await make()
    const { hash, data } = blockOf(2)
    c.net.cut(c.nodes[0]!.id, c.nodes[2]!.id)
    await c.run(c.nodes[0]!.blocks.put(hash, data))
    expect(holders(hash)).toBe(2)
    c.net.heal(c.nodes[0]!.id, c.nodes[2]!.id)
    c.connect(c.nodes[0]!.id)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.clock.until(() => holders(hash) === 3, MINUTE)
    expect(c.nodes[2]!.blocks.stats().resync.fetched).toBe(1)
  })

  it('refuses a put without a quorum, and says so', async () => {
    const c = await make()
    const { hash, data } = blockOf(3)
    for (const other of [1, 2]) c.net.cut(c.nodes[0]!.id, c.nodes[other]!.id)
    await expect(c.run(c.nodes[0]!.blocks.put(hash, data))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
    await expect(c.run(c.nodes[0]!.blocks.get(blockOf(4).hash))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
  })

  it('says BlockMissing when every replica was asked', async () => {
    const c = await make()
    await expect(c.run(c.nodes[0]!.blocks.get(blockOf(5).hash))).rejects.toMatchObject({
      code: 'BlockMissing',
    })
  })

  it('sets a corrupted copy aside, answers from another replica, and fetches it again', async () => {
    const c = await make()
    const { hash, data } = blockOf(6)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    const node = c.nodes[0]!
    const file = node.disk.files.get(pathOf(hash))!
    file.content = Buffer.from(file.content)
    file.content[file.content.length - 3]! ^= 0x10
    expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
    expect(node.disk.files.has(`${pathOf(hash)}.corrupted`)).toBe(true)
    await c.clock.until(() => has(node, hash), MINUTE)
    expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
    expect(node.blocks.stats()).toMatchObject({ corruptions: 1, remoteGets: 1 })
  })

  /** Writes the file of a block as the first release did: without the block's hash. */
  const inOldForm = (node: BlockNode, hash: Buffer) => {
    const file = node.disk.files.get(pathOf(hash))!
    const { head, payload } = parseFile(file.content, hash).block
    node.disk.files.set(pathOf(hash), { ...file, content: Buffer.concat([head, payload]) })
  }
  /** Two blocks' files change places, as after a mistake of the file system or of an operator. */
  const swap = (node: BlockNode, a: Buffer, b: Buffer) => {
    const { files } = node.disk
    const [one, other] = [files.get(pathOf(a))!, files.get(pathOf(b))!]
    files.set(pathOf(a), other)
    files.set(pathOf(b), one)
  }

  for (const form of ['the newest form', 'the first form']) {
    for (const nodes of [1, 3]) {
      it(`never takes another block for the one that is asked for: ${nodes} nodes, ${form}`, async () => {
        const c = await make({ nodes })
        if (nodes === 1) {
          c.nodes[0]!.placement.writeQuorum = 1
          c.nodes[0]!.placement.readQuorum = 1
        }
        const [a, b] = [blockOf(61, 5000), blockOf(62, 5000)]
        for (const [i, { hash, data }] of [a, b].entries()) {
          await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(i)))
          await c.reference(c.nodes[0]!, ownerOf(i), [hash])
        }
        await c.clock.advance(100)
        const node = c.nodes[0]!
        if (form === 'the first form') for (const { hash } of [a, b]) inOldForm(node, hash)
        for (const { hash, data } of [a, b])
          expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
        swap(node, a.hash, b.hash)
        if (nodes === 1) {
          for (const { hash } of [a, b]) {
            await expect(c.run(node.blocks.get(hash))).rejects.toMatchObject({ code: 'BlockMissing' })
          }
          return
        }
        // Another node asks this one first: it has no copy to give.
        const reader = c.nodes[1]!
        reader.disk.files.delete(pathOf(a.hash))
        reader.transport.rttMs = (id) => (id === node.id ? 1 : 50)
        expect((await c.run(reader.blocks.get(a.hash))).equals(a.data)).toBe(true)
        for (const { hash, data } of [a, b])
          expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
        await c.clock.until(() => has(node, a.hash) && has(node, b.hash), MINUTE)
        expect(node.blocks.stats().corruptions).toBe(2)
      })
    }
  }

  it('answers a node of the first release in the form that it knows, and checks what such a one sends', async () => {
    const c = await make()
    const [a, b] = [blockOf(63, 5000), blockOf(64, 5000)]
    for (const { hash, data } of [a, b]) await c.run(c.nodes[0]!.blocks.put(hash, data))
    await c.clock.advance(100)
    const [node, old, reader] = c.nodes as [BlockNode, BlockNode, BlockNode]
    const get = (body: object) => c.run(old.transport.call(node.id, 'block/get', body, { timeoutMs: 1000 }))
    expect((await get({ hash: a.hash })).body).toMatchObject({
      head: expect.objectContaining({ length: 16 }),
    })
    expect((await get({ hash: a.hash, version: 2 })).body).toMatchObject({
      head: expect.objectContaining({ length: FILE_HEAD_BYTES }),
    })
    // The old node's files have changed places, and it cannot know.
    reader.disk.files.delete(pathOf(a.hash))
    const { call } = reader.transport
    reader.transport.call = (to, method, body, options) =>
      method === 'block/get' && to === old.id
        ? call.call(reader.transport, to, method, { hash: b.hash }, options)
        : call.call(reader.transport, to, method, body, options)
    reader.transport.rttMs = (id) => (id === old.id ? 1 : 50)
    expect((await c.run(reader.blocks.get(a.hash))).equals(a.data)).toBe(true)
  })

  it('fetches a lost file again after a read missed it', async () => {
    const c = await make()
    const { hash, data } = blockOf(7)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    c.nodes[1]!.disk.files.delete(pathOf(hash))
    expect((await c.run(c.nodes[1]!.blocks.get(hash))).equals(data)).toBe(true)
    await c.clock.until(() => has(c.nodes[1]!, hash), MINUTE)
  })

  it('tells of a block that it cannot fetch until nobody wants it any more', async () => {
    const c = await make()
    const { hash } = blockOf(33)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    const failures = () => c.nodes.map(({ blocks }) => blocks.resync.stats().errors)
    await c.clock.until(() => failures().every((count) => count === 1), HOUR)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash], true)
    await c.clock.until(() => failures().every((count) => count === 0), MINUTE)
    // It stays so when the next look at it comes.
    await c.clock.advance(HOUR)
    expect(failures()).toEqual([0, 0, 0])
  })

  it('hedges: a replica that is silent does not hold a read up for long', async () => {
    const c = await make({ nodes: 4 })
    const { hash, data } = blockOf(8)
    await c.run(c.nodes[0]!.blocks.put(hash, data))
    await c.clock.advance(100)
    const reader = c.nodes[3]!
    const nearest = c.nodes[0]!
    c.net.latencyMs = (from) => (from === nearest.id ? 20_000 : 1)
    reader.transport.rttMs = (node) => (node === nearest.id ? 1 : 50)
    const startMs = c.clock.monotonicMs()
    expect((await c.run(reader.blocks.get(hash))).equals(data)).toBe(true)
    expect(c.clock.monotonicMs() - startMs).toBeLessThan(1_000)
  })

  it('keeps the block after the last reference went for its grace, then deletes it everywhere', async () => {
    const c = await make()
    await c.clock.advance(HOUR)
    const { hash, data } = blockOf(9)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.clock.advance(HOUR)
    expect(holders(hash)).toBe(3)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash], true)
    await c.clock.advance(9 * MINUTE)
    expect(holders(hash)).toBe(3)
    await c.clock.advance(2 * MINUTE)
    expect(holders(hash)).toBe(0)
    for (const { blocks } of c.nodes) expect(blocks.stats()).toMatchObject({ known: 0, queued: 0, claims: 0 })
  })

  it('keeps an unreferenced block for the long grace, then deletes it', async () => {
    const c = await make()
    const { hash, data } = blockOf(10)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.clock.advance(23 * HOUR)
    expect(holders(hash)).toBe(3)
    await c.clock.advance(61 * MINUTE)
    expect(holders(hash)).toBe(0)
  }, 20_000)

  it('forgets the claims of writes that were given up, also of a block that others reference', async () => {
    const c = await make()
    const { hash, data } = blockOf(10)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(2)))
    await c.clock.advance(100)
    for (const { blocks } of c.nodes) expect(blocks.stats()).toMatchObject({ claims: 1 })
    await c.clock.advance(25 * HOUR)
    for (const { blocks } of c.nodes) expect(blocks.stats()).toMatchObject({ known: 1, queued: 0, claims: 0 })
    expect(holders(hash)).toBe(3)
  }, 20_000)

  it('re-arms the grace when the block is put again, also by another owner than the one that goes', async () => {
    const c = await make()
    await c.clock.advance(HOUR)
    const { hash, data } = blockOf(11)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    const written = c.nodes[0]!.blocks.stats().bytesWritten
    await c.run(c.nodes[1]!.blocks.put(hash, data, ownerOf(2)))
    await c.clock.advance(100)
    expect(c.nodes[0]!.blocks.stats().bytesWritten).toBe(written)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash], true)
    await c.clock.advance(2 * HOUR)
    expect(holders(hash)).toBe(3)
    await c.reference(c.nodes[0]!, ownerOf(2), [hash])
    await c.clock.advance(24 * HOUR)
    expect(holders(hash)).toBe(3)
  }, 20_000)

  it('retains blocks for a copy whose source goes, and says when they are gone already', async () => {
    const c = await make()
    await c.clock.advance(HOUR)
    const { hash, data } = blockOf(12)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.run(c.nodes[2]!.blocks.retain(ownerOf(2), [hash]))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash], true)
    await c.clock.advance(2 * HOUR)
    expect(holders(hash)).toBe(3)
    await expect(c.run(c.nodes[0]!.blocks.retain(ownerOf(3), [blockOf(13).hash]))).rejects.toMatchObject({
      code: 'BlockMissing',
    })
  })

  it('retains blocks that one replica alone has left, and does not call them gone while that one is away', async () => {
    const c = await make()
    const { hash, data } = blockOf(15)
    const [a, b, keeper] = c.nodes as [BlockNode, BlockNode, BlockNode]
    await c.run(keeper.blocks.local.put(hash, ownerOf(1), await compressBlock(data, syncCompression)))
    for (const node of [a, b]) c.net.cut(keeper.id, node.id)
    await expect(c.run(a.blocks.retain(ownerOf(2), [hash]))).rejects.toMatchObject({
      code: 'QuorumUnavailable',
    })
    for (const node of [a, b]) c.net.heal(keeper.id, node.id)
    c.connect(keeper.id)
    await c.run(a.blocks.retain(ownerOf(2), [hash]))
    expect(holders(hash)).toBeGreaterThan(1)
  })

  it('deletes nothing while references cannot be carried', async () => {
    const c = await make()
    await c.clock.advance(HOUR)
    const { hash, data } = blockOf(14)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.reference(c.nodes[0]!, ownerOf(1), [hash], true)
    const [node] = c.nodes
    for (const other of [1, 2]) c.net.cut(node!.id, c.nodes[other]!.id)
    await c.run(node!.db.transact((tx) => node!.blocks.refs.enqueue(tx, ownerOf(2), [hash], false)))
    await c.clock.advance(30 * MINUTE)
    expect(has(node!, hash)).toBe(true)
    expect(node!.blocks.stats().refs).toMatchObject({ queued: 1 })
    for (const other of [1, 2]) c.net.heal(node!.id, c.nodes[other]!.id)
    c.connect(node!.id)
    await c.clock.advance(5 * MINUTE)
    expect(node!.blocks.stats().refs.queued).toBe(0)
    await c.clock.until(() => holders(hash) === 3, 10 * MINUTE, 1000)
  })

  it('refuses to write into the reserve of free space, still deletes, and puts while a quorum has room', async () => {
    const c = await make({ reserveBytes: 1 << 30 })
    await c.clock.advance(HOUR)
    const first = blockOf(15)
    await c.run(c.nodes[0]!.blocks.put(first.hash, first.data, ownerOf(1)))
    await c.reference(c.nodes[0]!, ownerOf(1), [first.hash])
    c.nodes[0]!.disk.freeBytes = 1 << 29
    await c.clock.advance(5_000)
    const second = blockOf(16)
    await c.run(c.nodes[0]!.blocks.put(second.hash, second.data))
    expect(holders(second.hash)).toBe(2)
    for (const node of c.nodes) node.disk.freeBytes = 1 << 29
    await c.clock.advance(5_000)
    const third = blockOf(17)
    await expect(c.run(c.nodes[0]!.blocks.put(third.hash, third.data))).rejects.toMatchObject({
      code: 'StorageFull',
    })
    expect(c.nodes[0]!.counts.get(c.nodes[0]!.db, third.hash)).toBeUndefined()
    await c.reference(c.nodes[0]!, ownerOf(1), [first.hash], true)
    await c.clock.advance(11 * MINUTE)
    expect(holders(first.hash)).toBe(0)
  })

  it('bounds the memory of puts in flight, and lets stragglers go when others wait', async () => {
    const c = await make({ memoryBytes: 12_000 })
    const slow = c.nodes[2]!
    c.net.latencyMs = (_, to) => (to === slow.id ? 30_000 : 1)
    const blocks = [20, 21, 22, 23, 24, 25].map((n) => blockOf(n))
    const puts = Promise.all(blocks.map(({ hash, data }) => c.nodes[0]!.blocks.put(hash, data)))
    await settle()
    expect(c.nodes[0]!.blocks.stats().writeBytesInFlight).toBe(10_000)
    expect(c.nodes[0]!.blocks.stats().writesWaiting).toBe(4)
    // The fake network does not cancel calls: the stragglers' memory is free when they end by themselves.
    await c.run(puts)
    expect(blocks.every(({ hash }) => has(c.nodes[0]!, hash) && has(c.nodes[1]!, hash))).toBe(true)
    await c.clock.advance(2 * MINUTE)
    expect(c.nodes[0]!.blocks.stats().writeBytesInFlight).toBe(0)
  })

  it('refuses malformed requests of peers', async () => {
    const c = await make()
    const { hash } = blockOf(30)
    const call = (method: string, body: unknown) =>
      c.nodes[0]!.transport.call(c.nodes[1]!.id, method, body, { timeoutMs: 1000 })
    for (const [method, body] of [
      ['block/put', null],
      ['block/put', { hash, owner: ownerOf(1), head: Buffer.alloc(3), payload: Buffer.alloc(3) }],
      ['block/put', { hash: hash.subarray(1), owner: ownerOf(1), head: Buffer.alloc(16), payload: 'x' }],
      ['block/get', { hash: 'x' }],
      ['block/need', { hashes: [1] }],
      ['block/retain', { hashes: [hash], owner: Buffer.alloc(2) }],
      ['block/carry', { references: [[hash, ownerOf(1)]] }],
      ['block/carry', { references: hash }],
    ] as const) {
      await expect(c.run(call(method, body))).rejects.toMatchObject({ code: 'InvalidArgument' })
    }
    const damaged = { hash, owner: ownerOf(1), head: Buffer.alloc(16), payload: Buffer.alloc(3) }
    await expect(c.run(call('block/put', damaged))).rejects.toMatchObject({ code: 'Corrupted' })
  })
})
