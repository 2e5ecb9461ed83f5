/**
 * A conditional write that somebody else finished half is the same row on several replicas, under different ballots. Invariant:
 * what a reader shows stays, so a row is shown only once a quorum has it under one ballot. Copies under two do not keep another
 * row of the same base, of a ballot in between, from being finished instead.
 */
import { expect, it } from 'vitest'
import { NONCE_BYTES, versionId } from '../src/model/content/refs.js'
import { placeAfter } from '../src/model/versions/chain.js'
import { plainVersion, type VersionRecord } from '../src/model/versions/record.js'
import { BALLOT_RANDOM_BYTES, type Ballot, makeBallot } from '../src/table/ballot.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import { bucketOn, getWhenServed, onCluster, put, waitUntil } from './sim-histories.js'

const KEY = 'key'

/** What coordinators say to replicas, message by message. */
class Coordinators {
  constructor(
    private readonly c: SimCluster,
    private readonly by: SimNode,
    private readonly base: VersionRecord,
  ) {}

  /** Ballots in their order, from now on. */
  ballot(n: number): Ballot {
    return makeBallot(this.base.timeUs + 1e6 + n, Buffer.alloc(BALLOT_RANDOM_BYTES))
  }

  /** A row in place of the base, with that content. */
  row(content: string): (ballot: Ballot) => VersionRecord {
    const body = Buffer.from(content)
    const id = versionId(this.base.timeUs + 1e6, this.c.random.bytes(NONCE_BYTES))
    return (ballot) => ({
      ...plainVersion(this.base),
      ...placeAfter(this.base, ballot),
      ...{ id, size: body.length, body },
    })
  }

  /** Whether all of the nodes promise. */
  promised(ballot: Ballot, ...nodes: SimNode[]): Promise<boolean> {
    const { local } = this.by.core!.model.tables.object
    const key = local.codec.keyOf(this.base.bucket, this.base.key)
    return this.#all('prepare', nodes, [key, ballot, []], (body) => 'head' in (body as object))
  }

  /** Whether all of the nodes take the row. */
  accepted(row: VersionRecord, ...nodes: SimNode[]): Promise<boolean> {
    const { codec } = this.by.core!.model.tables.object.local
    return this.#all('accept', nodes, [codec.toWire(codec.encode(row))], (body) => body === null)
  }

  async #all(method: string, nodes: SimNode[], rest: unknown[], test: (body: unknown) => boolean) {
    const { quorum, cluster } = this.by.core!
    const body = [cluster.layout.layoutVersion, ...rest]
    const tell = ({ id }: SimNode) => quorum.call(id, `table/object/${method}`, body, { timeoutMs: 5000 })
    const replies = await Promise.all(nodes.map(tell))
    return replies.every((reply) => test(reply.body))
  }
}

type Three = [SimNode, SimNode, SimNode]

/** A key whose content is 'base' on all nodes. */
async function begin(c: SimCluster): Promise<{ bucket: Buffer; to: Coordinators }> {
  const [first] = c.nodes as Three
  const bucket = await bucketOn(c, first)
  for (const { core } of c.nodes)
    await waitUntil(c, 'the node votes', () => core!.tables.standing.votes(bucket[0]!), 60_000)
  const base = await put(first, bucket, KEY, 'base')
  await c.clock.sleep(5000)
  return { bucket, to: new Coordinators(c, first, base) }
}

/** Where the reader finds the row under the later ballot, and so to which replica it brings it. */
it.each(['later', 'earlier'])('a row under two ballots is finished before it is shown (%s)', (found) =>
  onCluster({}, async (c) => {
    const [a, b, third] = c.nodes as Three
    const { bucket, to } = await begin(c)
    const [mine, other] = [to.row('mine'), to.row('other')]
    expect(await to.promised(to.ballot(1), a, b)).toBe(true)
    expect(await to.promised(to.ballot(2), b, third)).toBe(true)
    expect(await to.accepted(mine(to.ballot(1)), a)).toBe(true)
    // Meets the row at the first replica, and finishes it at one of them.
    const at = found === 'later' ? b : third
    expect(await to.promised(to.ballot(3), a, at)).toBe(true)
    expect(await to.accepted(mine(to.ballot(3)), at)).toBe(true)
    const rest = found === 'later' ? third : b
    expect(await to.accepted(other(to.ballot(2)), rest)).toBe(true)
    // Meets both, and is about to finish the one with the later ballot.
    expect(await to.promised(to.ballot(4), a, rest)).toBe(true)

    const heal = c.network.partition([a.id, at.id], [rest.id])
    expect(await getWhenServed(c, at, bucket, KEY)).toBe('mine')
    heal()
    expect(await to.accepted(other(to.ballot(4)), a)).toBe(false)
    expect(await getWhenServed(c, rest, bucket, KEY)).toBe('mine')
  }),
)

it('copies under two ballots become equal, though one replica has promised a later one to nobody', () =>
  onCluster({ tables: { syncIntervalMs: 10_000 } }, async (c) => {
    const [a, b] = c.nodes as Three
    const { bucket, to } = await begin(c)
    const mine = to.row('mine')
    expect(await to.promised(to.ballot(1), a, b)).toBe(true)
    expect(await to.accepted(mine(to.ballot(1)), a)).toBe(true)
    expect(await to.promised(to.ballot(2), a, b)).toBe(true)
    expect(await to.accepted(mine(to.ballot(2)), b)).toBe(true)
    expect(await to.promised(to.ballot(3), a)).toBe(true)
    const ballots = () =>
      c.nodes.map(({ core, machine }) => {
        const { local } = core!.model.tables.object
        return local.get(machine.platform!.db, bucket, Buffer.from(KEY))?.chain?.ballot.toString('hex')
      })
    expect(new Set(ballots()).size).toBe(3)
    await waitUntil(c, 'the copies are equal', () => new Set(ballots()).size === 1, 120_000)
    expect(ballots()[0]! > to.ballot(3).toString('hex')).toBe(true)
  }))
