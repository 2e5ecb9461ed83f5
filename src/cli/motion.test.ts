import { expect, it } from 'vitest'
import { cli, NODE_A, NODE_B, nodeStatus } from '../../testing/cli-fakes.js'
import type { ClusterProgress, NodeProgress } from '../api/admin/types.js'

const IDLE: NodeProgress = {
  blocksToFetch: 0,
  blocksFailed: 0,
  partitionsToCompare: 0,
  partitionsToHandOver: 0,
  copiesJoining: 0,
  writesToSend: 0,
  blocksFetched: 0,
  bytesFetched: 0,
  blocksPerSec: null,
  bytesPerSec: null,
  secondsLeft: 0,
  repairs: [],
}
const DONE: ClusterProgress = {
  done: true,
  secondsLeft: 0,
  layout: { oldestVersion: 3, newestVersion: 3, behind: [] },
  total: { ...IDLE, blocksPerSec: 0, bytesPerSec: 0 },
  safeToStop: [],
  nodes: { [NODE_A]: IDLE, [NODE_B]: IDLE },
  unknown: {},
}
const LAYOUT = { version: 3, roles: [], stagedRoleChanges: [], stagedParameters: null }

const run = (words: string, progress: unknown) =>
  cli(words.split(' '), {
    env: { CARPORT_CONFIG_FILE: '/etc/carport.toml' },
    answers: {
      status: { layoutVersion: 3, nodes: [nodeStatus(NODE_A), nodeStatus(NODE_B)] },
      'layout.get': LAYOUT,
      'worker.list': { success: { [NODE_A]: [] }, error: {} },
      'cluster.progress': progress,
    },
  })

it.each(['status', 'worker list'])('%s shows nothing in motion when all is done', async (words) => {
  const { out, status } = await run(words, DONE)
  expect(status).toBe(0)
  expect(out).not.toContain('MOTION')
})

it.each(['status', 'worker list'])(
  '%s shows the work of all nodes, the rate, and the time left',
  async (words) => {
    const working = { ...IDLE, blocksToFetch: 40, blocksFetched: 160, bytesFetched: 160e6, secondsLeft: 120 }
    const repairs = [{ name: 'rebalance', checked: 10, changed: 3, share: 0.25, secondsLeft: 60 }]
    const { out } = await run(words, {
      ...DONE,
      done: false,
      secondsLeft: 120,
      layout: { oldestVersion: 2, newestVersion: 3, behind: [NODE_B] },
      total: { ...working, partitionsToCompare: 12, blocksPerSec: 20, bytesPerSec: 20e6 },
      nodes: { [NODE_A]: { ...IDLE, repairs }, [NODE_B]: { ...working, partitionsToCompare: 12 } },
    })
    expect(out).toContain(`==== DATA IN MOTION ====
Layout:                 version 2 counts until 3 is complete
Blocks to fetch:        40, 160 fetched (160.0 MB), 20.0/s (20.0 MB/s)
Partitions to compare:  12
Time left:              about 2 minutes
aa11000000000000 runs the repair rebalance: 25.0 %, 3 changed, about 1 minute left
The change of the layout waits for aa22000000000000.`)
    if (words === 'status') expect(out).toMatch(/^aa11.* ok .*\n^aa22.* 52 to do /m)
  },
)

it('status tells which node may be stopped, and what is not known', async () => {
  const stop = await run('status', { ...DONE, safeToStop: [NODE_B] })
  expect(stop.out).toContain('may be stopped for good: aa22000000000000')
  const away = await run('status', {
    ...DONE,
    done: false,
    secondsLeft: null,
    unknown: { [NODE_B]: 'no answer' },
  })
  expect(away.out).toMatch(/Time left: +not known yet\naa22000000000000 does not answer.*: no answer/)
})

it('status of a node that does not know the question shows what it knows', async () => {
  const { out, status } = await run('status', () => {
    throw new Error('unknown operation')
  })
  expect(status).toBe(0)
  expect(out).toContain('==== HEALTHY NODES ====')
})
