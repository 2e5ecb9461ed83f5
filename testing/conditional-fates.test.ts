/**
 * Histories in which a plain write covers an attempt of a conditional one whose votes did not come together. Invariant: its
 * client hears that it took effect, or that it did not, only where that is so, and hears it where the replicas can tell.
 */
import { describe, expect, it } from 'vitest'
import { NONCE_BYTES, versionId } from '../src/model/content/refs.js'
import { placeAfter } from '../src/model/versions/chain.js'
import { plainVersion, type VersionRecord } from '../src/model/versions/record.js'
import { BALLOT_RANDOM_BYTES, makeBallot } from '../src/table/ballot.js'
import { parseTestimony } from '../src/table/votes.js'
import { CarportError } from '../src/util/errors.js'
import {
  ACCEPT,
  begin,
  INSERT,
  interpose,
  KEY,
  md5,
  PREPARE,
  promise,
  replace,
} from './conditional-histories.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { get, onCluster, put, waitUntil } from './sim-histories.js'

const unavailable = () => new CarportError('QuorumUnavailable', 'answers were lost')

describe('an attempt that a plain write covers', () => {
  it('is told as refused if others promised too many replicas for a quorum, though one has it', async () => {
    await onCluster({}, async (c) => {
      const { nodes, bucket } = await begin(c)
      const [a, b, third] = nodes
      interpose(a, {
        [ACCEPT]: async (send) => {
          await promise(b, [b, third], bucket)
          await send().finally(() => put(b, bucket, KEY, 'plain'))
        },
      })
      expect(await replace(c, a, bucket, 'base', 'mine')).toBe('refused')
      expect(await get(third, bucket, KEY)).toBe('plain')
    })
  })

  it('is told as refused by replicas that did not answer its first question, but were there', async () => {
    await onCluster({}, async (c) => {
      const { nodes, bucket } = await begin(c)
      const [a, b, third] = nodes
      // So that the second node is the one that answers first.
      let heal = c.network.partition([a.id], [third.id])
      interpose(a, {
        [ACCEPT]: async (send) => {
          await promise(b, [a, b], bucket)
          await send().finally(async () => {
            heal()
            await put(b, bucket, KEY, 'plain')
            heal = c.network.partition([a.id], [b.id])
          })
        },
      })
      expect(await replace(c, a, bucket, 'base', 'mine')).toBe('refused')
      heal()
    })
  })

  it('is told as done if a quorum had it, whose answers were lost', async () => {
    await onCluster({}, async (c) => {
      const { nodes, bucket } = await begin(c)
      const [a, b] = nodes
      interpose(a, {
        [ACCEPT]: async (send) => {
          await send()
          await put(b, bucket, KEY, 'plain')
          throw unavailable()
        },
      })
      expect(await replace(c, a, bucket, 'base', 'mine')).toBe('done')
      expect(await get(b, bucket, KEY)).toBe('plain')
    })
  })

  it('is not told as refused once somebody finished it before the plain write that a single replica had', async () => {
    await onCluster({}, async (c) => {
      const { nodes, bucket, base } = await begin(c)
      const [a, b, third] = nodes
      let rival: string | undefined
      let heal = c.network.partition([a.id], [third.id])
      interpose(a, {
        [ACCEPT]: async (send) => {
          await promise(b, [a, b], bucket)
          heal()
          const { peering } = a.core!.cluster
          await waitUntil(c, 'the nodes are linked', () => peering.connected().includes(third.id), 60_000)
          await send().finally(async () => {
            heal = c.network.partition([a.id], [third.id])
            await plainAt(c, a, base)
          })
        },
        // A quorum promised, of which one has the plain write: it is about to be written back to the other.
        [INSERT]: async (send) => {
          rival = await replace(c, third, bucket, 'mine', 'of the rival')
          heal()
          return send()
        },
      })
      const told = await replace(c, a, bucket, 'base', 'mine')
      expect(rival).toBe('done')
      expect(told).toBe('done')
      expect(await get(b, bucket, KEY)).toBe('plain')
    })
  })

  it('is not told at all while the replica that would have to decide is away', async () => {
    await onCluster({}, async (c) => {
      const { nodes, bucket } = await begin(c)
      const [a, b, third] = nodes
      let heal = () => {}
      interpose(a, {
        [ACCEPT]: async (send) => {
          await promise(third, [b], bucket)
          const sent = send()
          await c.clock.sleep(0)
          heal = c.network.partition([a.id, b.id], [third.id])
          await sent.finally(() => put(b, bucket, KEY, 'plain'))
        },
      })
      expect(await replace(c, a, bucket, 'base', 'mine')).toBe('QuorumUnavailable')
      heal()
    })
  })
})

it('an attempt that one replica has is not told as refused since another one is of an earlier release', async () => {
  await onCluster({}, async (c) => {
    const { nodes, bucket } = await begin(c)
    const [a, b, third] = nodes
    third.machine.platform!.transport.isUnknown = (method) => method === ACCEPT
    let heal = () => {}
    interpose(a, {
      [ACCEPT]: (send) => {
        heal = c.network.partition([a.id], [b.id])
        return send()
      },
    })
    expect(await replace(c, a, bucket, 'base', 'mine')).toBe('QuorumUnavailable')
    heal()
  })
})

it('a replica that takes an attempt, a plain write over it and a question in one commit remembers the attempt', async () => {
  await onCluster({}, async (c) => {
    const { nodes, bucket, base } = await begin(c)
    const [, b] = nodes
    const { quorum, cluster, model, parts } = b.core!
    const { codec } = model.tables.object.local
    const ballotIn = (us: number) => makeBallot(parts.hlc.now() + us, Buffer.alloc(BALLOT_RANDOM_BYTES, 1))
    const [first, second] = [ballotIn(0), ballotIn(1e6)]
    const id = versionId(parts.hlc.now(), c.random.bytes(NONCE_BYTES))
    const attempt = { ...plainVersion(base), ...placeAfter(base, first), id }
    const { layoutVersion } = cluster.layout
    const tell = (method: string, body: unknown) => quorum.call(b.id, method, body, { timeoutMs: 5000 })
    const [vote, , answer] = await Promise.all([
      tell(ACCEPT, [layoutVersion, codec.toWire(codec.encode(attempt))]),
      plainAt(c, b, base),
      tell(PREPARE, [layoutVersion, codec.keyOf(bucket, Buffer.from(KEY)), second, [id]]),
    ])
    expect(vote.body).toBeNull()
    expect(answer.body).toMatchObject({ had: true, under: [[first]] })
    expect(parseTestimony(answer.body, 1, second)).toMatchObject({ under: [[first]], below: second })
  })
})

it('an answer of an earlier release tells what it can', () => {
  const ballot = makeBallot(1, Buffer.alloc(BALLOT_RANDOM_BYTES))
  const promised = { head: null, body: false, votes: true, instance: 'process' }
  const never = { instance: 'process', below: ballot, under: [[], []] }
  expect(parseTestimony({ ...promised, had: false }, 2, ballot)).toEqual(never)
  for (const nothing of [{ ...promised, had: true }, { later: ballot }, [ballot], null])
    expect(parseTestimony(nothing, 2, ballot)).toBeUndefined()
})

/** A plain write that reached one node only. */
async function plainAt(c: SimCluster, node: SimNode, base: VersionRecord): Promise<void> {
  const { model, parts } = node.core!
  const timeUs = parts.hlc.now()
  const body = Buffer.from('plain')
  const id = versionId(timeUs, c.random.bytes(NONCE_BYTES))
  const places = { bucket: base.bucket, key: base.key, timeUs, createdUs: timeUs, generation: 0 }
  const row = { ...plainVersion(base), ...places, id, etag: md5('plain'), size: body.length, body }
  await node.machine.platform!.db.transact((tx) => model.tables.object.local.update(tx, row))
}
