import fsp, { type FileHandle, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FolderStore } from '../migrate/folder-store.js'
import { migrationWorld } from './migration-world.js'

const { folders } = migrationWorld()
let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'carport-migration-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

it('entries that cannot be read are told, and the others listed', async () => {
  const bytes = (name: string) => Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name, 'latin1')])
  await mkdir(join(dir, 'bucket/folder'), { recursive: true })
  await writeFile(join(dir, 'bucket/folder/ünïcode'), 'x')
  await symlink(join(dir, 'bucket/folder/ünïcode'), join(dir, 'bucket/link'))
  await symlink(join(dir, 'nowhere'), join(dir, 'bucket/dangling'))
  await symlink('loop', join(dir, 'bucket/loop'))
  await mkdir(bytes('bucket/\xff'))
  await writeFile(bytes('bucket/\xff/below'), 'x')
  const problems: string[] = []
  const store = new FolderStore(dir, folders, (path, problem) => void problems.push(`${path}: ${problem}`))
  const keys: string[] = []
  for await (const { key } of store.list('bucket')) keys.push(key)
  expect(keys).toEqual(['folder/ünïcode', 'link'])
  expect(problems.sort()).toEqual([
    'bucket/dangling: it is a link that leads nowhere',
    'bucket/loop: it is a link that leads nowhere',
    'bucket/\ufffd: its name is not UTF-8 (bytes ff)',
  ])
  expect(await store.buckets()).toEqual(['bucket'])
})

it('new folders are synced with all that are above them, those of a run before as well', async () => {
  await mkdir(join(dir, 'made'))
  const synced: string[] = []
  const handle = await fsp.open(dir, 'r')
  const handles = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  const { sync } = handles
  handles.sync = async function (this: FileHandle) {
    synced.push(await fsp.readlink(`/proc/self/fd/${this.fd}`).catch(() => ''))
    return sync.call(this)
  }
  try {
    async function* content() {
      yield Buffer.from('x')
    }
    await folders.write(join(dir, 'made/a/b/file'), content(), 0)
  } finally {
    handles.sync = sync
  }
  expect(await readFile(join(dir, 'made/a/b/file'), 'utf8')).toBe('x')
  if (process.platform !== 'linux') return
  for (const folder of ['', 'made', 'made/a', 'made/a/b'])
    expect(synced).toContain(join(dir, folder).replace(/\/$/, ''))
})
