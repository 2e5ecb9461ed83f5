import { describe, expect, it } from 'vitest'
import { type BlockNode, blockOf, pathOf } from '../../testing/block-cluster.js'
import { DAY, HOUR, has, MINUTE, make, store } from '../../testing/block-nodes.js'
import { parseFile } from './format.js'

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

  it('goes on behind blocks and folders that cannot be read, and tells how many they were', async () => {
    const c = await make()
    const blocks: Awaited<ReturnType<typeof store>>[] = []
    for (let i = 0; i < 20; i++) blocks.push(await store(c, i))
    blocks.sort((a, b) => a.hash.compare(b.hash))
    const [unread, unlisted, rotten] = blocks.map(({ hash }) => pathOf(hash))
    const { disk, blocks: manager } = c.nodes[1]!
    const stale = Object.assign(new Error('stale'), { code: 'ESTALE' })
    const { read, list } = disk
    disk.read = (path) => (path === unread ? Promise.reject(stale) : read.call(disk, path))
    disk.list = (folder) =>
      unlisted!.startsWith(`${folder}/`) ? Promise.reject(stale) : list.call(disk, folder)
    const file = disk.files.get(rotten!)!
    file.content = Buffer.from(file.content)
    file.content[file.content.length - 1]! ^= 1
    await c.run(manager.scrub.begin())
    await c.clock.until(() => manager.scrub.status().completedMs > 0, HOUR)
    // The look for files in the end reads the head of the first one.
    expect(manager.scrub.status()).toMatchObject({ corruptions: 1, unreadable: 2, running: false })
    expect(manager.scrub.workerStats().errors).toBe(0)
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
