import { createHash } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { BlockCluster, type BlockNode, blockOf, ownerOf, pathOf } from '../../testing/block-cluster.js'
import { CarportError } from '../util/errors.js'
import { parseFile } from './format.js'
import { NO_OWNER } from './rc.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

let cluster: BlockCluster
afterEach(() => cluster.stop())

async function make(
  options: Partial<ConstructorParameters<typeof BlockCluster>[0]> = {},
): Promise<BlockCluster> {
  cluster = new BlockCluster({ nodes: 3, ...options })
  await cluster.start()
  return cluster
}

const has = (node: BlockNode, hash: Buffer, dir?: string) => node.disk.files.has(pathOf(hash, dir))

async function store(
  c: BlockCluster,
  n: number,
  owner = ownerOf(n),
): Promise<{ hash: Buffer; data: Buffer }> {
  const block = blockOf(n)
  await c.run(c.nodes[0]!.blocks.put(block.hash, block.data, owner))
  await c.reference(c.nodes[0]!, owner, [block.hash])
  return block
}

describe('the reference queue', () => {
  it('carries references of a committed transaction to the replicas, and takes back what was deleted', async () => {
    const c = await make({ nodes: 4 })
    const gateway = c.nodes[3]!
    const hashes = Array.from({ length: 700 }, (_, i) => createHash('sha256').update(`${i}`).digest())
    await c.run(gateway.db.transact((tx) => gateway.blocks.refs.enqueue(tx, ownerOf(1), hashes, false)))
    await c.clock.until(() => gateway.blocks.refs.stats().queued === 0, MINUTE)
    for (const node of c.nodes.slice(0, 3)) {
      expect(hashes.every((hash) => node.counts.get(node.db, hash)?.count === 1)).toBe(true)
    }
    await c.run(gateway.db.transact((tx) => gateway.blocks.refs.enqueue(tx, ownerOf(1), hashes, true)))
    await c.clock.until(() => gateway.blocks.refs.stats().queued === 0, MINUTE)
    // A reference that comes late, after its deletion, changes nothing.
    await c.run(gateway.db.transact((tx) => gateway.blocks.refs.enqueue(tx, ownerOf(1), hashes, false)))
    await c.clock.until(() => gateway.blocks.refs.stats().queued === 0, MINUTE)
    await c.clock.advance(1000)
    for (const node of c.nodes.slice(0, 3)) {
      expect(hashes.every((hash) => !node.counts.get(node.db, hash)?.count)).toBe(true)
    }
  })

  it('does not send what its own replica has already', async () => {
    const c = await make()
    const { hash } = blockOf(1)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    const node = c.nodes[1]!
    const before = node.transport.calls.length
    await c.run(node.db.transact((tx) => node.blocks.refs.enqueue(tx, ownerOf(1), [hash], false)))
    await c.clock.until(() => node.blocks.refs.stats().queued === 0, MINUTE)
    expect(node.transport.calls.slice(before).filter(({ method }) => method.startsWith('table'))).toEqual([])
    expect(node.blocks.refs.stats().carried).toBe(0)
  })

  it('lets one partition without a quorum not hold up the others, and survives a restart', async () => {
    const c = await make({ nodes: 5 })
    const [a, b, d, e, f] = c.ids() as [string, string, string, string, string]
    for (const node of c.nodes) node.placement.set(c.ids(), 2, (p) => (p < 128 ? [[a, b, d]] : [[a, e, f]]))
    for (const peer of [b, d]) c.net.cut(a, peer)
    const low = blockOf(1, 100, 5).hash
    const high = blockOf(2, 100, 200).hash
    const node = c.nodes[0]!
    await c.run(node.db.transact((tx) => node.blocks.refs.enqueue(tx, ownerOf(1), [low, high], false)))
    await c.clock.until(() => c.nodes[3]!.counts.get(c.nodes[3]!.db, high)?.count === 1, MINUTE)
    expect(node.blocks.refs.stats()).toMatchObject({ queued: 1 })
    for (const peer of [b, d]) c.net.heal(a, peer)
    const revived = c.crash(0)
    await c.start([revived])
    await c.clock.until(() => c.nodes[1]!.counts.get(c.nodes[1]!.db, low)?.count === 1, 2 * MINUTE)
    await c.clock.until(() => revived.blocks.refs.stats().queued === 0, 2 * MINUTE)
  })
})

describe('a disk that was full', () => {
  it('keeps no node from starting, and lets it look at its last blocks once there is room', async () => {
    const c = await make()
    const { hash } = await store(c, 1)
    await c.reference(c.nodes[0]!, ownerOf(1), [hash])
    await c.clock.advance(1000)
    const node = c.crash(2)
    // Its file was not on the disk yet.
    await c.run(node.disk.remove(pathOf(hash)))
    node.db.full = true
    await c.start([node])
    await c.clock.advance(MINUTE)
    expect(has(node, hash)).toBe(false)
    node.db.full = false
    await c.clock.until(() => has(node, hash), MINUTE)
  })

  it('lets no block be tried without a pause whose failure the database does not take', async () => {
    const c = await make()
    const { hash } = await store(c, 1)
    await c.clock.advance(1000)
    const node = c.nodes[2]!
    await c.run(node.disk.remove(pathOf(hash)))
    await c.run(node.db.transact((tx) => node.counts.enqueue(tx, hash, c.clock.nowMs(), true)))
    node.db.full = true
    const looks = vi.spyOn(node.counts, 'judge')
    await c.clock.advance(MINUTE)
    expect(looks.mock.calls.length).toBeGreaterThan(0)
    expect(looks.mock.calls.length).toBeLessThan(100)
    node.db.full = false
    await c.clock.until(() => has(node, hash), MINUTE)
  })

  it('gets what it lacks once anything is written, not when each block would have been tried again', async () => {
    const c = await make()
    const [a, , late] = c.nodes as [BlockNode, BlockNode, BlockNode]
    late.disk.freeBytes = 0
    const lacking: Buffer[] = []
    for (let n = 1; n <= 20; n++) lacking.push((await store(c, n)).hash)
    await c.clock.advance(3 * HOUR)
    const { resync } = late.blocks
    expect(resync.stats().errors).toBe(20)
    late.disk.freeBytes = 2 ** 40
    const nextTryMs = Math.min(...resync.listErrors().map((error) => error.nextTryMs))
    const another = blockOf(21)
    await c.run(a.blocks.put(another.hash, another.data, ownerOf(21)))
    await c.clock.until(() => lacking.every((hash) => has(late, hash)), MINUTE)
    expect(c.clock.nowMs()).toBeLessThan(nextTryMs)
    expect(resync.stats().errors).toBe(0)
  })
})

describe('a reference that was queued', () => {
  const source = Buffer.from('row 1')

  it('is not carried once its row does not want it any more, though it was deleted and forgotten elsewhere', async () => {
    const c = await make()
    const [a, b, d] = c.ids() as [string, string, string]
    const { hash } = blockOf(1)
    const node = c.nodes[0]!
    const asked: string[] = []
    let wanted: 'yes' | 'no' = 'yes'
    node.blocks.refs.isWanted = (_, of) => {
      asked.push(of.toString())
      return wanted
    }
    for (const peer of [b, d]) c.net.cut(a, peer)
    await c.run(node.db.transact((tx) => node.blocks.refs.enqueue(tx, ownerOf(1), [hash], false, source)))
    await c.clock.until(() => node.blocks.refs.stats().failures > 0, MINUTE)
    wanted = 'no'
    for (const peer of [b, d]) c.net.heal(a, peer)
    const revived = c.crash(0)
    revived.blocks.refs.isWanted = node.blocks.refs.isWanted
    await c.start([revived])
    await c.clock.until(() => revived.blocks.refs.stats().queued === 0, 2 * MINUTE)
    expect(new Set(asked)).toEqual(new Set(['row 1']))
    for (const other of c.nodes.slice(1)) expect(other.counts.get(other.db, hash)).toBeUndefined()
  })

  it('waits while nobody knows whether its row wants it, and does not hold up others', async () => {
    const c = await make()
    const node = c.nodes[0]!
    let isKnown = false
    node.blocks.refs.isWanted = (_, of) => (of.equals(source) && !isKnown ? 'unknown' : 'yes')
    const [first, second] = [blockOf(1).hash, blockOf(2).hash]
    await c.run(
      node.db.transact((tx) => {
        node.blocks.refs.enqueue(tx, ownerOf(1), [first], false, source)
        node.blocks.refs.enqueue(tx, ownerOf(2), [second], false, Buffer.from('row 2'))
      }),
    )
    await c.clock.until(() => c.nodes[1]!.counts.get(c.nodes[1]!.db, second)?.count === 1, MINUTE)
    await c.clock.advance(MINUTE)
    expect(node.blocks.refs.stats().queued).toBe(1)
    expect(c.nodes[1]!.counts.get(c.nodes[1]!.db, first)).toBeUndefined()
    isKnown = true
    await c.clock.until(() => c.nodes[1]!.counts.get(c.nodes[1]!.db, first)?.count === 1, 3 * MINUTE)
    await c.clock.until(() => node.blocks.refs.stats().queued === 0, MINUTE)
  })

  it('is deleted only if a quorum knows that its row is gone, and the deletion waits while none tells', async () => {
    const c = await make()
    const [node, other] = c.nodes as [(typeof c.nodes)[0], (typeof c.nodes)[0]]
    const [gone, there, unknown] = [1, 2, 3].map((n) => ({ owner: ownerOf(n), hash: blockOf(n).hash }))
    const enqueue = (deleted: boolean) =>
      c.run(
        node.db.transact((tx) => {
          for (const [i, { owner, hash }] of [gone!, there!, unknown!].entries())
            node.blocks.refs.enqueue(tx, owner, [hash], deleted, Buffer.from(`row ${i + 1}`))
        }),
      )
    const isLive = ({ hash }: { hash: Buffer }) => other.counts.get(other.db, hash)?.count === 1
    let isKnown = false
    node.blocks.refs.isGone = async (source) => {
      if (source.toString() === 'row 3' && !isKnown)
        throw new CarportError('QuorumUnavailable', 'all are away')
      return source.toString() !== 'row 2'
    }
    await enqueue(false)
    await c.clock.until(() => [gone!, there!, unknown!].every(isLive), MINUTE)
    await enqueue(true)
    await c.clock.until(() => !isLive(gone!), MINUTE)
    await c.clock.advance(MINUTE)
    expect([isLive(there!), isLive(unknown!), node.blocks.refs.stats().queued]).toEqual([true, true, 1])
    isKnown = true
    await c.clock.until(() => !isLive(unknown!), 3 * MINUTE)
    expect([isLive(there!), node.blocks.refs.stats().queued]).toEqual([true, 0])
  })

  it('keeps its source whatever length that has', async () => {
    const c = await make()
    const node = c.nodes[0]!
    const asked: number[] = []
    node.blocks.refs.isWanted = (_, of) => {
      asked.push(of.length)
      return 'yes'
    }
    const hashes = [blockOf(1).hash, blockOf(2).hash]
    const lengths = Array.from({ length: 33 }, (_, i) => 20 + i)
    await c.run(
      node.db.transact((tx) => {
        for (const n of lengths) node.blocks.refs.enqueue(tx, ownerOf(n), hashes, false, Buffer.alloc(n, n))
      }),
    )
    await c.clock.until(() => node.blocks.refs.stats().queued === 0, MINUTE)
    expect(asked).toEqual(lengths)
    for (const hash of hashes) expect(c.nodes[1]!.counts.get(c.nodes[1]!.db, hash)?.count).toBe(33)
  })
})

describe('the reference queue of a node that lost its role', () => {
  it('is carried by a member of the layout', async () => {
    const c = await make({ nodes: 4 })
    const leaver = c.nodes[3]!
    const { hash } = blockOf(1)
    leaver.placement.writeSets = () => []
    c.net.cut(leaver.id, c.ids()[0]!)
    await c.run(leaver.db.transact((tx) => leaver.blocks.refs.enqueue(tx, ownerOf(1), [hash], false)))
    await c.clock.until(() => leaver.blocks.refs.stats().queued === 0, 2 * MINUTE)
    await c.clock.advance(50)
    for (const node of c.nodes.slice(0, 3)) expect(node.counts.get(node.db, hash)?.count).toBe(1)
  })
})

describe('resync', () => {
  it('lists what it cannot bring here, backs off, and tries at once when told', async () => {
    const c = await make()
    const { hash, data } = await store(c, 1)
    for (const node of c.nodes) node.disk.files.delete(pathOf(hash))
    const node = c.nodes[2]!
    await expect(c.run(node.blocks.get(hash))).rejects.toMatchObject({ code: 'BlockMissing' })
    await c.clock.until(() => node.blocks.resync.listErrors().length === 1, MINUTE)
    const [error] = node.blocks.resync.listErrors()
    expect(error).toMatchObject({ attempts: 1, refCount: 1 })
    expect(error!.nextTryMs - c.clock.nowMs()).toBeGreaterThan(30_000)
    await c.clock.advance(10 * MINUTE)
    expect(node.blocks.resync.listErrors()[0]!.attempts).toBeGreaterThan(2)
    await c.run(c.nodes[0]!.blocks.put(hash, data, ownerOf(1)))
    node.disk.files.delete(pathOf(hash))
    await c.run(node.db.transact((tx) => node.counts.setPresent(tx, hash, false)))
    await c.run(node.blocks.resync.retryNow([hash]))
    await c.clock.until(() => has(node, hash), 10_000)
    await c.clock.advance(100)
    expect(node.blocks.resync.listErrors()).toEqual([])
  })

  it('moves blocks with their partition: the new replica fetches, the old one offers and deletes', async () => {
    const c = await make({ nodes: 4 })
    await c.clock.advance(HOUR)
    const { hash, data } = await store(c, 1)
    const ids = c.ids()
    const [, , old, fresh] = c.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    // Both layouts live: the new one's rows have come (the table's anti-entropy is not a part of this test).
    for (const node of c.nodes) {
      node.placement.set(ids, 2, () => [ids.slice(0, 3), [ids[0]!, ids[1]!, ids[3]!]])
    }
    const row = { hash, owner: ownerOf(1), deleted: false }
    await c.run(fresh.db.transact((tx) => fresh.table.local.update(tx, row)))
    fresh.blocks.refsSynced(2)
    await c.clock.until(() => fresh.placement.synced.get('blocks') === 2, MINUTE)
    expect(has(fresh, hash)).toBe(true)
    // The new replica loses its copy without knowing that another one still has it to give.
    for (const node of c.nodes) node.placement.set(ids, 3, () => [[ids[0]!, ids[1]!, ids[3]!]])
    fresh.disk.files.delete(pathOf(hash))
    await c.run(fresh.db.transact((tx) => fresh.counts.setPresent(tx, hash, false)))
    for (const node of c.nodes.slice(0, 2)) node.disk.files.delete(pathOf(hash))
    await c.run(
      old.db.transact((tx) => {
        old.counts.unreferenced(tx, hash)
        old.counts.renounced(tx, hash, NO_OWNER)
      }),
    )
    await c.clock.advance(HOUR)
    expect(has(old, hash)).toBe(false)
    expect(has(fresh, hash)).toBe(true)
    expect((await c.run(c.nodes[0]!.blocks.get(hash))).equals(data)).toBe(true)
  })

  it('keeps a block that it cannot offer, because a replica does not answer', async () => {
    const c = await make({ nodes: 4 })
    await c.clock.advance(HOUR)
    const { hash } = await store(c, 1)
    const ids = c.ids()
    for (const node of c.nodes) node.placement.set(ids, 2, () => [[ids[0]!, ids[1]!, ids[3]!]])
    const old = c.nodes[2]!
    c.net.cut(old.id, ids[3]!)
    await c.run(old.db.transact((tx) => old.counts.unreferenced(tx, hash)))
    await c.clock.advance(2 * HOUR)
    expect(has(old, hash)).toBe(true)
    expect(old.blocks.resync.listErrors()).toHaveLength(1)
    c.net.heal(old.id, ids[3]!)
    c.connect(old.id)
    await c.clock.advance(2 * HOUR)
    expect(has(old, hash)).toBe(false)
    expect(old.blocks.resync.listErrors()).toEqual([])
  })

  it('refuses nonsensical settings', async () => {
    const { resync } = (await make()).nodes[0]!.blocks
    for (const settings of [
      { workers: 0 },
      { workers: 9 },
      { workers: 1.5 },
      { tranquility: -1 },
      { tranquility: Number.NaN },
    ]) {
      expect(() => resync.configure(settings)).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
    }
    resync.configure({ workers: 3, tranquility: 1 })
    expect(resync.settings).toEqual({ workers: 3, tranquility: 1 })
  })
})

describe('the scrub', () => {
  it('runs by itself after 25 to 35 days, and finds what reads have not', async () => {
    const c = await make()
    const rotten = await store(c, 1)
    const forged = await store(c, 2)
    const lost = blockOf(3)
    const node = c.nodes[1]!
    const file = node.disk.files.get(pathOf(rotten.hash))!
    file.content = Buffer.from(file.content)
    file.content[file.content.length - 1]! ^= 1
    // Put another block's intact file under this one's name: only SHA-256 can tell.
    node.disk.files.set(pathOf(forged.hash), { ...node.disk.files.get(pathOf(forged.hash))! })
    const other = await store(c, 4)
    const { head, payload } = parseFile(node.disk.files.get(pathOf(other.hash))!.content, other.hash).block
    node.disk.files.get(pathOf(forged.hash))!.content = Buffer.concat([head, payload])
    // Add a file of which nothing is known, and rests of writes, one of them from just now.
    node.disk.files.set(pathOf(lost.hash), {
      ...file,
      content: node.disk.files.get(pathOf(other.hash))!.content,
    })
    node.disk.files.set(`${pathOf(other.hash)}.1.tmp`, { ...file, mtimeMs: c.clock.nowMs() })
    await c.clock.advance(24 * DAY)
    node.disk.files.set(`${pathOf(other.hash)}.2.tmp`, { ...file, mtimeMs: c.clock.nowMs() + 11 * DAY })
    expect(node.blocks.scrub.status().completedMs).toBe(0)
    await c.clock.advance(11.1 * DAY)
    expect(node.blocks.scrub.status()).toMatchObject({ running: false, corruptions: 3, position: 0 })
    for (const { hash, data } of [rotten, forged]) {
      await c.clock.until(() => has(node, hash), HOUR, 1000)
      expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
    }
    expect(has(node, lost.hash)).toBe(false)
    expect(node.disk.files.has(`${pathOf(other.hash)}.1.tmp`)).toBe(false)
    expect(node.disk.files.has(`${pathOf(other.hash)}.2.tmp`)).toBe(true)
  })

  it('gives files of the first release the head that names their block', async () => {
    const c = await make()
    const blocks: Awaited<ReturnType<typeof store>>[] = []
    for (let i = 0; i < 4; i++) blocks.push(await store(c, i))
    const { blocks: manager, disk } = c.nodes[1]!
    const contents = () => blocks.map(({ hash }) => disk.files.get(pathOf(hash))!.content)
    const before = contents()
    for (const { hash } of blocks) {
      const { head, payload } = parseFile(disk.files.get(pathOf(hash))!.content, hash).block
      disk.files.get(pathOf(hash))!.content = Buffer.concat([head, payload])
    }
    await c.run(manager.scrub.begin())
    await c.clock.until(() => manager.scrub.status().completedMs > 0, HOUR)
    expect(contents()).toEqual(before)
    expect(manager.scrub.status()).toMatchObject({ corruptions: 0, missing: 0 })
  })

  it('finds blocks whose file is missing, and they are fetched again', async () => {
    const c = await make()
    const blocks: Awaited<ReturnType<typeof store>>[] = []
    for (let i = 0; i < 5; i++) blocks.push(await store(c, i))
    const node = c.nodes[1]!
    for (const { hash } of blocks.slice(0, 3)) node.disk.files.delete(pathOf(hash))
    await c.run(node.blocks.scrub.begin())
    await c.clock.until(() => node.blocks.scrub.status().completedMs > 0, HOUR)
    expect(node.blocks.scrub.status()).toMatchObject({ missing: 3, corruptions: 0 })
    await c.clock.until(() => blocks.every(({ hash }) => has(node, hash)), HOUR, 1000)
  })

  it('verifies the rows first, at once where they never were, and tells how many are damaged', async () => {
    const c = await make()
    for (let i = 0; i < 150; i++) await store(c, i)
    const { db, table, blocks } = c.nodes[1]!
    const { head } = table.local.trees
    await c.run(
      db.transact((tx) => {
        for (const { key, value } of [...tx.range(head, { limit: 7 })]) {
          value[20]! ^= 1
          tx.put(head, key, value)
        }
      }),
    )
    await c.clock.until(() => blocks.scrub.status().rowsCompletedMs > 0, HOUR)
    expect(blocks.scrub.status()).toMatchObject({ running: false, rows: 150, damagedRows: 7, completedMs: 0 })
    await c.run(blocks.scrub.begin())
    expect(blocks.scrub.status()).toMatchObject({ running: true, phase: 'rows' })
    await c.clock.until(() => blocks.scrub.status().completedMs > 0, HOUR)
    expect(blocks.scrub.status()).toMatchObject({ rows: 150, damagedRows: 7, corruptions: 0 })
  })

  it('goes on after a restart where it was, can be paused, resumed and cancelled', async () => {
    const c = await make()
    const blocks = []
    for (let i = 0; i < 20; i++) blocks.push(await store(c, i))
    const node = c.nodes[0]!
    await c.run(node.blocks.scrub.setTranquility(1))
    let reads = 0
    const slowDown = ({ disk }: BlockNode) => {
      const { read } = disk
      disk.read = async (path) => {
        reads++
        await new Promise<void>((resolve) => c.clock.after(20_000, resolve))
        return read.call(disk, path)
      }
    }
    slowDown(node)
    await c.run(node.blocks.scrub.begin())
    await c.clock.advance(5 * MINUTE)
    expect(node.blocks.scrub.status()).toMatchObject({ running: true, completedMs: 0 })
    expect(reads).toBeGreaterThan(4)
    expect(reads).toBeLessThan(10)
    const revived = c.crash(0)
    await c.start([revived])
    await c.clock.until(() => revived.blocks.scrub.status().completedMs > 0, HOUR)
    expect(revived.blocks.scrub.status().tranquility).toBe(1)
    // At most 30 s of the walk, and the block that was being read, are done again.
    expect(
      revived.blocks.stats().bytesRead / revived.disk.files.get(pathOf(blocks[0]!.hash))!.content.length,
    ).toBeLessThan(blocks.length - reads + 3)

    slowDown(revived)
    await c.run(revived.blocks.scrub.begin())
    await c.clock.advance(2 * MINUTE)
    await c.run(revived.blocks.scrub.pause(DAY))
    await c.clock.advance(MINUTE)
    const { position } = revived.blocks.scrub.status()
    await c.clock.advance(HOUR)
    expect(position).toBeGreaterThan(0)
    expect(revived.blocks.scrub.status()).toMatchObject({ running: true, position })
    await c.run(revived.blocks.scrub.cancel())
    expect(revived.blocks.scrub.status().running).toBe(false)
    await c.run(revived.blocks.scrub.resume())
    await expect(c.run(revived.blocks.scrub.setTranquility(-1))).rejects.toMatchObject({
      code: 'InvalidArgument',
    })
  })
})

describe('several data folders', () => {
  const two = [
    { path: '/a', capacity: 100, readOnly: false },
    { path: '/b', capacity: 300, readOnly: false },
  ]

  it('share the blocks by capacity; blocks in the wrong folder are read, and moved by a rebalance', async () => {
    const c = await make({ dirs: two })
    const node = c.nodes[0]!
    const blocks = []
    for (let i = 0; i < 60; i++) blocks.push(await store(c, i))
    const inB = blocks.filter(({ hash }) => has(node, hash, '/b')).length
    expect(inB).toBeGreaterThan(33)
    expect(inB).toBeLessThan(57)
    for (const { hash } of blocks.slice(0, 10)) {
      const [from, to] = has(node, hash, '/a') ? ['/a', '/b'] : ['/b', '/a']
      node.disk.files.set(pathOf(hash, to), node.disk.files.get(pathOf(hash, from))!)
      node.disk.files.delete(pathOf(hash, from))
    }
    for (const { hash, data } of blocks) expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
    expect(node.blocks.stats().remoteGets).toBe(0)
    const progress = await c.run(node.blocks.repair.rebalance())
    expect(progress).toMatchObject({ checked: 60, changed: 10, done: 1 })
    expect(await c.run(node.blocks.repair.rebalance())).toMatchObject({ checked: 60, changed: 0 })
    for (const { hash, data } of blocks) expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
  })

  it('empty a read-only folder by a rebalance', async () => {
    const c = await make({ dirs: [two[0]!, { ...two[1]!, readOnly: true }] })
    const node = c.nodes[0]!
    const { hash, data } = await store(c, 1)
    expect(has(node, hash, '/a')).toBe(true)
    node.disk.files.set(pathOf(hash, '/b'), node.disk.files.get(pathOf(hash, '/a'))!)
    node.disk.files.delete(pathOf(hash, '/a'))
    expect(await c.run(node.blocks.repair.rebalance())).toMatchObject({ changed: 1 })
    expect(has(node, hash, '/a')).toBe(true)
    expect(has(node, hash, '/b')).toBe(false)
    expect((await c.run(node.blocks.get(hash))).equals(data)).toBe(true)
  })
})

describe('verify counters', () => {
  it('sets wrong counts right, and what follows from them', async () => {
    const c = await make()
    await c.clock.advance(HOUR)
    const node = c.nodes[0]!
    const blocks = []
    for (let i = 0; i < 30; i++) blocks.push(await store(c, i))
    const [tooMany, tooFew, leaked] = [blocks[0]!, blocks[1]!, blocks[2]!]
    // Give one block more rows than a page of the walk holds.
    for (let i = 0; i < 450; i += 150) {
      const owners = Array.from({ length: 150 }, (_, j) => ownerOf(1000 + i + j))
      await c.run(
        node.table.insertMany(owners.map((owner) => ({ hash: tooFew.hash, owner, deleted: false }))),
      )
    }
    await c.clock.advance(1000)
    await c.run(
      node.db.transact((tx) => {
        node.counts.repair(tx, tooMany.hash, 7)
        node.counts.repair(tx, tooFew.hash, 1)
        node.counts.repair(tx, leaked.hash, 0)
      }),
    )
    const progress = await c.run(node.blocks.repair.verifyCounters())
    expect(progress).toMatchObject({ checked: 30, changed: 3, done: 1 })
    expect(node.counts.get(node.db, tooMany.hash)!.count).toBe(1)
    expect(node.counts.get(node.db, tooFew.hash)!.count).toBe(451)
    await c.clock.advance(2 * DAY)
    expect(has(node, leaked.hash)).toBe(true)
    expect(await c.run(node.blocks.repair.verifyCounters())).toMatchObject({ checked: 30, changed: 0 })
  })
})
