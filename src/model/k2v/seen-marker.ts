import { pack, unpack } from 'msgpackr'
import { CarportError } from '../../util/errors.js'
import {
  decodeClock,
  encodeClock,
  isNewer,
  joinClocks,
  type Origin,
  timeOf,
  type VectorClock,
} from './causality.js'
import { clockOf, type K2vItem } from './item.js'
import { isWithin, type KeyRange } from './ranges.js'

/** Items that a marker lists one by one, at the most. */
const LISTED_MAX = 1000
const FORMAT_BYTE = 1
const TEXT_MAX = 4 << 20

/**
 * What a client of PollRange has seen of a range: all dots that the clock knows, and the listed items up to their clocks.
 * Immutable; each change makes a new one.
 *
 * The clock moves on for an origin up to what its own replica said (`covered`), since that one knows all of its dots. An item
 * that was seen with a later dot is listed until then.
 */
export class SeenMarker {
  private constructor(
    readonly clock: VectorClock,
    /** By sort key (latin1). */
    private readonly listed: ReadonlyMap<string, VectorClock>,
    /** The first sort key of what the first call has not shown yet; undefined once it has shown all. */
    readonly next: Buffer | undefined,
  ) {}

  /** The marker of a client that has seen nothing. No static field: the compiler makes one of it before the class has its name. */
  static nothing(): SeenMarker {
    return new SeenMarker(new Map(), new Map(), undefined)
  }

  /** How many items are listed. */
  get listedCount(): number {
    return this.listed.size
  }

  /** Whether an item has something that this does not know. */
  isNews(item: K2vItem): boolean {
    const clock = clockOf(item)
    if (!isNewer(clock, this.clock)) return false
    const own = this.listed.get(nameOf(item))
    return !own || isNewer(clock, joinClocks(this.clock, own))
  }

  /** What is known once these items were shown. */
  withSeen(items: readonly K2vItem[], covered: VectorClock): SeenMarker {
    const clock = joinClocks(this.clock, covered)
    const listed = new Map(this.listed)
    for (const item of items) {
      const name = nameOf(item)
      const own = listed.get(name)
      listed.set(name, own ? joinClocks(own, clockOf(item)) : clockOf(item))
    }
    return new SeenMarker(clock, listed, this.next).#settled()
  }

  /** The same, of a range within the one that it was made for, where the first call has come to `next`. */
  within(range: KeyRange, next: Buffer | undefined): SeenMarker {
    const listed = [...this.listed].filter(([name]) => isWithin(Buffer.from(name, 'latin1'), range))
    return new SeenMarker(this.clock, new Map(listed), next)
  }

  /**
   * The same, knowing which origins still make dots here: of all others nothing new can come, but what a write that has
   * failed left behind.
   */
  withOrigins(alive: ReadonlySet<Origin>): SeenMarker {
    const ended = new Map<Origin, number>()
    for (const clock of this.listed.values()) {
      for (const [origin, time] of clock) {
        if (!alive.has(origin)) ended.set(origin, Math.max(time, timeOf(ended, origin)))
      }
    }
    return new SeenMarker(joinClocks(this.clock, ended), this.listed, this.next).#settled()
  }

  /** Lists only what the clock does not know; if that is too much, the clock takes it for seen as a whole. */
  #settled(): SeenMarker {
    const listed = [...this.listed].filter(([, clock]) => isNewer(clock, this.clock))
    if (listed.length <= LISTED_MAX) return new SeenMarker(this.clock, new Map(listed), this.next)
    return new SeenMarker(
      listed.reduce((clock, [, own]) => joinClocks(clock, own), this.clock),
      new Map(),
      this.next,
    )
  }

  encode(): string {
    const listed = [...this.listed].map(([name, clock]) => [Buffer.from(name, 'latin1'), encodeClock(clock)])
    const payload = pack([encodeClock(this.clock), listed, this.next ?? null])
    return Buffer.concat([Buffer.of(FORMAT_BYTE), payload]).toString('base64url')
  }

  /** @throws CarportError InvalidArgument */
  static decode(text: string): SeenMarker {
    try {
      if (text.length > TEXT_MAX) throw new Error('too long')
      const bytes = Buffer.from(text, 'base64url')
      const value: unknown = bytes[0] === FORMAT_BYTE ? unpack(bytes.subarray(1)) : undefined
      if (!Array.isArray(value) || value.length !== 3 || !Array.isArray(value[1]))
        throw new Error('malformed')
      const [clock, listed, next] = value as [unknown, unknown[], unknown]
      if (listed.length > LISTED_MAX || !(next === null || Buffer.isBuffer(next)))
        throw new Error('malformed')
      const items = listed.map((entry): [string, VectorClock] => {
        if (!Array.isArray(entry) || !Buffer.isBuffer(entry[0])) throw new Error('malformed')
        return [entry[0].toString('latin1'), decodeClock(entry[1])]
      })
      return new SeenMarker(decodeClock(clock), new Map(items), next ?? undefined)
    } catch (cause) {
      throw new CarportError('InvalidArgument', 'the seen marker is none that this store has given', {
        cause,
      })
    }
  }
}

function nameOf({ sortKey }: K2vItem): string {
  return sortKey.toString('latin1')
}
