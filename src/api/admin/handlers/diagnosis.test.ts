import { afterAll, beforeAll, expect, it } from 'vitest'
import { AdminCluster } from '../../../../testing/admin-nodes.js'

// Three nodes without HTTP, which are asked like the command line asks them.

const cluster = new AdminCluster(3)
const ids = () => cluster.nodes.map(({ id }) => id).sort()

beforeAll(async () => {
  await cluster.start()
  await cluster.layOut()
  await cluster.clock.advance(30_000)
})
afterAll(() => cluster.stop())

it('a healthy cluster is asked as a whole and found healthy', async () => {
  const { findings, ...rest } = await cluster.call('cluster.diagnose', {})
  expect(findings.filter(({ severity }) => severity !== 'info')).toEqual([])
  expect(rest).toMatchObject({ nodesAsked: 3, nodesAnswered: 3 })
})

it('each node says whom it sees, what it does and how long its queues are', async () => {
  const { success, error } = await cluster.call('node.diagnose', { node: '*' })
  expect(error).toEqual({})
  expect(Object.keys(success).sort()).toEqual(ids())
  const own = success[cluster.nodes[0]!.id]!
  const others = ids().filter((id) => id !== cluster.nodes[0]!.id)
  expect(own.peers.map(({ id }) => id).sort()).toEqual(others)
  expect(own.peers.every(({ isUp }) => isUp)).toBe(true)
  expect(own.workers.map(({ name }) => name)).toContain('Block scrub')
  expect(own.queues.map(({ name }) => name)).toContain('missedWrites')
})

it('figures are told by every node, also by one that does not measure requests', async () => {
  const { success } = await cluster.call('node.figures', { node: '*' })
  expect(Object.keys(success).sort()).toEqual(ids())
  for (const figures of Object.values(success)) {
    expect(figures).toMatchObject({ process: null, syncQueueLength: expect.any(Number) })
  }
})

it('a node that goes down is found by the others', async () => {
  const gone = cluster.nodes[2]!
  await cluster.run(gone.core.stop())
  cluster.net.kill(gone.id)
  await cluster.clock.advance(60_000)
  const { findings, nodesAnswered } = await cluster.call('cluster.diagnose', {})
  expect(nodesAnswered).toBe(2)
  expect(findings[0]).toMatchObject({ check: 'node-unreachable', node: gone.id, severity: 'error' })
})
