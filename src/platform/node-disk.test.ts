import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BufferPools } from '../util/buffer-pools.js'
import { NodeDisk } from './node-disk.js'

describe('NodeDisk', () => {
  let folder: string
  let disk: NodeDisk
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'carport-disk-'))
    disk = new NodeDisk()
  })
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

  it('writes the parts one after the other and makes missing folders', async () => {
    const file = `${folder}/ab/cd/file`
    const big = Buffer.alloc(3 << 20, 7)
    await disk.writeDurable(file, [Buffer.from('head'), Buffer.alloc(0), big], { fsync: true })
    const read = await disk.read(file)
    expect(read!.length).toBe(4 + big.length)
    expect(read!.subarray(0, 4).toString()).toBe('head')
    expect(read!.subarray(4).equals(big)).toBe(true)
    expect(fs.readdirSync(`${folder}/ab/cd`)).toEqual(['file'])
    expect(await disk.readRange(file, 2, 4)).toEqual(Buffer.from([97, 100, 7, 7]))
    expect((await disk.readRange(file, 4 + big.length - 3, 100))!.length).toBe(3)
  })

  it('reads the whole of a file, whatever length is expected', async () => {
    const pool = new BufferPools(1 << 20, 4)
    const pooled = new NodeDisk(pool)
    for (const length of [0, 1, 16, 65_536, 300_000]) {
      const content = Buffer.from(Array.from({ length }, (_, i) => i % 251))
      fs.writeFileSync(`${folder}/file`, content)
      for (const expected of [undefined, length, length + 1, 2 * length + 5, length - 1, length >> 1]) {
        if (expected !== undefined && expected < 0) continue
        for (const reader of [disk, pooled]) {
          const read = (await reader.read(`${folder}/file`, expected))!
          expect(read.equals(content), `${length} bytes, ${expected} expected`).toBe(true)
        }
      }
    }
    expect(await disk.read(`${folder}/none`, 5)).toBeUndefined()
  })

  it('holds no memory for what a short file might have been', async () => {
    fs.writeFileSync(`${folder}/short`, Buffer.alloc(100_000, 1))
    const pool = new BufferPools(1 << 20, 4)
    const lent = pool.take(900_000)
    pool.give(lent)
    const read = (await new NodeDisk(pool).read(`${folder}/short`, 900_000))!
    expect(read.buffer.byteLength).toBe(100_000)
    expect(pool.take(900_000).buffer).toBe(lent.buffer)
  })

  it('leaves no file open', async () => {
    if (!fs.existsSync('/proc/self/fd')) return
    const open = () =>
      fs.readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder)
        } catch {
          return false
        }
      })
    await disk.writeDurable(`${folder}/a/file`, [Buffer.from('x')], { fsync: true })
    await disk.writeDurable(`${folder}/b/file`, [Buffer.from('x')], { fsync: false })
    await disk.read(`${folder}/a/file`, 1)
    await disk.read(`${folder}/a/file`)
    await disk.readRange(`${folder}/a/file`, 0, 1)
    await disk.syncFolder(`${folder}/a`)
    expect(open()).toEqual([])
  })

  it('makes missing folders also without fsync', async () => {
    await disk.writeDurable(`${folder}/x/y/file`, [Buffer.from('1')], { fsync: false })
    expect(fs.readFileSync(`${folder}/x/y/file`, 'utf8')).toBe('1')
  })

  it('keeps one whole content when many write the same file and folder at once', async () => {
    const contents = Array.from({ length: 40 }, (_, i) => Buffer.alloc(10_000, i))
    await Promise.all(
      contents.map((content, i) =>
        disk.writeDurable(`${folder}/same/${i % 4}`, [content.subarray(0, 16), content.subarray(16)], {
          fsync: true,
        }),
      ),
    )
    expect(fs.readdirSync(`${folder}/same`).sort()).toEqual(['0', '1', '2', '3'])
    for (let i = 0; i < 4; i++) {
      const read = (await disk.read(`${folder}/same/${i}`))!
      expect(read.length).toBe(10_000)
      expect(read.every((byte) => byte === read[0])).toBe(true)
    }
  })

  it('says of absent files and folders that they are absent', async () => {
    const absent = `${folder}/no/such`
    expect(await disk.read(absent)).toBeUndefined()
    expect(await disk.readRange(absent, 0, 1)).toBeUndefined()
    expect(await disk.stat(absent)).toBeUndefined()
    expect(await disk.remove(absent)).toBe(false)
    expect(await disk.rename(absent, `${folder}/to`)).toBe(false)
    expect(await disk.list(absent)).toEqual([])
    await disk.syncFolder(absent)
    expect((await disk.space(absent)).totalBytes).toBeGreaterThan(0)
  })

  it('removes the temporary file when the rename fails, and throws what happened', async () => {
    fs.mkdirSync(`${folder}/target/inside`, { recursive: true })
    await expect(disk.writeDurable(`${folder}/target`, [Buffer.from('x')], { fsync: true })).rejects.toThrow()
    expect(fs.readdirSync(folder)).toEqual(['target'])
  })

  it('lists sorted, and tells folders from files', async () => {
    fs.mkdirSync(`${folder}/b`)
    fs.writeFileSync(`${folder}/c`, 'xyz')
    fs.writeFileSync(`${folder}/a`, '')
    expect(await disk.list(folder)).toEqual([
      { name: 'a', isFolder: false },
      { name: 'b', isFolder: true },
      { name: 'c', isFolder: false },
    ])
    expect((await disk.stat(`${folder}/c`))!.size).toBe(3)
    expect(await disk.rename(`${folder}/c`, `${folder}/a`)).toBe(true)
    expect(await disk.remove(`${folder}/a`)).toBe(true)
    expect(fs.readdirSync(folder)).toEqual(['b'])
  })

  it('translates a full device to StorageFull', async () => {
    if (!fs.existsSync('/dev/full')) return
    // A link from the temporary name to /dev/full makes the write itself fail.
    fs.symlinkSync('/dev/full', `${folder}/f.${process.pid}-0.tmp`)
    await expect(
      disk.writeDurable(`${folder}/f`, [Buffer.from('x')], { fsync: false }),
    ).rejects.toMatchObject({
      code: 'StorageFull',
    })
    expect(fs.readdirSync(folder)).toEqual([])
  })
})
