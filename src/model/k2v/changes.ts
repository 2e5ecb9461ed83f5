import { type NodeId, Priority, type RpcReply } from '../../net/transport.js'
import type { Table, TableEnv } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { inTurns } from '../listing/turns.js'
import { bucketPartition } from '../sort-keys.js'
import {
  decodeClock,
  encodeClock,
  joinClocks,
  type Origin,
  originBytes,
  timeOf,
  type VectorClock,
} from './causality.js'
import { type Found, findCommits } from './commits.js'
import { lastIn, originIn } from './dots.js'
import type { K2vItem } from './item.js'
import { malformed } from './malformed.js'
import type { KeyRange } from './ranges.js'
import { checkKeys } from './table.js'

const METHOD = 'k2v/changes'
const TIMEOUT_MS = 10_000
/** How long the other replicas are waited for when a quorum has answered, in ms: what they say makes markers shorter. */
const GRACE_MS = 100
const CHANGES_MAX = 5000

/** What the replicas of a range have that a marker does not know. */
export interface Changes {
  /** Each item once, by the sort key (latin1), with dots that some replica has. */
  readonly items: ReadonlyMap<string, { readonly sortKey: Buffer; readonly clock: VectorClock }>
  /** Up to which time each replica that answered has told all of its own dots. */
  readonly covered: VectorClock
  /** The origins that make dots now, if all replicas have answered. */
  readonly alive: ReadonlySet<Origin> | undefined
  /** Whether some replica has more. */
  readonly more: boolean
}

interface Reply {
  readonly origin: Origin | undefined
  readonly covered: number
  readonly found: readonly Found[]
  readonly more: boolean
}

/** Asks the replicas of a bucket what changed in a range. */
export class ChangeFinder {
  constructor(
    private readonly env: TableEnv,
    private readonly items: Table<K2vItem>,
  ) {
    env.transport.handle(METHOD, (body) => this.#serve(body))
  }

  /**
   * @param limit changes of each replica; 0 asks only how far the replicas are
   * @throws CarportError QuorumUnavailable, LayoutNotReady
   */
  async find(
    bucket: Buffer,
    partitionKey: Buffer,
    range: KeyRange,
    seen: VectorClock,
    limit: number,
  ): Promise<Changes> {
    const partition = bucketPartition(bucket)
    const { placement } = this.env
    const body = [
      bucket,
      partitionKey,
      range.start,
      range.end ?? null,
      encodeClock(seen),
      Math.min(limit, CHANGES_MAX),
    ]
    const nodes = placement.storageSet(partition)
    const replies = await this.#askAll(nodes, placement.readSet(partition), body)
    const covered = new Map<Origin, number>()
    const items = new Map<string, { sortKey: Buffer; clock: VectorClock }>()
    let more = false
    for (const reply of replies.values()) {
      if (reply.origin !== undefined) covered.set(reply.origin, reply.covered)
      for (const { sortKey, origin, time } of reply.found) {
        const name = sortKey.toString('latin1')
        const clock = new Map([[origin, time]])
        const known = items.get(name)
        items.set(name, { sortKey, clock: known ? joinClocks(known.clock, clock) : clock })
      }
      more ||= reply.more
    }
    const alive = replies.size === nodes.length ? new Set(covered.keys()) : undefined
    return { items, covered, alive, more }
  }

  /** Asks all nodes, and waits for a quorum of `set`, then a little for the others. */
  #askAll(nodes: readonly NodeId[], set: readonly NodeId[], body: unknown): Promise<Map<NodeId, Reply>> {
    const { clock, placement, quorum } = this.env
    const replies = new Map<NodeId, Reply>()
    let open = nodes.length
    let failure: unknown
    return new Promise((resolve, reject) => {
      const isEnough = () =>
        set.length > 0 && set.filter((node) => replies.has(node)).length >= placement.readQuorum
      const settled = () => {
        open--
        if (open === 0 && isEnough()) resolve(replies)
        else if (open === 0) reject(tooFew(failure))
        else if (isEnough()) clock.after(GRACE_MS, () => resolve(replies))
      }
      if (nodes.length === 0) reject(new CarportError('LayoutNotReady', 'no layout is applied yet'))
      for (const node of nodes) {
        quorum.call(node, METHOD, body, { timeoutMs: TIMEOUT_MS, priority: Priority.high }).then(
          (reply) => {
            try {
              replies.set(node, parseReply(reply.body))
            } catch (error) {
              failure ??= error
            }
            settled()
          },
          (error) => {
            failure ??= error
            settled()
          },
        )
      }
    })
  }

  /**
   * [bucket, partition key, start, end | null, clock, limit] → [own origin | null, up to which time all of its dots are told,
   * [sort key, origin, time] of each item, whether there are more]
   */
  #serve(body: unknown): RpcReply | Promise<RpcReply> {
    if (!Array.isArray(body) || body.length !== 6) throw malformed(METHOD)
    const [bucket, partitionKey, start, end, clock, limit] = body as unknown[]
    if (!Buffer.isBuffer(bucket) || bucket.length !== 16 || !Buffer.isBuffer(partitionKey))
      throw malformed(METHOD)
    if (!Buffer.isBuffer(start) || !(end === null || Buffer.isBuffer(end))) throw malformed(METHOD)
    if (!Number.isInteger(limit) || (limit as number) < 0) throw malformed(METHOD)
    checkKeys(partitionKey, start)
    const { db, placement, transport } = this.env
    const partition = bucketPartition(bucket)
    if (!placement.storageSet(partition).includes(transport.self)) {
      throw new CarportError('LayoutNotReady', 'this node does not hold that bucket')
    }
    this.items.checkVote(bucket)
    const own = originIn(db, partition)
    const origin = own === undefined ? null : originBytes(own)
    const durable = (reply: unknown[]) => this.items.local.whenDurable(bucket, { body: reply })
    if (limit === 0) return durable([origin, own === undefined ? 0 : lastIn(db), [], false])
    const seen = decodeClock(clock)
    const query = {
      ...{ bucket, partitionKey, seen, start, end: end ?? undefined },
      limit: Math.min(limit as number, CHANGES_MAX),
    }
    const found = inTurns(findCommits(db, query, own), this.env.clock)
    const answer = (changes: Awaited<typeof found>) =>
      durable([
        origin,
        own === undefined ? 0 : timeOf(changes.covered, own),
        changes.found.map(({ sortKey, origin, time }) => [sortKey, originBytes(origin), time]),
        changes.more,
      ])
    return found instanceof Promise ? found.then(answer) : answer(found)
  }
}

function parseReply(body: unknown): Reply {
  const malformedReply = () => new CarportError('RemoteError', 'a replica sent a malformed list of changes')
  if (!Array.isArray(body) || body.length !== 4 || !Array.isArray(body[2])) throw malformedReply()
  const [origin, covered, items, more] = body as [unknown, unknown, unknown[], unknown]
  if (!Number.isSafeInteger(covered)) throw malformedReply()
  const found = items.map((item): Found => {
    if (!Array.isArray(item) || !Buffer.isBuffer(item[0]) || !Buffer.isBuffer(item[1])) throw malformedReply()
    if (!Number.isSafeInteger(item[2])) throw malformedReply()
    return { sortKey: item[0], origin: item[1].toString('latin1'), time: item[2] }
  })
  return {
    origin: Buffer.isBuffer(origin) ? origin.toString('latin1') : undefined,
    covered: covered as number,
    found,
    more: more === true,
  }
}

function tooFew(cause: unknown): CarportError {
  return new CarportError('QuorumUnavailable', `${METHOD}: too few replicas answer`, { cause })
}
