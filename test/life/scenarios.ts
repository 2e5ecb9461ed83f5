import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import type { BusyClient } from './kit/busy-client.js'
import { Consul } from './kit/consul.js'
import { type LifeCluster, until } from './kit/life-cluster.js'
import type { LifeNode } from './kit/life-node.js'

export interface Scenario {
  name: string
  /** @param client to be paused where no node answers */
  run(cluster: LifeCluster, client: BusyClient): Promise<void>
}

/** The steps of a cluster's life in the order in which one cluster can go through them: docs/cluster-life.md has each. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'Grow: 3 nodes to 4',
    async run(cluster) {
      const d = await cluster.addNode('d', 'z4')
      await cluster.layOut(cluster.node('a'), { assign: [d] })
      await cluster.settled()
    },
  },
  { name: 'Restart of all nodes, one by one', run: restartOneByOne },
  {
    name: 'Grow: 4 nodes to 6',
    async run(cluster) {
      const [e, f] = await Promise.all([cluster.addNode('e', 'z1'), cluster.addNode('f', 'z2')])
      await cluster.layOut(cluster.node('d'), { assign: [e, f] })
      await cluster.settled()
    },
  },
  {
    name: 'Another data folder, and moving blocks into it',
    async run(cluster) {
      const a = cluster.node('a')
      await a.stop()
      a.settings.dataFolders = [
        { path: 'data', capacity: '5G' },
        { path: 'data2', capacity: '10G' },
      ]
      await cluster.start(a)
      await repair(a, 'rebalance')
      const share = blocksIn(a, 'data2') / (blocksIn(a, 'data') + blocksIn(a, 'data2'))
      expectThat(
        share > 0.5 && share < 0.85,
        `two thirds of the blocks are in the larger folder, not ${share}`,
      )
      await cluster.settled()
    },
  },
  {
    name: 'A data folder that is read only, emptied, and taken away',
    async run(cluster) {
      const a = cluster.node('a')
      await a.stop()
      a.settings.dataFolders = [
        { path: 'data', readOnly: true },
        { path: 'data2', capacity: '10G' },
      ]
      const before = blocksIn(a, 'data')
      await cluster.start(a)
      await cluster.settled()
      expectThat(blocksIn(a, 'data') <= before, 'nothing is written to a folder that is read only')
      await repair(a, 'rebalance')
      expectThat(blocksIn(a, 'data') === 0, `the folder is empty, not with ${blocksIn(a, 'data')} blocks`)
      await a.stop()
      a.settings.dataFolders = [{ path: 'data2' }]
      rmSync(a.folder('data'), { recursive: true })
      await cluster.start(a)
      await cluster.settled()
    },
  },
  {
    name: 'Replace a data disk',
    async run(cluster) {
      const b = cluster.node('b')
      await b.stop('SIGKILL')
      rmSync(b.folder('data'), { recursive: true })
      await cluster.start(b)
      await repair(b, 'blocks')
      await cluster.settled()
      await everyBlockIsThere(b)
    },
  },
  {
    name: 'Replace a metadata disk',
    async run(cluster) {
      const e = cluster.node('e')
      await e.stop('SIGKILL')
      renameSync(e.folder('meta/node_key.pem'), e.folder('node_key.pem'))
      rmSync(e.folder('meta'), { recursive: true })
      // The key comes from a backup.
      e.restoreKey(e.folder('node_key.pem'))
      await cluster.start(e)
      await e.hurry()
      await repair(e, 'blocks')
      await cluster.settled()
      await everyBlockIsThere(e)
    },
  },
  {
    name: 'Replace a node',
    async run(cluster) {
      const c = cluster.node('c')
      await c.stop('SIGKILL')
      cluster.balancer.remove('c')
      const g = await cluster.addNode('g', 'z3')
      const a = cluster.node('a')
      await cluster.layOut(a, { assign: [g], remove: [c] })
      await cluster.skipDeadNodes(a)
      await cluster.settled()
    },
  },
  {
    name: 'Replace a zone',
    async run(cluster) {
      const lost = ['b', 'f'].map((name) => cluster.node(name))
      await Promise.all(lost.map((node) => node.stop('SIGKILL')))
      const [h, i] = await Promise.all([cluster.addNode('h', 'z2'), cluster.addNode('i', 'z2')])
      await cluster.layOut(cluster.node('a'), { assign: [h, i], remove: lost })
      await cluster.skipDeadNodes(cluster.node('a'))
      await cluster.settled()
    },
  },
  {
    name: 'Drain a node: to a gateway, then away',
    async run(cluster) {
      const a = cluster.node('a')
      await cluster.layOut(a, { gateways: [a] })
      await cluster.settled()
      cluster.balancer.drain('a')
      await cluster.layOut(cluster.node('d'), { remove: [a] })
      await cluster.settled()
      await cluster.safeToStop(a)
      await a.stop()
      cluster.balancer.remove('a')
    },
  },
  {
    name: 'Shrink: 5 nodes to 3',
    async run(cluster) {
      const gone = [cluster.node('d'), cluster.node('i')]
      for (const { name } of gone) cluster.balancer.drain(name)
      await cluster.layOut(cluster.node('e'), { remove: gone })
      await cluster.settled()
      for (const node of gone) {
        await cluster.safeToStop(node)
        await node.stop()
        cluster.balancer.remove(node.name)
      }
      await cluster.settled()
    },
  },
  {
    name: 'Restart with new addresses, one by one',
    async run(cluster) {
      for (const node of cluster.running()) {
        await node.stop()
        cluster.move(node)
        await cluster.start(node)
        await cluster.settled()
      }
    },
  },
  {
    name: 'All nodes are started at once at new addresses, by their names',
    async run(cluster, client) {
      await client.stop()
      const nodes = cluster.running()
      await Promise.all(nodes.map((node) => node.stop()))
      for (const node of nodes) cluster.move(node)
      await Promise.all(nodes.map((node) => cluster.start(node)))
      await cluster.settled()
      client.start()
    },
  },
  {
    name: 'All nodes are started at once at new addresses, found by Consul',
    async run(cluster, client) {
      await client.stop()
      const nodes = cluster.running()
      await Promise.all(nodes.map((node) => node.stop()))
      const consul = await Consul.listen()
      try {
        for (const { settings } of nodes) {
          // No name and no address of another node is of any use any more.
          cluster.forgetHost(settings.name)
          cluster.move(cluster.node(settings.name), { named: false })
          settings.publicAddress = `${settings.host}:${settings.rpcPort}`
          settings.bootstrapPeers = []
          settings.consulUrl = consul.url
        }
        await Promise.all(nodes.map((node) => cluster.start(node)))
        await cluster.settled()
      } finally {
        consul.close()
      }
      client.start()
    },
  },
]

async function restartOneByOne(cluster: LifeCluster): Promise<void> {
  for (const node of cluster.running()) {
    await node.stop()
    await cluster.start(node)
    await cluster.settled()
  }
}

/** Runs a repair to its end, as `carport repair --yes` and `carport worker list` do. */
async function repair(node: LifeNode, repairType: string): Promise<void> {
  await node.admin('LaunchRepairOperation', { repairType }, '?node=self')
  await until(120_000, `${repairType} on ${node.name} is done`, async () => {
    const { success } = await node.admin<{ success: Record<string, { name: string; state: string }[]> }>(
      'ListWorkers',
      {},
      '?node=self',
    )
    const run = success[node.id]!.find(({ name }) => name === `Repair: ${repairType}`)
    return run?.state === 'done'
  })
}

/** Looks for the file of each block that the node should have; those of the client's last writes may just be on their way. */
async function everyBlockIsThere(node: LifeNode): Promise<void> {
  await repair(node, 'blocks')
  await until(30_000, `${node.name} lacks no block`, async () => {
    const { success } = await node.admin<{ success: Record<string, { blocksToFetch: number }> }>(
      'GetNodeProgress',
      undefined,
      '?node=self',
    )
    return success[node.id]!.blocksToFetch === 0
  })
  expectThat(blocksIn(node, 'data') > 0, 'it has blocks')
}

function blocksIn(node: LifeNode, folder: string): number {
  if (!existsSync(node.folder(folder))) return 0
  return readdirSync(node.folder(folder), { recursive: true }).filter((path) =>
    /(^|\/)[0-9a-f]{64}$/.test(String(path)),
  ).length
}

function expectThat(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`expected that ${what}`)
}
