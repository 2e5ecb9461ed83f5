import type { Placement } from '../cluster/placement.js'
import type { Db } from '../db/db.js'
import type { RpcReply, Transport } from '../net/transport.js'
import { type Clock, sleep } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { LocalTable } from './local.js'
import { methodOf } from './replica.js'
import { replicasOf } from './replicas.js'
import { HASH_BYTES, LEAF_COUNT } from './row-keys.js'
import { type WireRow, wireBytes } from './rows.js'
import { copyOf, type Standing } from './standing.js'

/** Most bytes and rows in one message of repair. */
export const REPAIR_BYTES_MAX = 1 << 20
export const REPAIR_ROWS_MAX = 200
/** Most (key, hash) pairs in one message. */
export const HASHES_MAX = 2000
/** Most partitions whose roots are compared in one message. */
export const ROOTS_MAX = 32

/** Partitions that are not empty, whose roots are made between two yields to the event loop. */
export const ROOTS_AT_ONCE = 2

/** Reads [leaf u16 BE][fingerprint] pairs. @throws CarportError RemoteError */
export function parseLeaves(leaves: unknown): Map<number, Buffer> {
  if (!Buffer.isBuffer(leaves) || leaves.length % (2 + HASH_BYTES) !== 0) {
    throw new CarportError('RemoteError', 'malformed leaves')
  }
  const byLeaf = new Map<number, Buffer>()
  for (let at = 0; at < leaves.length; at += 2 + HASH_BYTES) {
    byLeaf.set(leaves.readUInt16BE(at), leaves.subarray(at + 2, at + 2 + HASH_BYTES))
  }
  return byLeaf
}

/** Serves what anti-entropy and the collection of tombstones ask of a table's copy on this node. */
export class RepairReplica<E> {
  readonly #name: string

  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: { db: Db; transport: Transport; placement: Placement; clock: Clock },
    private readonly standing: Standing,
  ) {
    this.#name = local.schema.name
    const { transport } = env
    transport.handle(methodOf(this.#name, 'roots'), (body) => this.#roots(body))
    transport.handle(methodOf(this.#name, 'leaves'), (body) => this.#leaves(body))
    transport.handle(methodOf(this.#name, 'hashes'), (body) => this.#hashes(body))
    transport.handle(methodOf(this.#name, 'pull'), (body) => this.#pull(body))
    transport.handle(methodOf(this.#name, 'check'), (body) => this.#check(body))
  }

  /** [[partition, root | null], ...] → [partitions that differ, partitions this node does not hold] */
  async #roots(body: unknown): Promise<RpcReply> {
    if (!Array.isArray(body) || body.length > ROOTS_MAX) throw this.#malformed('roots')
    const differ: number[] = []
    const refused: number[] = []
    let present = 0
    for (const item of body as unknown[]) {
      if (!Array.isArray(item) || !(item[1] === null || Buffer.isBuffer(item[1])))
        throw this.#malformed('roots')
      const partition = this.#partition(item[0])
      if (!this.#holds(partition)) {
        refused.push(partition)
        continue
      }
      const root = this.local.root(this.env.db, partition)
      if (root && ++present % ROOTS_AT_ONCE === 0) await sleep(this.env.clock, 0)
      if (root ? !(item[1]?.equals(root) ?? false) : item[1] !== null) differ.push(partition)
    }
    return { body: [differ, refused] }
  }

  /** [partition] → concatenated [leaf u16][fingerprint] */
  #leaves(body: unknown): RpcReply {
    if (!Array.isArray(body)) throw this.#malformed('leaves')
    return { body: this.local.leaves(this.env.db, this.#held(body[0])) }
  }

  /** [partition, leaves, index key to go on after | null] → [row keys, concatenated hashes, next | null] */
  #hashes(body: unknown): RpcReply {
    if (!Array.isArray(body) || !Array.isArray(body[1]) || !(body[2] === null || Buffer.isBuffer(body[2]))) {
      throw this.#malformed('hashes')
    }
    const partition = this.#held(body[0])
    const leaves = body[1] as unknown[]
    for (const leaf of leaves) {
      if (!Number.isInteger(leaf) || (leaf as number) < 0 || (leaf as number) >= LEAF_COUNT) {
        throw this.#malformed('hashes')
      }
    }
    const bounds = { after: (body[2] as Buffer | null) ?? undefined, limit: HASHES_MAX }
    const found = this.local.hashes(this.env.db, partition, leaves as number[], bounds)
    return { body: [found.keys, Buffer.concat(found.hashes), found.next ?? null] }
  }

  /** [row keys] → rows (null for absent ones) for as many of the first keys as fit, at least one */
  #pull(body: unknown): RpcReply {
    if (!Array.isArray(body) || !Array.isArray(body[0])) throw this.#malformed('pull')
    const rows: (WireRow | null)[] = []
    let bytes = 0
    for (const value of body[0] as unknown[]) {
      const key = this.local.codec.checkRowKey(value)
      const stored = this.local.encoded(this.env.db, key)
      const row = stored ? this.local.codec.wire(key, stored.head, stored.body) : null
      bytes += row ? wireBytes(row) : 1
      if (rows.length > 0 && (bytes > REPAIR_BYTES_MAX || rows.length >= REPAIR_ROWS_MAX)) break
      rows.push(row)
    }
    return { body: rows }
  }

  /**
   * [row keys, concatenated hashes] → positions of the rows that this node does not durably hold with that hash.
   * Read in a transaction, which begins only when those before it are on the disk.
   */
  async #check(body: unknown): Promise<RpcReply> {
    const items = this.#keysAndHashes(body, 'check')
    const different = await this.env.db.transact((tx) => {
      const positions: number[] = []
      for (const [i, { key, hash }] of items.entries()) {
        if (!this.local.holdsHash(tx, key, hash)) positions.push(i)
      }
      return positions
    })
    return { body: different }
  }

  #keysAndHashes(body: unknown, method: string): { key: Buffer; hash: Buffer }[] {
    if (!Array.isArray(body) || !Array.isArray(body[0]) || !Buffer.isBuffer(body[1]))
      throw this.#malformed(method)
    const keys = body[0] as unknown[]
    const hashes = body[1]
    if (keys.length > HASHES_MAX || hashes.length !== keys.length * HASH_BYTES) throw this.#malformed(method)
    return keys.map((key, i) => ({
      key: this.local.codec.checkRowKey(key),
      hash: hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
    }))
  }

  /** Whether this node's copy may be compared with: it holds the partition, and the copy is whole. */
  #holds(partition: number): boolean {
    const { placement, transport } = this.env
    const { schema } = this.local
    if (!this.standing.votes(copyOf(schema, partition))) return false
    return schema.placement === 'full' || replicasOf(placement, schema, partition).includes(transport.self)
  }

  /** @throws CarportError LayoutNotReady if this node does not hold the partition: its copy may be half dropped. */
  #held(value: unknown): number {
    const partition = this.#partition(value)
    if (this.#holds(partition)) return partition
    throw new CarportError('LayoutNotReady', `partition ${partition} is not on this node`)
  }

  #partition(value: unknown): number {
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255) return value as number
    throw new CarportError('InvalidArgument', 'partitions are 0 to 255')
  }

  #malformed(method: string): CarportError {
    return new CarportError('InvalidArgument', `malformed ${methodOf(this.#name, method)}`)
  }
}
