import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { refuseGarageFolders } from './garage-folder.js'

test.each([
  ['meta', 'db.lmdb'],
  ['meta', 'node_key'],
  ['meta', 'garage-marker'],
  ['data', 'garage-marker'],
])("a %s folder with Garage's %s is refused with one sentence that says what to do", (kind, mark) => {
  const dir = mkdtempSync(join(tmpdir(), 'carport-garage-'))
  try {
    const [meta, data] = [join(dir, 'meta'), join(dir, 'data')]
    for (const folder of [meta, data]) mkdirSync(folder)
    // What a node of Carport makes is none of these.
    for (const own of ['node_key.pem', 'node_cert.pem', 'db']) writeFileSync(join(meta, own), '')
    expect(() => refuseGarageFolders(meta, [data])).not.toThrow()
    writeFileSync(join(dir, kind, mark), '')
    expect(() => refuseGarageFolders(meta, [data])).toThrow(/holds Garage's data .*"carport migrate"/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
