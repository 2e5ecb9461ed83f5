import { pack, unpack } from 'msgpackr'
import type { Db, Tx } from '../db/db.js'
import type { NodeId } from '../net/transport.js'
import { CarportError, errorCode } from '../util/errors.js'
import { versioned } from '../util/format.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import { CLUSTER_TREE } from './peer-store.js'

/**
 * How old a database is, as its node tells its peers: a counter that is raised durably at each start, from time to time,
 * and after each snapshot, with a random number for each step. A database that went back in time (a restored snapshot, an
 * old disk image) shows a smaller counter than its peers remember, or another number at the same step.
 */
export interface Age {
  /** Raised whenever the database turned out to be older than its peers remember: it is then another one. */
  readonly generation: number
  readonly step: number
  readonly nonce: number
}

const OWN_KEY = Buffer.from('database')
const PEER_PREFIX = 'age:'
/** Steps whose numbers are remembered; at one a minute, about a week. */
const NONCES_KEPT = 10_000

interface Stored {
  generation: number
  step: number
  /** The numbers of the last steps, the newest last. */
  nonces: number[]
  completeUpTo: number
}

const FORMAT = versioned<Stored>('age of the database', {
  encode: ({ generation, step, nonces, completeUpTo }) => pack([generation, step, nonces, completeUpTo]),
  writes: 1,
  versions: { 1: decodeOwn },
})
const PEER_FORMAT = versioned<Age>("age of a peer's database", {
  encode: (age) => pack(encodeAge(age)),
  writes: 1,
  versions: { 1: decodePeer },
})

/** Keeps this node's age, and remembers those of its peers. */
export class DatabaseAge {
  #own: Stored = { generation: 0, step: 0, nonces: [0], completeUpTo: 0 }
  readonly #peers = new Map<NodeId, Age>()

  constructor(private readonly env: { db: Db; random: Random; log: Log }) {}

  /**
   * Loads what is stored, or begins, and raises the age.
   * @param layoutVersion the newest version of the stored layout; 0 if there is none, as in a new database
   */
  async start(layoutVersion: number): Promise<void> {
    const { db } = this.env
    const stored = db.get(CLUSTER_TREE, OWN_KEY)
    // A database with a layout and without an age is of an earlier release: its copies are whole.
    this.#own = stored ? FORMAT.decode(stored) : { ...this.#own, completeUpTo: layoutVersion }
    await this.raise()
  }

  /** See Placement. */
  get completeUpTo(): number {
    return this.#own.completeUpTo
  }

  own(): Age {
    const { generation, step, nonces } = this.#own
    return { generation, step, nonce: nonces.at(-1)! }
  }

  /** A new step, durable when this resolves. */
  async raise(): Promise<void> {
    const { step, nonces } = this.#own
    await this.#store({
      ...this.#own,
      step: step + 1,
      nonces: [...nonces, this.#nonce()].slice(-NONCES_KEPT),
    })
  }

  /** In the transaction that stores the cluster's first layout on a database that was there before it. */
  found(tx: Tx, layoutVersion: number): void {
    const founded = { ...this.#own, completeUpTo: layoutVersion }
    tx.put(CLUSTER_TREE, OWN_KEY, FORMAT.encode(founded))
    tx.onCommit(() => {
      this.#own = { ...this.#own, completeUpTo: layoutVersion }
    })
  }

  /** Whether this database is older than, or another one than, what a peer remembers of it. */
  wentBack(remembered: Age): boolean {
    const { generation, step, nonces } = this.#own
    if (remembered.generation !== generation) return remembered.generation > generation
    if (remembered.step > step) return true
    const nonce = nonces.at(remembered.step - step - 1)
    return nonce !== undefined && nonce !== remembered.nonce
  }

  /** Begins a generation after the one that a peer remembers. Nothing that it holds is whole any more. */
  async renew(remembered: Age): Promise<void> {
    const generation = Math.max(this.#own.generation, remembered.generation) + 1
    await this.#store({ generation, step: 1, nonces: [this.#nonce()], completeUpTo: 0 })
  }

  /** The greatest age that a peer told this node. */
  remembered(node: NodeId): Age | undefined {
    const known = this.#peers.get(node)
    if (known) return known
    const stored = this.env.db.get(CLUSTER_TREE, peerKey(node))
    const age = stored && PEER_FORMAT.decode(stored)
    if (age) this.#peers.set(node, age)
    return age
  }

  /** Takes what a peer says of itself; remembered if it is greater than what it said before. */
  hear(node: NodeId, age: Age): void {
    const known = this.remembered(node)
    if (known && compareAges(known, age) >= 0) return
    this.#peers.set(node, age)
    const bytes = PEER_FORMAT.encode(age)
    this.env.db
      .transact((tx) => tx.put(CLUSTER_TREE, peerKey(node), bytes))
      .catch((error: unknown) => {
        if (errorCode(error) !== 'Closed') this.env.log.warn({ node, error }, "could not store a peer's age")
      })
  }

  async #store(own: Stored): Promise<void> {
    await this.env.db.transact((tx) => tx.putRecord(CLUSTER_TREE, OWN_KEY, FORMAT.encode(own)))
    this.#own = own
  }

  #nonce(): number {
    return this.env.random.bytes(4).readUInt32BE()
  }
}

function compareAges(a: Age, b: Age): number {
  return a.generation - b.generation || a.step - b.step
}

/** An age as it is sent. */
export function encodeAge({ generation, step, nonce }: Age): number[] {
  return [generation, step, nonce]
}

/** Reads an age that came from elsewhere; undefined if it is none. */
export function parseAge(value: unknown): Age | undefined {
  if (!Array.isArray(value) || !value.slice(0, 3).every((v) => Number.isSafeInteger(v) && v >= 0))
    return undefined
  if (value.length < 3) return undefined
  return { generation: value[0], step: value[1], nonce: value[2] }
}

function decodeOwn(payload: Buffer): Stored {
  const value: unknown = unpack(payload)
  if (!Array.isArray(value) || !Array.isArray(value[2])) {
    throw new CarportError('Corrupted', 'the stored age of the database cannot be read')
  }
  const [generation, step, nonces, completeUpTo] = value
  return { generation, step, nonces, completeUpTo }
}

function decodePeer(payload: Buffer): Age {
  const age = parseAge(unpack(payload))
  if (!age) throw new CarportError('Corrupted', "the stored age of a peer's database cannot be read")
  return age
}

function peerKey(node: NodeId): Buffer {
  return Buffer.from(PEER_PREFIX + node)
}
