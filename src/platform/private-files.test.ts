import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Log } from '../util/log.js'
import { mendFolder } from './private-files.js'

let dir: string
let lines: unknown[][]
const note = (...line: unknown[]) => lines.push(line)
const log = { debug: note, info: note, warn: note, error: note } as unknown as Log

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'carport-private-'))
  lines = []
})

afterEach(() => rmSync(dir, { recursive: true, force: true }))

const modeOf = (path: string) => statSync(join(dir, path)).mode & 0o777

function make(path: string, mode: number): void {
  if (path.endsWith('/')) mkdirSync(join(dir, path))
  else writeFileSync(join(dir, path), '')
  chmodSync(join(dir, path), mode)
}

test('blocks in a folder below are not looked at, only their folder', () => {
  make('meta/', 0o755)
  make('meta/data/', 0o755)
  make('meta/data/block', 0o644)
  make('meta/key.pem', 0o640)
  mendFolder(join(dir, 'meta'), { content: true, except: [join(dir, 'meta/data/')], log })
  expect(['meta', 'meta/data', 'meta/key.pem', 'meta/data/block'].map(modeOf)).toEqual([
    0o700, 0o700, 0o600, 0o644,
  ])
  expect(lines).toEqual([
    [{ folder: join(dir, 'meta'), before: '0755', entries: 2 }, expect.stringContaining('0700 now')],
  ])
})

test('a folder by a link is mended once', () => {
  make('real/', 0o750)
  symlinkSync(join(dir, 'real'), join(dir, 'link'))
  const mend = () => mendFolder(join(dir, 'link'), { content: true, log })
  mend()
  expect(modeOf('real')).toBe(0o700)
  expect(lines).toHaveLength(1)
  mend()
  expect(lines).toHaveLength(1)
})

test('folders that everybody shares, and those that are not there, are left alone', () => {
  make('shared/', 0o1777)
  mendFolder(join(dir, 'shared'), { content: true, log })
  expect(modeOf('shared')).toBe(0o777)
  expect(lines).toEqual([[{ folder: join(dir, 'shared') }, expect.stringContaining('one of its own')]])
  mendFolder(join(dir, 'absent'), { content: true, log })
  expect(lines).toHaveLength(1)
})
