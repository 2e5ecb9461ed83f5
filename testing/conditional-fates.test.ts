/**
 * Histories in which a plain write covers an attempt of a conditional one whose votes did not come together. Invariant: its
 * client hears that it took effect, or that it did not, only where that is so, and hears it where the replicas can tell.
 */
import { createHash } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import { NONCE_BYTES, versionId } from '../src/model/content/refs.js'
import { placeAfter } from '../src/model/versions/chain.js'
import { plainVersion, type VersionRecord } from '../src/model/versions/record.js'
import type { NodeId } from '../src/net/transport.js'
import { BALLOT_RANDOM_BYTES, makeBallot } from '../src/table/ballot.js'
import { parseTestimony } from '../src/table/votes.js'
import { CarportError, errorCode } from '../src/util/errors.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, get, onCluster, put, waitUntil } from './sim-histories.js'
import { newVersion, sourceOf } from './sim-objects.js'

const KEY = 'key'
const ACCEPT = 'table/object/accept'
const PREPARE = 'table/object/prepare'
const INSERT = 'table/object/insert'

const md5 = (content: string) => createHash('md5').update(content).digest()

class Refused extends Error {}

type Three = [SimNode, SimNode, SimNode]
type Sets = readonly (readonly NodeId[])[]

/** Replaces a key's content on the condition that it is still `expected`. Resolves with what the client hears. */
async function replace(
  c: SimCluster,
  node: SimNode,
  bucket: Buffer,
  expected: string,
  content: string,
  key = KEY,
): Promise<string> {
  const { model } = node.core!
  const stored = await model.blobs.write(sourceOf(Buffer.from(content), c.random))
  const version = newVersion({ id: bucket } as Parameters<typeof newVersion>[0], key, stored.md5)
  const precondition = (current: VersionRecord | undefined) => {
    if (!current?.etag.equals(md5(expected))) throw new Refused()
  }
  return model.objects.put(version, stored, 'off', precondition).then(
    () => 'done',
    (error: unknown) => (error instanceof Refused ? 'refused' : String(errorCode(error))),
  )
}

/** Lets some nodes promise a ballot that is later than all before, to nobody. */
async function promise(asker: SimNode, nodes: readonly SimNode[], bucket: Buffer): Promise<void> {
  const { quorum, cluster, model, parts } = asker.core!
  const key = model.tables.object.local.codec.keyOf(bucket, Buffer.from(KEY))
  const ballot = makeBallot(parts.hlc.now(), Buffer.alloc(BALLOT_RANDOM_BYTES, 0xff))
  for (const { id } of nodes) {
    const body = [cluster.layout.layoutVersion, key, ballot, []]
    await quorum.call(id, PREPARE, body, { timeoutMs: 5000 })
  }
}

/** Runs `steps` once each, before a node sends the first messages of that method, or with them. */
function interpose(
  node: SimNode,
  steps: Partial<Record<string, (send: () => Promise<unknown>) => Promise<unknown>>>,
): void {
  const { quorum } = node.core!
  for (const name of ['write', 'writeJudged'] as const) {
    const original = quorum[name].bind(quorum) as (...args: unknown[]) => Promise<never>
    vi.spyOn(quorum, name).mockImplementation(
      (sets: Sets, method: string, body: unknown, options: object) => {
        const step = steps[method]
        if (!step) return original(sets, method, body, options)
        delete steps[method]
        return step(() => original(sets, method, body, options)) as Promise<never>
      },
    )
  }
}

/** A key whose content is 'base' on all nodes, which all know each other's processes. */
async function begin(c: SimCluster): Promise<{ nodes: Three; bucket: Buffer; base: VersionRecord }> {
  const nodes = c.nodes as Three
  const bucket = await bucketOn(c, nodes[0])
  for (const node of nodes) {
    await waitUntil(c, 'the node votes', () => node.core!.tables.standing.votes(bucket[0]!), 60_000)
  }
  const base = await put(nodes[0], bucket, KEY, 'base')
  for (const node of nodes) {
    await put(node, bucket, `other${node.index}`, 'base')
    expect(await replace(c, node, bucket, 'base', 'more', `other${node.index}`)).toBe('done')
  }
  await c.clock.sleep(5000)
  return { nodes, bucket, base }
}

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
