import { describe, expect, it } from 'vitest'
import { toAnsweredError } from '../src/api/k2v/errors.js'
import type { NodeStatus } from '../src/cluster/node-status.js'
import { SimCluster, type SimNode } from './sim-cluster.js'
import { THREE_NODES } from './sim-histories.js'

/** A cluster that is upgraded node by node from a release without K2V. */
describe('a cluster of which a node does not know K2V yet', { timeout: 300_000 }, () => {
  it('refuses K2V with 503 everywhere, serves all else, and keeps what is written once all know it', async () => {
    const cluster = new SimCluster({
      ...THREE_NODES,
      seed: 5,
      path: { latencyMs: 5, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
      tables: { tombstoneDelayMs: 60_000, syncIntervalMs: 30_000, syncSoonMs: 2000 },
      graces: { unreferencedMs: 600_000, unclaimedMs: 3_600_000 },
    })
    await cluster.clock.runUntil(
      (async () => {
        await cluster.start()
        await upgrade(cluster)
      })(),
      24 * 3600_000,
    )
  })
})

async function upgrade(cluster: SimCluster): Promise<void> {
  const [newNode, , oldNode] = cluster.nodes as [SimNode, SimNode, SimNode]
  const becomeNew = makeOld(oldNode)
  await cluster.clock.sleep(60_000)
  const { model } = newNode.core!
  let refusal: unknown
  try {
    model.k2v.checkKnown()
  } catch (error) {
    refusal = error
  }
  expect(toAnsweredError(refusal)).toMatchObject({
    status: 503,
    code: 'ServiceUnavailable',
    message: expect.stringContaining('upgrade'),
    headers: { 'Retry-After': expect.anything() },
  })
  // Buckets come and go, and nothing piles up that the old node does not take.
  const kept = await model.buckets.create('items')
  const gone = await model.buckets.create('gone')
  expect(await model.k2v.isEmpty(gone.id)).toBe(true)
  await cluster.clock.sleep(10 * 60_000)
  for (const { core } of cluster.nodes) expect(core!.cluster.peering.connected()).toHaveLength(2)

  becomeNew()
  await cluster.clock.sleep(60_000)
  for (const { core } of cluster.nodes) core!.model.k2v.checkKnown()
  const key = { partitionKey: Buffer.from('p'), sortKey: Buffer.from('s') }
  await model.k2v.write(kept.id, [{ ...key, context: undefined, content: Buffer.from('value') }])
  for (const node of cluster.nodes) {
    expect((await node.core!.model.k2v.read(kept.id, key))?.entries).toHaveLength(1)
  }
  await cluster.clock.sleep(120_000)
  const partition = kept.id[0]!
  const roots = cluster.nodes.map(({ core, machine }) => {
    return core!.model.k2v.items.local.root(machine.platform!.db, partition)?.toString('hex')
  })
  expect(new Set(roots).size).toBe(1)
  expect(roots[0]).toBeDefined()
}

/** Makes a node answer as one of a release without K2V does. Returns what makes it a new one again. */
function makeOld({ core, machine }: SimNode): () => void {
  const { cluster } = core!
  const { transport } = machine.platform!
  const told = cluster.ownStatus.bind(cluster)
  cluster.ownStatus = (): NodeStatus => {
    const { k2v: _, ...status } = told()
    return status
  }
  transport.isUnknown = (method) => method.includes('k2v')
  return () => {
    cluster.ownStatus = told
    transport.isUnknown = undefined
  }
}
