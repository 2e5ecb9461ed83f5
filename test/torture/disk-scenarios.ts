import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { LifeNode } from '../life/kit/life-node.js'
import { Disks } from './disks.js'
import { again, oneByOne, rest, type Scenario, whileKilled } from './scenario.js'
import type { Torture } from './torture.js'

export const DISK_SCENARIOS: readonly Scenario[] = [
  {
    name: 'power',
    what: 'the power of a node, or of all, goes: what was not synced is lost',
    hasDisks: true,
    missing: Disks.missing,
    run: again(
      (torture) => (torture.random.float() < 0.5 ? torture.nodes : [torture.draw()]),
      async (torture, nodes) => {
        for (const node of nodes) process.kill(node.process.pid, 'SIGSTOP')
        for (const { name } of nodes) torture.disks.takeImage(name)
        await whileKilled(torture, nodes, () => {
          for (const { name } of nodes) torture.disks.restoreImage(name)
        })
      },
      2,
    ),
  },
  {
    name: 'full',
    what: 'the disk of a node is full for some seconds',
    hasDisks: true,
    missing: Disks.missing,
    run: oneByOne(async (torture, node) => {
      const { bavail, bsize } = statfsSync(node.dir)
      try {
        writeFileSync(node.folder('filler'), Buffer.alloc(bavail * bsize))
      } catch {
        // As much as there was room for.
      }
      await rest(3 + torture.random.float() * 5)
      rmSync(node.folder('filler'))
    }, 2),
  },
  {
    name: 'slow',
    what: 'each sync of a node takes 100 ms longer (strace)',
    missing: () => (spawnSync('strace', ['-V']).status === 0 ? undefined : 'strace is not installed'),
    run: oneByOne(async (_torture, node, seconds) => {
      const slowed = slowDown(node)
      await rest(Math.min(10, seconds))
      await end(slowed)
    }, 2),
  },
  {
    name: 'rot',
    what: 'bits of block files and of a database change while the node is down',
    async run(torture, seconds) {
      await rotOfBlocks(torture, seconds)
      const node = torture.draw()
      await torture.harm([node], async () => {
        await node.stop('SIGKILL')
        rotDatabase(torture, node)
        // A damage that the start finds is mended by the command that it names; others are found by the rows' seals.
        await torture.cluster.start(node).catch(async () => {
          await torture.cluster.cli(node, 'meta', 'restore', '--from-replicas', '--yes')
          await torture.cluster.start(node)
        })
      })
      await torture.cluster.settled()
    },
  },
]

function slowDown(node: LifeNode): ChildProcess {
  const delay = 'inject=fdatasync,fsync,msync:delay_enter=100000'
  const args = ['-f', '-qq', '-e', 'trace=fdatasync,fsync,msync', '-e', delay]
  return spawn('strace', [...args, '-o', '/dev/null', '-p', String(node.process.pid)], { stdio: 'ignore' })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) throw new Error('strace may not look at other processes here')
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

const rotOfBlocks = oneByOne(
  (torture, node) => whileKilled(torture, [node], () => rotBlocks(torture, node)),
  2,
)

/** Changes a byte in a third of a node's block files. */
function rotBlocks(torture: Torture, node: LifeNode): void {
  const folder = node.folder('data')
  for (const name of (readdirSync(folder, { recursive: true }) as string[]).sort()) {
    if (/[0-9a-f]{64}/.test(name) && torture.random.float() < 0.33) flip(torture, join(folder, name))
  }
}

/** Changes some bytes of a database, anywhere. */
function rotDatabase(torture: Torture, node: LifeNode): void {
  for (let i = 0; i < 20; i++) flip(torture, node.folder('meta/db/data.mdb'))
}

function flip(torture: Torture, path: string): void {
  const at = Math.floor(torture.random.float() * statSync(path).size)
  const file = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, at)
  byte[0]! ^= 1 << Math.floor(torture.random.float() * 8)
  writeSync(file, byte, 0, 1, at)
  closeSync(file)
}
