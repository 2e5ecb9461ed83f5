import { expect, it } from 'vitest'
import { AdminCluster } from '../../../../testing/admin-nodes.js'

const CUT_OFF = /is linked to none of them.*--force/

/** Starts the second of two nodes, which has the first in its bootstrap_peers; it gives itself a role. */
async function alone(): Promise<AdminCluster> {
  const cluster = new AdminCluster(2, 1)
  const [, newcomer] = cluster.nodes
  await cluster.run(newcomer!.core.start())
  await newcomer!.admin.load()
  await stage(cluster)
  return cluster
}

async function stage(cluster: AdminCluster): Promise<void> {
  const role = { id: cluster.nodes[1]!.id, zone: 'z', tags: [], capacity: 1e12 }
  await cluster.call('layout.stage', { roles: [role] }, 1)
}

it('a newcomer that has not found its cluster yet makes no layout of its own, but by force', async () => {
  const cluster = await alone()
  const refused = cluster.call('layout.apply', { version: 1 }, 1)
  await expect(refused).rejects.toMatchObject({ code: 'Conflict', message: expect.stringMatching(CUT_OFF) })
  expect(cluster.nodes[1]!.core.cluster.layout.layoutVersion).toBe(0)
  const { layout } = await cluster.call('layout.apply', { version: 1, force: true }, 1)
  expect(layout.version).toBe(1)
  // From the second on, they follow one another.
  await stage(cluster)
  expect((await cluster.call('layout.apply', { version: 2 }, 1)).layout.version).toBe(2)
})

it('a newcomer that was linked to its cluster before, but is not now, makes none either', async () => {
  const cluster = new AdminCluster(2, 1)
  await cluster.start()
  cluster.net.kill(cluster.nodes[0]!.id)
  const { peering } = cluster.nodes[1]!.core.cluster
  await cluster.clock.until(() => peering.connected().length === 0, 60_000)
  await stage(cluster)
  await expect(cluster.call('layout.apply', { version: 1 }, 1)).rejects.toThrow(CUT_OFF)
})

it('nodes that are linked make one, and so does a node that knows no other', async () => {
  const linked = new AdminCluster(2, 1)
  await linked.start()
  await linked.layOut()
  const single = new AdminCluster(1)
  await single.start()
  await single.layOut()
  expect(single.nodes[0]!.core.cluster.layout.layoutVersion).toBe(1)
})
