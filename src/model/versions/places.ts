import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db, Reader, Tx } from '../../db/db.js'
import { Priority, type Transport } from '../../net/transport.js'
import { CarportError } from '../../util/errors.js'
import { NONCE_BYTES, type VersionId } from '../content/refs.js'
import { bucketPartition } from '../sort-keys.js'
import { placeKeyOf } from './chain.js'
import type { VersionRecord } from './record.js'

/** Place in a chain (see placeKeyOf) → whether it is a null version, and the id of the noncurrent version there */
export const PLACE_TREE = 'model:places'

/** Tells which noncurrent version a node has at a place. */
const METHOD = 'model/place'
const TIMEOUT_MS = 5_000
const PLACE_KEY_BYTES = 16
const ID_BYTES = 8 + NONCE_BYTES

/** A noncurrent version of some place. */
export interface Rival {
  id: VersionId
  isNull: boolean
}

/** Which noncurrent versions that were written on a condition have which place in their chains, on this node and on others. */
export class Places {
  constructor(
    private readonly deps: {
      db: Db
      transport: Pick<Transport, 'handle'>
      quorum: QuorumCaller
      placement: Placement
    },
  ) {
    deps.transport.handle(METHOD, async (body) => {
      if (!Buffer.isBuffer(body) || body.length !== PLACE_KEY_BYTES)
        throw new CarportError('InvalidArgument', 'malformed question about a place')
      return { body: deps.db.get(PLACE_TREE, body) ?? null }
    })
  }

  /** In the transaction in which a version became a noncurrent one. @returns another one that has its place here */
  placed(tx: Tx, version: VersionRecord): Rival | undefined {
    const place = placeKeyOf(version)
    const other = at(tx, place)
    if (!other) tx.put(PLACE_TREE, place, Buffer.concat([Buffer.of(version.isNull ? 1 : 0), version.id]))
    return other && !other.id.equals(version.id) ? other : undefined
  }

  /** In the transaction in which a noncurrent version went. */
  unplaced(tx: Tx, version: VersionRecord): void {
    const place = placeKeyOf(version)
    if (at(tx, place)?.id.equals(version.id)) tx.delete(PLACE_TREE, place)
  }

  /**
   * Another noncurrent version of a row's place on any of its replicas.
   * @throws CarportError QuorumUnavailable if none of those that answered has one, but not all answered
   */
  async rivalOf(row: VersionRecord): Promise<Rival | undefined> {
    const { quorum, placement } = this.deps
    const place = placeKeyOf(row)
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.background }
    const replicas = placement.storageSet(bucketPartition(row.bucket))
    const answers = await Promise.allSettled(
      replicas.map(async (node) => parse((await quorum.call(node, METHOD, place, options)).body)),
    )
    for (const answer of answers)
      if (answer.status === 'fulfilled' && answer.value && !answer.value.id.equals(row.id))
        return answer.value
    const failed = answers.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined
    if (!failed) return undefined
    const { reason: cause } = failed
    throw new CarportError('QuorumUnavailable', 'not all replicas tell what has the place of a row', {
      cause,
    })
  }
}

function at(reader: Reader, place: Buffer): Rival | undefined {
  const value = reader.get(PLACE_TREE, place)
  return value && rivalIn(value)
}

function rivalIn(value: Buffer): Rival {
  return { id: value.subarray(1), isNull: value[0] === 1 }
}

/** @throws CarportError RemoteError */
function parse(body: unknown): Rival | undefined {
  if (body === null) return undefined
  if (Buffer.isBuffer(body) && body.length === 1 + ID_BYTES) return rivalIn(body)
  throw new CarportError('RemoteError', 'a replica sent a malformed version of a place')
}
