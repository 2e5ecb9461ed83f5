import { afterEach, describe, expect, it } from 'vitest'
import { AdminCluster, BLOCK_BYTES } from '../../../../testing/admin-nodes.js'
import { SeededRandom } from '../../../../testing/cluster-fakes.js'

const NOTHING = {
  blocksToFetch: 0,
  blocksFailed: 0,
  partitionsToCompare: 0,
  partitionsToHandOver: 0,
  copiesJoining: 0,
  writesToSend: 0,
}

let cluster: AdminCluster
afterEach(() => cluster.stop())

async function make(nodes: number, copies = nodes): Promise<AdminCluster> {
  cluster = new AdminCluster(nodes, copies)
  await cluster.start()
  await cluster.layOut()
  return cluster
}

/** What node `i` says of the whole cluster. */
const progress = (i = 0) => cluster.run(cluster.call('cluster.progress', {}, i))

async function untilDone(i = 0): Promise<void> {
  for (let minutes = 0; !(await progress(i)).done; minutes++) {
    if (minutes > 60) throw new Error(`not done: ${JSON.stringify(await progress(i))}`)
    await cluster.clock.advance(10_000)
  }
}

async function store(objects: number): Promise<void> {
  const { bucket } = await cluster.newBucket('data')
  const random = new SeededRandom(7)
  for (let i = 0; i < objects; i++) {
    await cluster.putObject(bucket(), `o${i}`, Buffer.from(random.bytes(2 * BLOCK_BYTES)))
  }
}

const filesOf = (i: number) =>
  [...cluster.nodes[i]!.disk.files.keys()].filter((path) => /\/[0-9a-f]{64}$/.test(path))

describe('the work of the cluster', () => {
  it('is nothing at rest, from every node', async () => {
    await make(3)
    await store(3)
    await untilDone()
    for (const i of [0, 1, 2]) {
      const told = await progress(i)
      expect(told).toMatchObject({ done: true, secondsLeft: 0, total: NOTHING, unknown: {}, safeToStop: [] })
      expect(told.layout).toEqual({ oldestVersion: 1, newestVersion: 1, behind: [] })
      expect(Object.keys(told.nodes).sort()).toEqual(cluster.nodes.map(({ id }) => id).sort())
    }
  })

  it('after the loss of a data folder counts each block, tells a rate, and ends when the files are there', async () => {
    const { nodes } = await make(3)
    await store(30)
    await untilDone()
    const before = filesOf(1)
    expect(before.length).toBe(60)
    for (const path of before) await nodes[1]!.disk.remove(path)

    await cluster.run(cluster.call('repair.launch', { node: nodes[1]!.id, repairType: 'blocks' }, 1))
    const seen: number[] = []
    let told = await progress(2)
    expect(told.done).toBe(false)
    for (let steps = 0; !told.done; steps++) {
      expect(steps).toBeLessThan(1000)
      const node = told.nodes[nodes[1]!.id]!
      expect(told.total.blocksToFetch).toBe(node.blocksToFetch)
      seen.push(node.blocksToFetch)
      // Once the walk is over, exactly the blocks whose files are missing are told, with the one that is just being stored.
      const missing = 60 - filesOf(1).length
      if (node.repairs.length === 0) expect([missing, missing + 1]).toContain(node.blocksToFetch)
      if (node.secondsLeft) {
        expect(node.secondsLeft).toBe(Math.ceil(node.blocksToFetch / node.blocksPerSec!))
        expect(told.secondsLeft).toBeGreaterThanOrEqual(node.secondsLeft)
      }
      await cluster.clock.advance(50)
      told = await progress(2)
    }
    expect(Math.max(...seen)).toBeGreaterThan(30)
    expect(filesOf(1).sort()).toEqual(before.sort())
    expect(told).toMatchObject({ secondsLeft: 0, total: NOTHING })
    expect(told.nodes[nodes[1]!.id]).toMatchObject({ blocksPerSec: null, bytesPerSec: null, repairs: [] })
  })

  it('is not known while a node does not answer', async () => {
    const { nodes, net } = await make(3)
    await untilDone()
    net.kill(nodes[2]!.id)
    await cluster.clock.advance(1_000)
    const told = await progress(0)
    expect(told).toMatchObject({ done: false, secondsLeft: null })
    expect(Object.keys(told.unknown)).toEqual([nodes[2]!.id])
  })

  it('goes on until a new layout is the only one, and then tells which node may be stopped', async () => {
    const { nodes } = await make(4, 3)
    await store(20)
    await untilDone()
    const gone = nodes[3]!.id
    await cluster.call('layout.stage', { roles: [{ id: gone, remove: true }] })
    await cluster.call('layout.apply', { version: 2 })
    const told = await progress(1)
    expect(told).toMatchObject({ done: false, safeToStop: [] })
    await untilDone(1)
    const { layout, safeToStop } = await progress(1)
    expect(layout).toEqual({ oldestVersion: 2, newestVersion: 2, behind: [] })
    expect(safeToStop).toEqual([gone])
  })
})
