/** Kopia, which no registry here has: `KOPIA` names the program, or it is on the path. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pasted } from './kit/page.js'
import { installed, onPath } from './kit/programs.js'
import { attempt, digests, fillFolder, must, scratch } from './kit/run.js'
import { application } from './kit/store.js'

const kopia = await installed(async () => process.env.KOPIA ?? onPath('kopia'))

application('Kopia', kopia, ({ tools: program, store }) => {
  async function repository() {
    const home = await store().home('kopia')
    const folder = scratch()
    const files = join(folder, 'files')
    mkdirSync(files)
    const env = {
      HOME: folder,
      KOPIA_PASSWORD: 'not very secret',
      KOPIA_CONFIG_PATH: join(folder, 'repository.config'),
      KOPIA_CACHE_DIRECTORY: join(folder, 'cache'),
      KOPIA_CHECK_FOR_UPDATES: 'false',
    }
    const create = pasted('kopia.md', 'sh', home).split('\nkopia ')[0]!
    await must('bash', ['-ec', create.replace(/^kopia/, program)], { env })
    const run = (...args: string[]) => must(program, [...args, '--no-progress'], { env })
    const snapshot = () => run('snapshot', 'create', files)
    let restores = 0
    const restored = async () => {
      const list = JSON.parse(await must(program, ['snapshot', 'list', '--json'], { env })) as {
        id: string
      }[]
      const target = join(folder, `restored-${restores++}`)
      await run('snapshot', 'restore', list.at(-1)!.id, target)
      return digests(target)
    }
    return { home, files, env, run, snapshot, restored }
  }

  test('makes snapshots, verifies, restores, and cleans up', async () => {
    const { files, run, snapshot, restored } = await repository()
    fillFolder(files)
    await snapshot()
    fillFolder(files, { small: 5, largeBytes: 30 * 1024 * 1024 })
    await snapshot()
    await run('snapshot', 'verify', '--verify-files-percent', '100')
    expect(await restored()).toEqual(digests(files))
    await run('maintenance', 'run', '--full', '--safety', 'none')
    await run('snapshot', 'verify', '--verify-files-percent', '100')
    expect(await restored()).toEqual(digests(files))
  })

  test('a full quota fails the snapshot, and harms nothing', async () => {
    const { home, files, env, snapshot, restored } = await repository()
    fillFolder(files, { small: 5, largeBytes: 1024 * 1024 })
    await snapshot()
    const before = digests(files)
    await store().setQuota(home, 3 * 1024 * 1024)
    fillFolder(files, { small: 0, largeBytes: 40 * 1024 * 1024 })
    const failed = await attempt('timeout', ['-s', 'KILL', '40', program, 'snapshot', 'create', files], {
      env,
    })
    expect(failed.code).not.toBe(0)
    expect(await restored()).toEqual(before)
    await store().setQuota(home, null)
    await snapshot()
    expect(await restored()).toEqual(digests(files))
  })
})
