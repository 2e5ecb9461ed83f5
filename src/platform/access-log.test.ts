import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { RequestRecord } from '../api/http/front.js'
import { silentLog } from '../util/log.js'
import { openAccessLog } from './access-log.js'
import { realClock } from './clock-and-random.js'

const FULL = '/dev/full'
const record = { requestId: '1', method: 'GET', status: 200, durationMs: 1 } as unknown as RequestRecord

/** An access log on a disk that is full. */
async function openFull() {
  const dir = mkdtempSync(join(tmpdir(), 'carport-access-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'access.log')
  symlinkSync(FULL, file)
  const error = vi.fn<(fields: object, message: string) => void>()
  const info = vi.fn<(fields: object, message: string) => void>()
  const log = await openAccessLog({ requests: 'all', file }, { ...silentLog, error, info }, realClock)
  const write = (lines: number) => {
    for (let i = 0; i < lines; i++) log.of('s3').onRequest!(record)
  }
  return { file, log, error, info, write }
}

// /dev/full is a device of Linux whose writes fail for want of room.
it.skipIf(!existsSync(FULL))('a full disk is told once, and so is that it takes lines again', async () => {
  const { file, log, error, info, write } = await openFull()
  write(1)
  await vi.waitFor(() => expect(error).toHaveBeenCalled(), { timeout: 5000 })
  // As many bytes as are not left to the periodic flush: each line more is a try to write.
  for (let i = 0; i < 100; i++) {
    write(1)
    await new Promise(setImmediate)
  }
  expect(error).toHaveBeenCalledTimes(1)
  expect(info).not.toHaveBeenCalled()
  rmSync(file)
  log.reopen()
  await vi.waitFor(() => expect(info).toHaveBeenCalledTimes(1), { timeout: 5000 })
  await log.close()
  expect(readFileSync(file, 'utf8').split('\n').length).toBeGreaterThan(100)
  expect(error).toHaveBeenCalledTimes(1)
})

it.skipIf(!existsSync(FULL))('the close gives up lines that the disk does not take', async () => {
  const { log, error, write } = await openFull()
  write(1)
  await log.close()
  expect(error).toHaveBeenCalledTimes(1)
})

it('a reopening is nothing to a log on stderr', async () => {
  const log = await openAccessLog({ requests: 'errors', file: null }, silentLog, realClock)
  log.reopen()
  await log.close()
})
