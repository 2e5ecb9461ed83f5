import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SimCluster } from '../../../testing/sim-cluster.js'
import { KeyIndex } from './key-index.js'

const id = fc.constantFrom('GK1', 'GK2', 'GK3')
const bucket = fc.constantFrom('aa', 'bb', 'cc')
const name = fc.constantFrom('photos', 'music')

test('the index tells what a walk over all keys would, whatever changed', () => {
  const change = fc.record({
    id,
    isDeleted: fc.boolean(),
    permissions: fc.array(bucket, { maxLength: 3 }),
    aliases: fc.dictionary(name, bucket),
  })
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const keys = new Map<
        string,
        { id: string; permissions: Map<string, true>; localAliases: Map<string, string> }
      >()
      const index = new KeyIndex((of) => keys.get(of))
      for (const { id: of, isDeleted, permissions, aliases } of changes) {
        if (isDeleted) keys.delete(of)
        else {
          keys.set(of, {
            id: of,
            permissions: new Map(permissions.map((hexId) => [hexId, true])),
            localAliases: new Map(Object.entries(aliases)),
          })
        }
        index.changed(of)
      }
      const all = [...keys.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
      for (const hexId of ['aa', 'bb', 'cc']) {
        expect(index.keysOf(hexId)).toEqual(all.filter((key) => key.permissions.has(hexId)))
      }
      for (const alias of ['photos', 'music']) {
        expect(index.keysWithAlias(alias)).toEqual(all.filter((key) => key.localAliases.has(alias)))
      }
    }),
  )
})

test('keys are walked in turns, and what changes on any node is in the index of each', async () => {
  const c = new SimCluster({
    ...{ seed: 1, nodes: 2, zones: 2, replicationFactor: 2, blockBytes: 4096, clockSkewMs: 0 },
    path: { latencyMs: 1, jitterMs: 0, lossShare: 0, bytesPerMs: 10_000 },
    tables: {},
    graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 },
  })
  const work = async () => {
    await c.start()
    const [a, b] = c.nodes.map((node) => node.core!.model)
    const photos = await a!.buckets.create('photos')
    const made = await Promise.all(Array.from({ length: 250 }, (_, i) => a!.keys.create(`key ${i}`)))
    await a!.keys.setPermissions(made[7]!.id, photos.id, { read: true, write: false, owner: true })
    await a!.buckets.addLocalAlias(photos, made[8]!.id, 'mine')
    await c.clock.sleep(5000)
    expect(b!.keys.index.keysOf(photos.hexId).map((key) => key.id)).toEqual([made[7]!.id])
    expect(b!.keys.index.keysWithAlias('mine').map((key) => key.id)).toEqual([made[8]!.id])
    const walked: string[] = []
    // Another task that always wants its turn gets it.
    let turns = 0
    const takeTurn = () => {
      turns++
      timer = c.clock.after(0, takeTurn)
    }
    let timer = c.clock.after(0, takeTurn)
    for await (const key of b!.keys.walk()) walked.push(key.id)
    timer.cancel()
    expect(walked).toEqual(made.map((key) => key.id).sort())
    expect(turns).toBeGreaterThanOrEqual(2)
    const rest = []
    for await (const key of b!.keys.walk(walked[240])) rest.push(key.id)
    expect(rest).toEqual(walked.slice(240))
    // After a restart the index is made from what is stored.
    c.crash(c.nodes[1]!, 'process')
    await c.boot(c.nodes[1]!)
    expect(c.nodes[1]!.core!.model.keys.index.keysOf(photos.hexId).map((key) => key.id)).toEqual([
      made[7]!.id,
    ])
    await c.clock.sleep(10_000)
    await a!.buckets.delete(photos)
    expect(a!.keys.index.keysOf(photos.hexId)).toEqual([])
  }
  await c.clock.runUntil(work(), 600_000)
})
