import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { exported } from './kit/page.js'
import { fromDeb, installed } from './kit/programs.js'
import { digests, fillFolder, must, scratch, untilSaid } from './kit/run.js'
import { application, type Home } from './kit/store.js'

const restic = await installed(async () => process.env.RESTIC ?? (await fromDeb('restic')))

application('restic', restic, ({ tools: program, nodes, store }) => {
  /** A repository in a bucket whose key may read and write, and no more. */
  async function repository(): Promise<{ home: Home; env: NodeJS.ProcessEnv; folder: string }> {
    const home = await store().home('restic')
    const folder = scratch()
    mkdirSync(join(folder, 'files'))
    const env = {
      ...exported('restic.md', home),
      RESTIC_CACHE_DIR: join(folder, 'cache'),
    }
    await must(program, ['init'], { env })
    return { home, env, folder }
  }

  async function restored(
    env: NodeJS.ProcessEnv,
    folder: string,
    ...options: string[]
  ): Promise<Record<string, string>> {
    const target = join(folder, `restored-${Date.now()}`)
    await must(program, ['restore', 'latest', '--target', target, ...options], { env })
    return digests(join(target, folder, 'files'))
  }

  test('backs up, checks, restores, forgets and prunes', async () => {
    const { home, env, folder } = await repository()
    const files = join(folder, 'files')
    fillFolder(files)
    await must(program, ['backup', files], { env })
    fillFolder(files, { small: 3, largeBytes: 6 * 1024 * 1024 })
    await must(program, ['backup', files], { env })
    await must(program, ['check', '--read-data'], { env })
    expect(await restored(env, folder)).toEqual(digests(files))
    await must(program, ['forget', '--keep-last', '1', '--prune'], { env })
    await must(program, ['check', '--read-data'], { env })
    expect(JSON.parse(await must(program, ['snapshots', '--json'], { env }))).toHaveLength(1)
    expect(await restored(env, folder)).toEqual(digests(files))
    const reader = await store().keyFor(home.bucket, { read: true, write: false, owner: false })
    const readOnly = { ...env, ...exported('restic.md', reader) }
    expect(await restored(readOnly, folder, '--no-lock')).toEqual(digests(files))
  })

  test('a full quota fails the backup, and harms nothing', async () => {
    const { home, env, folder } = await repository()
    const files = join(folder, 'files')
    fillFolder(files, { small: 10, largeBytes: 1024 * 1024 })
    await must(program, ['backup', files], { env })
    const before = digests(files)
    await store().setQuota(home, 3 * 1024 * 1024)
    fillFolder(files, { small: 0, largeBytes: 40 * 1024 * 1024 })
    // It tries for 15 minutes.
    await untilSaid(program, ['backup', files], { env }, /may hold 3145728 bytes at most/)
    await must(program, ['unlock', '--remove-all'], { env })
    expect(await restored(env, folder)).toEqual(before)
    await store().setQuota(home, null)
    await must(program, ['backup', files], { env })
    await must(program, ['check', '--read-data'], { env })
    expect(await restored(env, folder)).toEqual(digests(files))
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const { env, folder } = await repository()
    const files = join(folder, 'files')
    fillFolder(files)
    await must(program, ['backup', files], { env })
    await store().loseNode()
    fillFolder(files, { small: 20, largeBytes: 10 * 1024 * 1024 })
    await must(program, ['backup', files], { env })
    expect(await restored(env, folder)).toEqual(digests(files))
    await store().restoreNode()
    await must(program, ['check', '--read-data'], { env })
  })
})
