import type { Reader, Tx } from '../../db/db.js'
import { versioned } from '../../util/format.js'
import type { Random } from '../../util/random.js'
import { readUint53, writeUint53 } from '../../util/uint53.js'
import { ORIGIN_BYTES, type Origin, originBytes } from './causality.js'

/** [0][partition] → the origin of this node's copy; [1] → the time of the last dot made here. */
export const DOTS_TREE = 'k2v:dots'

const LAST_KEY = Buffer.of(1)

const ORIGIN = versioned<Origin>('origin of dots', {
  encode: originBytes,
  writes: 1,
  versions: {
    1: (payload) => {
      if (payload.length !== ORIGIN_BYTES) throw new Error('an origin has 8 bytes')
      return payload.toString('latin1')
    },
  },
})
const TIME = versioned<number>('time of the last dot', {
  encode: (time) => {
    const payload = Buffer.allocUnsafe(8)
    writeUint53(payload, time, 0)
    return payload
  },
  writes: 1,
  versions: { 1: (payload) => readUint53(payload, 0) },
})

/**
 * Makes dots, in the transaction that stores what they name. None is made twice: times only grow, whatever becomes of the
 * rows; and a copy that may not have all that it wrote gets another origin. That is every copy that had to join the others
 * (see Standing): of a new database, of an older one that came back, of a partition that had moved away.
 */
export class DotSource {
  constructor(private readonly random: Random) {}

  /**
   * A dot of this node's copy of a partition, which must be whole.
   * @param nowUs the hybrid logical clock's time
   * @param afterUs the time of the origin that the row knows
   */
  next(
    tx: Tx,
    partition: number,
    nowUs: number,
    afterUs: (origin: Origin) => number,
  ): { origin: Origin; time: number } {
    const origin = this.#originIn(tx, partition)
    const time = Math.max(nowUs, lastIn(tx) + 1, afterUs(origin) + 1)
    tx.put(DOTS_TREE, LAST_KEY, TIME.encode(time))
    return { origin, time }
  }

  #originIn(tx: Tx, partition: number): Origin {
    const known = originIn(tx, partition)
    if (known !== undefined) return known
    const origin = this.random.bytes(ORIGIN_BYTES).toString('latin1')
    tx.put(DOTS_TREE, originKey(partition), ORIGIN.encode(origin))
    return origin
  }

  /** A copy has joined: what it writes from now on is of another origin. */
  renew(tx: Tx, partition: number): void {
    tx.delete(DOTS_TREE, originKey(partition))
  }
}

/** The origin of this node's copy of a partition; undefined before its first dot. */
export function originIn(reader: Reader, partition: number): Origin | undefined {
  const stored = reader.get(DOTS_TREE, originKey(partition))
  return stored && ORIGIN.decode(stored)
}

/** The time of the last dot made here, 0 before the first. */
export function lastIn(reader: Reader): number {
  const stored = reader.get(DOTS_TREE, LAST_KEY)
  return stored ? TIME.decode(stored) : 0
}

function originKey(partition: number): Buffer {
  return Buffer.of(0, partition)
}
