import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { lockFolder } from './folder-lock.js'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'carport-lock-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const HELD = expect.objectContaining({
  code: 'Conflict',
  message: expect.stringContaining(`process ${process.pid} on ${hostname()}`),
})

it('keeps a second one out and says who holds it, until it is released', async () => {
  const lock = await lockFolder(dir)
  await expect(lockFolder(dir)).rejects.toEqual(HELD)
  symlinkSync(dir, `${dir}-link`)
  await expect(lockFolder(`${dir}-link`)).rejects.toEqual(HELD)
  rmSync(`${dir}-link`)
  await lock.release()
  expect(existsSync(join(dir, 'carport.lock'))).toBe(false)
  await (await lockFolder(dir)).release()
})

it('lets exactly one of many have it that come at once', async () => {
  for (const folder of [dir, join(dir, 'x'.repeat(120))]) {
    mkdirSync(folder, { recursive: true })
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)))
    const locks = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(locks.length).toBe(1)
    await locks[0]!.release()
  }
})

it('ends with its holder, even one that was killed; then one of many that come has it', async () => {
  const path = join(dir, 'carport.lock')
  const child = spawn(
    process.execPath,
    [
      '-e',
      `require('net').createServer(s => s.end('{"pid":1}')).listen(${JSON.stringify(path)}, () => console.log('held'))`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(child.stdout, 'data')
  await expect(lockFolder(dir)).rejects.toThrow('in use by another node: process 1 on')
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(existsSync(path)).toBe(true)
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(dir)))
  const locks = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  expect(locks.length).toBe(1)
  await expect(lockFolder(dir)).rejects.toEqual(HELD)
  await locks[0]!.release()
})
