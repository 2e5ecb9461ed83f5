import { describe, expect, it } from 'vitest'
import { errorCode } from '../src/util/errors.js'
import { roleOf, type SimCluster, type SimClusterOptions, type SimNode } from './sim-cluster.js'
import { onCluster } from './sim-histories.js'

const LOOSE = { text: 'loose', bucket: 'b' }
const STRICT = { text: 'strict', bucket: 'b' }

/** Runs `body` on a simulated cluster, by default of three nodes in three zones. */
function withCluster(
  options: Partial<SimClusterOptions>,
  body: (cluster: SimCluster, nodes: SimNode[]) => Promise<void>,
): Promise<void> {
  return onCluster(options, (cluster) => body(cluster, cluster.nodes))
}

const far = { latencyMs: 20, jitterMs: 15, lossShare: 0, bytesPerMs: 10_000 }
const keysOf = (node: SimNode) => node.core!.model.keys
const bucketsOf = (node: SimNode) => node.core!.model.buckets
const ids = (nodes: readonly SimNode[]) => nodes.map(({ id }) => id)

describe('a change of a control row', () => {
  it('wins over what was acknowledged before, also by a node that cannot be reached and whose clock is ahead', async () => {
    await withCluster({}, async ({ clock, network, random }, nodes) => {
      const [a, b, d] = nodes as [SimNode, SimNode, SimNode]
      a.machine.platform!.clock.offsetMs = 3000
      const bucket = (await bucketsOf(d).create('bucket')).id
      const key = await keysOf(d).create('k')
      for (let i = 0; i < 12; i++) {
        const heal = network.partition([a.id], [b.id])
        await clock.sleep(9_000 + 10_000 * random.float())
        await keysOf(a).setPermissions(key.id, bucket, { read: true, write: true, owner: false })
        await keysOf(a).change(key.id, { createBucket: true })
        await bucketsOf(a).setDocument(bucketsOf(a).byId(bucket)!, 'policy', LOOSE)
        await clock.sleep(200)
        await keysOf(b).setPermissions(key.id, bucket, { read: false, write: false, owner: false })
        await keysOf(b).change(key.id, { createBucket: false })
        await bucketsOf(b).setDocument(bucketsOf(b).byId(bucket)!, 'policy', STRICT)
        heal()
        await clock.sleep(60_000)
        for (const node of nodes) {
          expect(keysOf(node).local(key.id)!.permissions.size).toBe(0)
          expect(keysOf(node).local(key.id)!.mayCreateBuckets).toBe(false)
          expect(bucketsOf(node).byId(bucket)!.document('policy')).toEqual(STRICT)
        }
      }
    })
  })

  it('adds to what another administrator allows in the same moment', async () => {
    await withCluster({ path: far }, async ({ clock }, [a, b, d]) => {
      const bucket = (await bucketsOf(d!).create('bucket')).id
      const key = await keysOf(d!).create('k')
      for (let i = 0; i < 10; i++) {
        await keysOf(d!).setPermissions(key.id, bucket, { read: false, write: false, owner: false })
        await Promise.all([
          keysOf(a!).changePermissions(key.id, bucket, (now) => ({ ...now, read: true })),
          clock
            .sleep(i * 5)
            .then(() => keysOf(b!).changePermissions(key.id, bucket, (now) => ({ ...now, write: true }))),
        ])
        const [now] = [await keysOf(d!).refresh(key.id)]
        expect(now!.permissions.get(bucket.toString('hex'))).toEqual({
          read: true,
          write: true,
          owner: false,
        })
      }
    })
  })

  it('of a deleted bucket or key fails', async () => {
    await withCluster({}, async (_cluster, [a, b]) => {
      const bucket = await bucketsOf(a!).create('bucket')
      const key = await keysOf(a!).create('k')
      await bucketsOf(a!).delete(bucket)
      await keysOf(a!).delete(key.id)
      await expect(bucketsOf(b!).setDocument(bucket, 'policy', LOOSE)).rejects.toMatchObject({
        code: 'NotFound',
      })
      await expect(keysOf(b!).change(key.id, { name: 'n' })).rejects.toMatchObject({ code: 'NotFound' })
      const permissions = { read: true, write: true, owner: true }
      await expect(keysOf(b!).setPermissions(key.id, bucket.id, permissions)).rejects.toMatchObject({
        code: 'NotFound',
      })
    })
  })
})

describe('a name', () => {
  it('goes to one of two who make a bucket of it at the same time, and the other is told', async () => {
    await withCluster({ path: far }, async ({ clock }, nodes) => {
      for (let i = 0; i < 30; i++) {
        const name = `race-${i}`
        const results = await Promise.allSettled([
          bucketsOf(nodes[0]!).create(name, { owner: 'alice' }),
          clock.sleep(i * 4).then(() => bucketsOf(nodes[1]!).create(name, { owner: 'bob' })),
        ])
        const won = results.filter((result) => result.status === 'fulfilled')
        const lost = results.filter((result) => result.status === 'rejected')
        expect(won).toHaveLength(1)
        expect(errorCode(lost[0]!.reason)).toBe('Conflict')
        await clock.sleep(1000)
        for (const node of nodes) {
          expect(bucketsOf(node).localByName(name, undefined)!.hexId).toBe(won[0]!.value.hexId)
        }
        const ids: string[] = []
        for await (const { hexId } of bucketsOf(nodes[2]!).walk()) ids.push(hexId)
        expect(ids).toHaveLength(i + 1)
      }
    })
  })

  it('is never given twice, whatever is cut off or dies while many want it, on three and on five nodes', async () => {
    for (const seed of [1, 2, 3, 4]) {
      await withCluster({ seed, nodes: seed % 2 ? 3 : 5, path: far }, async (cluster, nodes) => {
        const { clock, network, random } = cluster
        for (let i = 0; i < 12; i++) {
          const name = `name-${i}`
          const told = new Map<string, number>()
          const heals: (() => void)[] = []
          const creators = nodes.map(async (node) => {
            await clock.sleep(random.float() * 150)
            if (!node.ready) return
            try {
              const bucket = await cluster.surviving(node, bucketsOf(node).create(name))
              told.set(bucket.hexId, node.index)
            } catch {}
          })
          await clock.sleep(random.float() * 200)
          const x = random.pick(nodes)
          const y = random.pick(nodes.filter((node) => node !== x))
          const fault = random.pick(['isolate', 'one way', 'crash', 'power'] as const)
          if (fault === 'isolate') heals.push(network.partition([x.id], ids(nodes.filter((n) => n !== x))))
          else if (fault === 'one way') heals.push(network.block([x.id], [y.id]))
          else cluster.crash(y, fault === 'crash' ? 'process' : 'machine')
          await Promise.all(creators)
          expect(told.size).toBeLessThanOrEqual(1)
          for (const heal of heals) heal()
          for (const node of nodes) if (!node.ready) await cluster.boot(node)
          await clock.sleep(60_000)
          // A client that asks now gets the creator that was told of success, or makes the bucket if none was.
          const before = await bucketsOf(nodes[0]!).byName(name, undefined)
          if (told.size > 0) expect(before!.hexId).toBe([...told.keys()][0])
          const late = await bucketsOf(nodes[1]!)
            .create(name)
            .catch((error) => errorCode(error))
          if (before) expect(late).toBe('Conflict')
          else expect(late).toMatchObject({ aliases: [name] })
          const after = (await bucketsOf(nodes[2]!).byName(name, undefined))!.hexId
          if (told.size > 0) expect(after).toBe([...told.keys()][0])
        }
      })
    }
  }, 120_000)

  it('stays with its bucket while empty nodes come in greater number than those that know it', async () => {
    await withCluster({ tables: { syncSoonMs: 2000 } }, async (cluster, nodes) => {
      const { clock, network } = cluster
      const a = nodes[0]!
      const old = await bucketsOf(a).create('photos')
      await clock.sleep(30_000)
      const news = [await cluster.grow(), await cluster.grow(), await cluster.grow(), await cluster.grow()]
      const near = { latencyMs: 0.2, jitterMs: 0.1, lossShare: 0, bytesPerMs: 10_000 }
      for (const x of news) for (const y of news) if (x.index < y.index) network.setPath(x.id, y.id, near)
      await cluster.changeLayout(
        news.map((node) => ({ node: node.id, role: roleOf(node) })),
        a,
      )
      while (news[0]!.core!.cluster.layout.layoutVersion !== 2) await clock.sleep(5)
      await expect(bucketsOf(news[0]!).create('photos')).rejects.toMatchObject({ code: 'Conflict' })
      expect((await bucketsOf(news[1]!).byName('photos', undefined))!.hexId).toBe(old.hexId)
      await clock.sleep(20 * 60_000)
      for (const node of cluster.nodes) {
        expect(bucketsOf(node).localByName('photos', undefined)!.hexId).toBe(old.hexId)
      }
    })
  })

  it('can be taken again once its bucket is deleted, and by whoever was first among those who add it', async () => {
    await withCluster({ path: far }, async ({ clock }, [a, b, d]) => {
      const first = await bucketsOf(a!).create('name')
      await bucketsOf(b!).delete(first)
      const second = await bucketsOf(d!).create('name')
      expect((await bucketsOf(a!).byName('name', undefined))!.hexId).toBe(second.hexId)
      const third = await bucketsOf(a!).create('other')
      const results = await Promise.allSettled([
        bucketsOf(a!).addAlias(third, 'more'),
        clock.sleep(10).then(() => bucketsOf(b!).addAlias(second, 'more')),
      ])
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      await bucketsOf(a!).removeAlias((await bucketsOf(a!).refresh(second.id))!, 'name')
      await expect(bucketsOf(b!).byName('name', undefined)).resolves.toBeUndefined()
      await bucketsOf(d!).addAlias(third, 'name')
      expect((await bucketsOf(b!).byName('name', undefined))!.hexId).toBe(third.hexId)
    })
  })

  it('that only one key sees, and the id of an imported key, go to one of two as well', async () => {
    await withCluster({ path: far }, async ({ clock }, [a, b, d]) => {
      const key = await keysOf(d!).create('k')
      const [one, two] = [await bucketsOf(a!).create('one'), await bucketsOf(b!).create('two')]
      for (let i = 0; i < 10; i++) {
        const named = await Promise.allSettled([
          bucketsOf(a!).addLocalAlias(one, key.id, `mine-${i}`),
          clock.sleep(i * 9).then(() => bucketsOf(b!).addLocalAlias(two, key.id, `mine-${i}`)),
        ])
        expect(named.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
        const imported = await Promise.allSettled([
          keysOf(a!).import(`key-${i}`, 'secret-of-a', 'a'),
          clock.sleep(i * 9).then(() => keysOf(b!).import(`key-${i}`, 'secret-of-b', 'b')),
        ])
        const won = imported.filter((result) => result.status === 'fulfilled')
        expect(won).toHaveLength(1)
        expect((await keysOf(d!).refresh(`key-${i}`))!.secret).toBe(won[0]!.value.secret)
      }
    })
  })
})

it('a name is never given twice while the layout changes and nodes join that know nothing', async () => {
  for (const seed of [21]) {
    await withCluster({ seed, path: far, tables: { syncSoonMs: 1000 } }, async (cluster, nodes) => {
      const { clock, random } = cluster
      const old = [...nodes]
      const news = [await cluster.grow(), await cluster.grow(), await cluster.grow()]
      const told = new Map<string, Set<string>>()
      let running = true
      const creators = [...old, ...news].map(async (node) => {
        while (running) {
          await clock.sleep(random.float() * 300)
          const name = `name-${Math.floor(clock.monotonicMs() / 1000)}`
          try {
            const { hexId } = await bucketsOf(node).create(name)
            told.set(name, (told.get(name) ?? new Set()).add(hexId))
          } catch (error) {
            expect(['Conflict', 'QuorumUnavailable', 'LayoutNotReady']).toContain(errorCode(error))
          }
        }
      })
      await clock.sleep(5_000)
      const roles = [
        ...news.map((node) => ({ node: node.id, role: roleOf(node) })),
        ...old.slice(1).map((node) => ({ node: node.id, role: null })),
      ]
      await cluster.changeLayout(roles, nodes[0]!)
      await clock.sleep(90_000)
      running = false
      await Promise.all(creators)
      await clock.sleep(60_000)
      expect(told.size).toBeGreaterThan(40)
      for (const [name, winners] of told) {
        expect([name, [...winners]]).toEqual([name, [expect.any(String)]])
        expect((await bucketsOf(news[0]!).byName(name, undefined))!.hexId).toBe([...winners][0])
      }
      expect(nodes[0]!.core!.cluster.layout.history.versions.map(({ version }) => version)).toEqual([2])
    })
  }
}, 120_000)
