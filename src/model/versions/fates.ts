import { callNearest, isOutside } from '../../cluster/outside.js'
import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import { Priority, type Transport } from '../../net/transport.js'
import type { Table } from '../../table/table.js'
import { CarportError } from '../../util/errors.js'
import { timeOfId } from '../content/refs.js'
import { bucketPartition } from '../sort-keys.js'
import type { Contests } from './contests.js'
import type { VersionRecord } from './record.js'
import { type ConditionalRow, tookEffect } from './row-fate.js'

const METHOD = 'model/fate'
const TIMEOUT_MS = 10_000
const EMPTY = Buffer.alloc(0)

type Fate = 'yes' | 'no' | 'open'

/** Finds out what became of rows that were written on a condition, also on a node that has left the layout and may ask no quorum. */
export class Fates {
  constructor(
    private readonly deps: {
      objects: Table<VersionRecord>
      versions: Table<VersionRecord>
      contests: Pick<Contests, 'isOld' | 'isSettled'>
      transport: Pick<Transport, 'handle'>
      quorum: QuorumCaller
      placement: Placement
    },
  ) {
    deps.transport.handle(METHOD, async (body) => ({ body: await this.#find(decode(body)) }))
  }

  /** See tookEffect. @throws CarportError QuorumUnavailable, LayoutNotReady, or that of the last replica that was asked */
  async of(row: ConditionalRow): Promise<Fate> {
    const { placement, quorum } = this.deps
    if (!isOutside(placement)) return this.#find(row)
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.background }
    const replicas = placement.storageSet(bucketPartition(row.bucket))
    const none = new CarportError('LayoutNotReady', 'no other node can tell what became of a row')
    const { body } = await callNearest(quorum, replicas, METHOD, encode(row), options, none)
    if (body === 'yes' || body === 'no' || body === 'open') return body
    throw new CarportError('RemoteError', 'a replica sent a malformed fate of a row')
  }

  #find(row: ConditionalRow): Promise<Fate> {
    const { contests } = this.deps
    const timeUs = timeOfId(row.id)
    return tookEffect(this.deps, row, {
      isSettled: contests.isSettled(timeUs),
      isOld: contests.isOld(timeUs),
    })
  }
}

function encode({ bucket, key, timeUs, generation, id, isNull, chain }: ConditionalRow): unknown[] {
  return [bucket, key, timeUs, generation, id, isNull, chain?.root ?? EMPTY]
}

/** @throws CarportError InvalidArgument */
function decode(body: unknown): ConditionalRow {
  const [bucket, key, timeUs, generation, id, isNull, root] = Array.isArray(body) ? (body as unknown[]) : []
  const isSane =
    [bucket, id, root].every((bytes) => Buffer.isBuffer(bytes) && bytes.length === 16) &&
    Buffer.isBuffer(key) &&
    Number.isSafeInteger(timeUs) &&
    Number.isSafeInteger(generation) &&
    typeof isNull === 'boolean'
  if (!isSane) throw new CarportError('InvalidArgument', 'malformed question about a row')
  const place = { bucket: bucket as Buffer, key: key as Buffer, isNull: isNull as boolean }
  const chain = { root: root as Buffer, ballot: EMPTY, lineage: EMPTY }
  return { ...place, timeUs: timeUs as number, generation: generation as number, id: id as Buffer, chain }
}
