import { createHash } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createIdentity } from '../net/identity.js'
import { createOnce } from '../platform/create-once.js'
import type { Random } from '../util/random.js'
import { loadOrCreateNodeIdentity, readNodeIdentity } from './node-key.js'

/** Different bytes at each call, the same in each run. */
function seeded(seed: string): Random {
  let count = 0
  const bytes = (length: number) =>
    createHash('shake256', { outputLength: length }).update(`${seed}${count++}`).digest()
  return { bytes, float: () => 0.5 }
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carport-key-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

describe('the node key', () => {
  it('is made once, mode 0600, with a certificate, and found again', () => {
    const meta = join(folder, 'a', 'meta')
    expect(readNodeIdentity(meta)).toBeUndefined()
    const made = loadOrCreateNodeIdentity(meta, seeded('x'))
    expect(made.nodeId).toMatch(/^[0-9a-f]{64}$/)
    expect(readdirSync(meta).sort()).toEqual(['node_cert.pem', 'node_key.pem'])
    expect(statSync(join(meta, 'node_key.pem')).mode & 0o777).toBe(0o600)
    expect(statSync(meta).mode & 0o777).toBe(0o700)
    expect(loadOrCreateNodeIdentity(meta, seeded('y'))).toEqual(made)
    expect(readNodeIdentity(meta)).toEqual(made)
  })

  it('keeps its id when the certificate is lost', () => {
    const made = loadOrCreateNodeIdentity(folder, seeded('x'))
    rmSync(join(folder, 'node_cert.pem'))
    expect(loadOrCreateNodeIdentity(folder, seeded('y')).nodeId).toBe(made.nodeId)
  })

  it('of another process that was faster is taken', () => {
    const winner = createIdentity(seeded('winner'))
    let raced = false
    const random = seeded('loser')
    const identity = loadOrCreateNodeIdentity(folder, {
      ...random,
      bytes: (length) => {
        // Between the look and the write.
        if (!raced) writeFileSync(join(folder, 'node_key.pem'), winner.privateKeyPem, { mode: 0o600 })
        raced = true
        return random.bytes(length)
      },
    })
    expect(identity.nodeId).toBe(winner.nodeId)
  })

  it('that is damaged is an error that names the file', () => {
    writeFileSync(join(folder, 'node_key.pem'), 'rubbish')
    expect(() => loadOrCreateNodeIdentity(folder, seeded('x'))).toThrow(
      /node_key.pem holds no usable node key/,
    )
    expect(readFileSync(join(folder, 'node_key.pem'), 'utf8')).toBe('rubbish')
  })

  it('in a folder that cannot be made is an error', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(() => loadOrCreateNodeIdentity(join(folder, 'file', 'meta'), seeded('x'))).toThrow(/ENOTDIR/)
  })
})

describe('a file that is made once', () => {
  it('keeps what it has, and leaves no temporary file', () => {
    const path = join(folder, 'secret')
    createOnce(path, 'first', seeded('x'))
    createOnce(path, 'second', seeded('y'))
    expect(readFileSync(path, 'utf8')).toBe('first')
    expect(readdirSync(folder)).toEqual(['secret'])
  })

  it('is not made on failure, nor is anything left', () => {
    chmodSync(folder, 0o700)
    expect(() => createOnce(join(folder, 'x'.repeat(300)), 'text', seeded('x'))).toThrow(/ENAMETOOLONG/)
    expect(readdirSync(folder)).toEqual([])
  })
})
