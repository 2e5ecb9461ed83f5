/** A log that cannot be written is no reason for a node to end: it serves, and tells nobody. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PROGRAM, singleNodeEnv } from './support/processes.js'

/** Starts a node of one, and resolves when it has said on stdout that it is ready. */
async function start(dir: string, stderr: 'pipe' | number): Promise<{ node: ChildProcess; url: string }> {
  const { env, ports } = await singleNodeEnv()
  const [command, ...first] = PROGRAM
  const args = [...first, 'server', '--single-node', '--default-bucket']
  const node = spawn(command, args, { cwd: dir, env, stdio: ['ignore', 'pipe', stderr] })
  await new Promise<void>((resolve, reject) => {
    node.once('exit', (code) => reject(new Error(`the node ended (${code})`)))
    node.stdout!.once('data', () => resolve())
  })
  return { node, url: `http://127.0.0.1:${ports.s3}/default-bucket` }
}

test.each(['a reader that went away', 'a full disk'])('%s', async (what) => {
  const isFull = what === 'a full disk'
  if (isFull && !existsSync('/dev/full')) return
  const dir = mkdtempSync(join(tmpdir(), 'carport-log-'))
  const full = isFull ? openSync('/dev/full', 'w') : undefined
  const { node, url } = await start(dir, full ?? 'pipe')
  try {
    node.stderr?.destroy()
    expect((await fetch(url)).status).toBe(403)
    // The stop leaves a line.
    node.kill('SIGTERM')
    const [code] = await once(node, 'exit')
    expect(code).toBe(0)
  } finally {
    node.kill('SIGKILL')
    if (full !== undefined) closeSync(full)
    rmSync(dir, { recursive: true, force: true })
  }
})
