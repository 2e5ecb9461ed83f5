/**
 * Histories in which a node loses its database, or goes back to an older one, after it had voted. Invariant: it gives no vote
 * that contradicts one that somebody may still count on.
 */
import { describe, expect, it, vi } from 'vitest'
import { BALLOT_RANDOM_BYTES, makeBallot } from '../src/table/ballot.js'
import { rowKeyOf } from '../src/table/row-keys.js'
import { FULL_COPY } from '../src/table/standing.js'
import { errorCode } from '../src/util/errors.js'
import { roleOf, type SimCluster, type SimNode } from './sim-cluster.js'
import { bucketOn, onCluster, waitUntil } from './sim-histories.js'

const TIMEOUT_MS = 120_000
/** How long a vote of before may be counted on, at the most, in ms: the time that a conditional write or a decision may take. */
const COUNTED_MS = 45_000

type Three = [SimNode, SimNode, SimNode]

/** Asks a node for both kinds of promises, by a ballot of that time. Resolves with the answers, or the codes of refusals. */
async function promisesOf(
  asker: SimNode,
  node: SimNode,
  bucket: Buffer,
  timeUs: number,
): Promise<{ conditional: string; decision: string }> {
  const { quorum, cluster } = asker.core!
  const call = async (method: string, body: unknown) => {
    try {
      const reply = (await quorum.call(node.id, method, body, { timeoutMs: 5000 })).body as object
      return 'later' in reply || 'promised' in reply ? 'bound' : 'promised'
    } catch (error) {
      return errorCode(error) ?? String(error)
    }
  }
  const ballot = makeBallot(timeUs, Buffer.alloc(BALLOT_RANDOM_BYTES))
  const key = rowKeyOf(bucket[0]!, bucket, Buffer.from('key'))
  return {
    conditional: await call('table/object/prepare', [cluster.layout.layoutVersion, key, ballot, []]),
    decision: await call('decide/prepare', [
      ['alias', Buffer.from('name'), 'bucket'],
      ...[0, [timeUs, asker.id], null, cluster.layout.layoutMark],
    ]),
  }
}

const both = (answer: string) => ({ conditional: answer, decision: answer })
const isWhole = (node: SimNode, bucket: Buffer) => () =>
  [bucket[0]!, FULL_COPY].every((copy) => node.core!.tables.standing.votes(copy))

/** A promise of `b` to a ballot that is later than `earlierUs`. */
async function promised(
  c: SimCluster,
  a: SimNode,
  b: SimNode,
  bucket: Buffer,
): Promise<{ earlierUs: number }> {
  await waitUntil(c, 'the node votes', isWhole(b, bucket), 60_000)
  const earlierUs = a.core!.parts.hlc.now()
  await c.clock.sleep(1000)
  expect(await promisesOf(a, b, bucket, a.core!.parts.hlc.now())).toEqual(both('promised'))
  expect(await promisesOf(a, b, bucket, earlierUs)).toEqual(both('bound'))
  return { earlierUs }
}

describe('a node that forgot its votes', { timeout: TIMEOUT_MS }, () => {
  for (const what of ['lost its database', 'went back to a snapshot'] as const) {
    it(`gives none before nobody counts on those of before: it ${what}`, async () => {
      await onCluster({}, async (c) => {
        const [a, b] = c.nodes as Three
        const bucket = await bucketOn(c, b)
        await b.machine.platform!.db.snapshot('snap')
        // So much older than the database of the crash that it is told apart.
        await c.clock.sleep(11 * 60_000)
        const { earlierUs } = await promised(c, a, b, bucket)
        c.crash(b, 'machine')
        if (what === 'lost its database') b.machine.wipe()
        else b.machine.restoreSnapshot('snap')
        await c.boot(b)
        const lostMs = c.clock.monotonicMs()
        const restartAtMs = lostMs + COUNTED_MS / 2
        while (c.clock.monotonicMs() < lostMs + COUNTED_MS) {
          const answers = await promisesOf(a, b, bucket, earlierUs)
          expect(Object.values(answers)).not.toContain('promised')
          await c.clock.sleep(1000)
          const isDue = c.clock.monotonicMs() >= restartAtMs && c.clock.monotonicMs() < restartAtMs + 1100
          if (!isDue) continue
          // Its rows are caught up with by then. It must remember that it rests.
          expect(isWhole(b, bucket)()).toBe(true)
          c.crash(b, 'process')
          await c.boot(b)
        }
        await c.clock.sleep(2 * 60_000)
        expect(await promisesOf(a, b, bucket, a.core!.parts.hlc.now())).toEqual(both('promised'))
      })
    })
  }

  it('decides nothing before a peer has told that its database did not go back, though there is one copy of everything', async () => {
    await onCluster({ replicationFactor: 1 }, async (c) => {
      const [a, b] = c.nodes as Three
      const bucket = await bucketOn(c, b)
      const decision = async () => (await promisesOf(a, b, bucket, a.core!.parts.hlc.now())).decision
      await waitUntil(c, 'the node votes', isWhole(b, bucket), 60_000)
      expect(await decision()).toBe('promised')
      c.crash(b, 'process')
      await c.boot(b)
      const { layout } = b.core!.cluster
      const isConfirmed = vi.spyOn(layout, 'confirmed', 'get').mockReturnValue(false)
      await waitUntil(
        c,
        'the node can be asked',
        () => a.core!.cluster.peering.connected().includes(b.id),
        60_000,
      )
      expect(await decision()).toBe('NotCaughtUp')
      isConfirmed.mockRestore()
      await waitUntil(c, 'a peer has told', () => layout.confirmed, 60_000)
      expect(await decision()).toBe('promised')
    })
  })

  it('is not one that is new: it votes as soon as it has caught up', async () => {
    await onCluster({ nodes: 1, zones: 1, replicationFactor: 1 }, async (c) => {
      const [a] = c.nodes as [SimNode]
      const bucket = await bucketOn(c, a)
      const more = [await c.grow(), await c.grow()]
      await c.changeLayout(
        more.map((node) => ({ node: node.id, role: roleOf(node) })),
        a,
      )
      const [b] = more as [SimNode, SimNode]
      await waitUntil(c, 'the new node has caught up', () => b.core!.tables.standing.votes(FULL_COPY), 20_000)
      const { decision } = await promisesOf(a, b, bucket, a.core!.parts.hlc.now())
      expect(decision).toBe('promised')
      expect((await b.core!.model.buckets.create('made-there')).hexId).toMatch(/^[0-9a-f]{32}$/)
    })
  })
})
