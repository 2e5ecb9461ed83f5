import type { Db } from '../../../db/db.js'
import { blockOwner } from '../../../model/content/refs.js'
import type { Model } from '../../../model/model.js'
import { headId, isLiveHead } from '../../../model/versions/codec.js'
import type { LocalTable } from '../../../table/local.js'
import { successor } from '../../../table/row-keys.js'
import { type Clock, sleep } from '../../../util/clock.js'
import { CarportError } from '../../../util/errors.js'

/** An owner of block references: a version of an object, or a part of an upload. */
export type Owner = {
  /** The id of the version or part; `blockOwner` derives from it the owner in the block_ref table. */
  id: Buffer
  /** False if it is deleted but not yet forgotten. */
  live: boolean
  bucket: Buffer
  key: Buffer
} & ({ kind: 'version'; isNull: boolean } | { kind: 'part'; uploadId: Buffer })

export interface Owners {
  /** By the name of the owner in the block_ref table, in hexadecimal digits. */
  found: Map<string, Owner>
  /** Whether every node answered: only then does an owner that was not found not exist. */
  complete: boolean
}

/** The largest number of ids in one search. */
export const OWNERS_MAX = 10_000
/** The number of rows read between two turns of the event loop. */
const BATCH_ROWS = 500

/**
 * Looks for owners (as the block_ref table has them) among the rows of this node. References carry only the
 * id of their owner, and no index leads from it to the row: this reads every row once, in small steps, and is
 * for operators only.
 */
export async function findLocalOwners(
  { db, model, clock }: { db: Db; model: Model; clock: Clock },
  owners: readonly Buffer[],
  signal?: AbortSignal,
): Promise<Map<string, Owner>> {
  const wanted = new Set(owners.map(binary))
  const found = new Map<string, Owner>()
  const add = (owner: Owner) => {
    addOwner(found, owner)
    if (owner.live) wanted.delete(binary(blockOwner(owner.id)))
  }
  for (const { local } of [model.tables.object, model.tables.version]) {
    for await (const head of heads(db, clock, local, signal)) {
      if (wanted.size === 0) return found
      if (!wanted.has(binary(blockOwner(headId(head))))) continue
      const { id, bucket, key, isNull } = local.codec.decodeStored(head, () => undefined)
      add({ kind: 'version', id, live: isLiveHead(head), bucket, key, isNull })
    }
  }
  const { local } = model.tables.part
  for await (const head of heads(db, clock, local, signal)) {
    if (wanted.size === 0) return found
    const part = local.codec.decodeStored(head, () => undefined)
    if (!wanted.has(binary(blockOwner(part.id)))) continue
    const { id, bucket, key, uploadId } = part
    add({ kind: 'part', id, live: !part.deleted, bucket, key, uploadId })
  }
  return found
}

/** Adds an owner; one that is live replaces the trace of a deleted one. */
export function addOwner(found: Map<string, Owner>, owner: Owner): void {
  const name = blockOwner(owner.id).toString('hex')
  if (owner.live || !found.has(name)) found.set(name, owner)
}

/** The heads of all rows of a table; the event loop gets turns in between. */
async function* heads<E>(
  db: Db,
  clock: Clock,
  local: LocalTable<E>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let start: Buffer | undefined
  for (;;) {
    const batch = [...local.walk(db, { ...(start && { start }), limit: BATCH_ROWS })]
    for (const { head } of batch) yield head
    if (batch.length < BATCH_ROWS) return
    start = successor(batch.at(-1)!.rowKey)
    await sleep(clock, 1, signal)
  }
}

function binary(id: Buffer): string {
  return id.toString('latin1')
}

/** Owners in the form in which they are sent. */
export function encodeOwners(owners: Iterable<Owner>): unknown[] {
  return [...owners].map((owner) => [
    owner.id,
    owner.live,
    owner.bucket,
    owner.key,
    owner.kind === 'part' ? owner.uploadId : owner.isNull,
  ])
}

/** @throws CarportError InvalidArgument */
export function decodeOwners(body: unknown): Owner[] {
  const malformed = new CarportError('InvalidArgument', 'malformed list of owners')
  if (!Array.isArray(body)) throw malformed
  return body.map((item: unknown): Owner => {
    if (!Array.isArray(item)) throw malformed
    const [id, live, bucket, key, extra] = item as unknown[]
    if (!isId(id) || typeof live !== 'boolean' || !isId(bucket) || !Buffer.isBuffer(key)) throw malformed
    const base = { id, live, bucket, key }
    if (typeof extra === 'boolean') return { ...base, kind: 'version', isNull: extra }
    if (isId(extra)) return { ...base, kind: 'part', uploadId: extra }
    throw malformed
  })
}

/** Checks the body of a search. @throws CarportError InvalidArgument */
export function decodeOwnerIds(body: unknown): Buffer[] {
  if (!Array.isArray(body) || body.length > OWNERS_MAX || !body.every(isId)) {
    throw new CarportError('InvalidArgument', 'malformed list of ids')
  }
  return body
}

function isId(value: unknown): value is Buffer {
  return Buffer.isBuffer(value) && value.length === 16
}
