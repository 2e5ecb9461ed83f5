/**
 * Longhorn's backups, by its library backupstore. The Go module proxy does not have it: `LONGHORN_BACKUPSTORE` names a
 * folder with its source, which brings what it needs.
 */

import { randomBytes } from 'node:crypto'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { expect, test } from 'vitest'
import { exported } from './kit/page.js'
import { installed } from './kit/programs.js'
import { must, scratch } from './kit/run.js'
import { application, type Home } from './kit/store.js'

const MIB = 1024 * 1024

const longhorn = await installed(async () => {
  const source = process.env.LONGHORN_BACKUPSTORE
  if (!source) throw new Error('LONGHORN_BACKUPSTORE does not name its source')
  const folder = mkdtempSync(join(tmpdir(), 'carport-longhorn-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  cpSync(source, folder, { recursive: true })
  mkdirSync(join(folder, 'carport'))
  copyFileSync(join(import.meta.dirname, 'go/longhorn.go'), join(folder, 'carport/main.go'))
  const program = join(folder, 'longhorn')
  await must('go', ['-C', folder, 'build', '-mod=vendor', '-buildvcs=false', '-o', program, './carport'])
  return program
})

application('Longhorn', longhorn, ({ tools: program, nodes, store }) => {
  async function volume() {
    const home = await store().home('longhorn')
    const folder = scratch()
    const env = exported('longhorn.md', home)
    const target = env.BACKUP_TARGET!
    const run = async (...args: string[]) => (await must(program, args, { env })).trim().split('\n').at(-1)!
    const snapshot = (name: string, body: Buffer) => {
      const path = join(folder, name)
      writeFileSync(path, body)
      return path
    }
    let restores = 0
    const restored = async (backup: string) => {
      const path = join(folder, `restored-${restores++}`)
      expect(await run('restore', backup, path)).toBe('restored')
      return readFileSync(path)
    }
    return { home, target, run, snapshot, restored }
  }

  const keys = async ({ s3, bucket }: Home) =>
    ((await s3.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(({ Key }) => Key!)

  test('backs up a volume, then what changed, restores both, and deletes', async () => {
    const { home, target, run, snapshot, restored } = await volume()
    const first = randomBytes(16 * MIB)
    const second = Buffer.from(first)
    randomBytes(2 * MIB).copy(second, 6 * MIB)
    const one = await run('backup', target, 'volume', snapshot('one', first))
    const blocks = async () => (await keys(home)).filter((key) => key.endsWith('.blk')).length
    expect(await blocks()).toBe(8)
    const two = await run('backup', target, 'volume', snapshot('two', second))
    expect(await blocks()).toBe(9)
    expect((await restored(one)).equals(first)).toBe(true)
    expect((await restored(two)).equals(second)).toBe(true)
    expect(await run('delete', one)).toBe('deleted')
    expect(await blocks()).toBe(8)
    expect((await restored(two)).equals(second)).toBe(true)
    expect((await keys(home)).filter((key) => key.includes('/locks/'))).toEqual([])
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const { target, run, snapshot, restored } = await volume()
    await store().loseNode()
    const body = randomBytes(8 * MIB)
    const backup = await run('backup', target, 'volume', snapshot('one', body))
    expect((await restored(backup)).equals(body)).toBe(true)
    await store().restoreNode()
  })
})
