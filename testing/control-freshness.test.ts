import { describe, expect, it } from 'vitest'
import { CURRENT_MS } from '../src/model/buckets/freshness.js'
import { CarportError, errorCode } from '../src/util/errors.js'
import type { SimCluster, SimClusterOptions, SimNode } from './sim-cluster.js'
import { onCluster } from './sim-histories.js'

/** Runs `body` on a simulated cluster with a key that may read and write a bucket. */
async function withCluster(
  options: Partial<SimClusterOptions>,
  body: (cluster: SimCluster, nodes: SimNode[], key: string, bucket: Buffer) => Promise<void>,
): Promise<void> {
  const path = { latencyMs: 10, jitterMs: 3, lossShare: 0, bytesPerMs: 10_000 }
  await onCluster(
    { seed: 11, clockSkewMs: 200, controlRoundMs: 1_000, path, ...options },
    async (cluster) => {
      const { model } = cluster.nodes[0]!.core!
      const bucket = await model.buckets.create('bucket')
      const key = await model.keys.create('k')
      await model.keys.setPermissions(key.id, bucket.id, ALL)
      await cluster.clock.sleep(20_000)
      await body(cluster, cluster.nodes, key.id, bucket.id)
    },
  )
}

const ALL = { read: true, write: true, owner: false }
const NOTHING = { read: false, write: false, owner: false }
type Answer = 'allowed' | 'denied' | 'unavailable'

/** What the S3 API of a node answers to a request by the key for the bucket of that name. */
async function ask(node: SimNode, keyId: string, name = 'bucket'): Promise<Answer> {
  const { keys, buckets } = node.core!.model
  try {
    const key = await keys.find(keyId)
    const bucket = await buckets.find(name, key)
    return key && bucket && key.permissions.get(bucket.hexId)?.read ? 'allowed' : 'denied'
  } catch (error) {
    expect(['QuorumUnavailable', 'LayoutNotReady', 'PeerUnreachable', 'Timeout']).toContain(errorCode(error))
    return 'unavailable'
  }
}

describe('a right that was revoked', () => {
  it('is honoured by a node that is cut off for a few seconds at most, and by none that is back', async () => {
    await withCluster({}, async ({ clock, network }, nodes, key, bucket) => {
      const [a, b, away] = nodes as [SimNode, SimNode, SimNode]
      const heal = network.partition([away.id], [a.id, b.id])
      await a.core!.model.keys.setPermissions(key, bucket, NOTHING)
      const revokedMs = clock.monotonicMs()
      let last = 0
      while (clock.monotonicMs() < revokedMs + 30_000) {
        const askedMs = clock.monotonicMs()
        const answer = await Promise.race([ask(away, key), clock.sleep(100)])
        if (answer === 'allowed') last = askedMs
        await clock.sleep(50)
      }
      expect(last - revokedMs).toBeLessThanOrEqual(CURRENT_MS)
      heal()
      const healedMs = clock.monotonicMs()
      const answers = new Set<Answer>()
      while (clock.monotonicMs() < healedMs + 30_000) {
        answers.add(await ask(away, key))
        await clock.sleep(20)
      }
      expect([...answers].sort()).toEqual(['denied', 'unavailable'])
    })
  })

  it('is denied in time by a node that misses only the link to the one that revoked it', async () => {
    await withCluster({ nodes: 5, zones: 5 }, async ({ clock, network }, nodes, key, bucket) => {
      const [a, , , d, e] = nodes as [SimNode, SimNode, SimNode, SimNode, SimNode]
      network.partition([a.id], [d.id, e.id])
      await a.core!.model.keys.setPermissions(key, bucket, NOTHING)
      await clock.sleep(CURRENT_MS + 1)
      expect(await ask(d, key)).toBe('denied')
      expect(await ask(e, key)).toBe('denied')
    })
  })

  it('is not honoured by a node that was off meanwhile, from its first request on', async () => {
    await withCluster({}, async (cluster, nodes, key, bucket) => {
      const [a, , off] = nodes as [SimNode, SimNode, SimNode]
      cluster.crash(off, 'process')
      await cluster.clock.sleep(10_000)
      await a.core!.model.keys.setPermissions(key, bucket, NOTHING)
      await cluster.boot(off)
      const answers: Answer[] = []
      for (let i = 0; i < 100; i++) {
        answers.push(await ask(off, key))
        await cluster.clock.sleep(30)
      }
      expect(answers).not.toContain('allowed')
      expect(answers.at(-1)).toBe('denied')
    })
  })
})

describe('a right that was given, and a bucket that was made', () => {
  it('while a node was off are known to it before it answers', async () => {
    await withCluster({}, async (cluster, nodes, key) => {
      const [a, , off] = nodes as [SimNode, SimNode, SimNode]
      cluster.crash(off, 'machine')
      await cluster.clock.sleep(10_000)
      const fresh = await a.core!.model.buckets.create('fresh', { ownerKey: key })
      const other = await a.core!.model.keys.create('other')
      await a.core!.model.keys.setPermissions(other.id, fresh.id, ALL)
      await cluster.boot(off)
      const answers = new Set<Answer>()
      for (let i = 0; i < 100; i++) {
        answers.add(await ask(off, key, 'fresh'))
        answers.add(await ask(off, other.id, 'fresh'))
        await cluster.clock.sleep(30)
      }
      expect([...answers]).not.toContain('denied')
      expect([...answers]).toContain('allowed')
    })
  })

  it('need no message where nothing happened', async () => {
    await withCluster({}, async (_cluster, nodes, key) => {
      for (const node of nodes) {
        const { keys, buckets } = node.core!.model
        const known = keys.find(key)
        expect(known).toMatchObject({ id: key })
        expect(buckets.find('bucket', keys.local(key))).toMatchObject({ aliases: ['bucket'] })
      }
    })
  })
})

it('a node that the layout left out says that it cannot tell, instead of what it remembers', async () => {
  await withCluster({ nodes: 4, zones: 4 }, async (cluster, nodes, key, bucket) => {
    const [a, , , out] = nodes as [SimNode, SimNode, SimNode, SimNode]
    await cluster.changeLayout([{ node: out.id, role: null }], a)
    await cluster.clock.sleep(10 * 60_000)
    await a.core!.model.keys.setPermissions(key, bucket, NOTHING)
    for (let i = 0; i < 20; i++) {
      expect(await ask(out, key)).toBe('unavailable')
      await cluster.clock.sleep(1000)
    }
  })
})

it('a node of a mode that reads what may be old answers by what it remembers where nobody can be asked', async () => {
  await withCluster({ consistencyMode: 'degraded' }, async (cluster, nodes, key) => {
    const [a, b, d] = nodes as [SimNode, SimNode, SimNode]
    for (const node of [b, d]) cluster.crash(node, 'machine')
    await cluster.clock.sleep(60_000)
    expect(await ask(a, key)).toBe('allowed')
  })
})

it('a node among others of an earlier version, which do not know the comparison, compares as anti-entropy does', async () => {
  await withCluster({}, async (cluster, nodes, key, bucket) => {
    const [a, , late] = nodes as [SimNode, SimNode, SimNode]
    cluster.crash(late, 'process')
    await a.core!.model.keys.setPermissions(key, bucket, NOTHING)
    await cluster.boot(late)
    const { quorum } = late.core!
    const unknown = new CarportError('RemoteError', 'unknown method control/roots')
    const { read, call } = { read: quorum.read.bind(quorum), call: quorum.call.bind(quorum) }
    quorum.read = (set, method, body, options) =>
      method === 'control/roots' ? Promise.reject(unknown) : read(set, method, body, options)
    quorum.call = (node, method, body, options) =>
      method === 'control/roots' ? Promise.reject(unknown) : call(node, method, body, options)
    while (late.core!.cluster.peering.connected().length < 2) await cluster.clock.sleep(10)
    await cluster.clock.sleep(10_000)
    expect(await ask(late, key)).toBe('denied')
    expect(late.core!.model.freshness.isCurrent()).toBe(true)
  })
})
