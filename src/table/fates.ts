import type { NodeId } from '../net/transport.js'
import type { Clock } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Ballot } from './ballot.js'
import { REMEMBERED_MS } from './promises.js'
import type { Row } from './rows.js'
import type { ConditionalRows } from './schema.js'
import type { Testimony } from './votes.js'

/** How long after the first proposal what replicas do not remember was never there, in ms: with room for late answers. */
const TELLING_MS = REMEMBERED_MS - 20_000

/** What became of the rows that a coordinator proposed before. */
export interface Fates<E> {
  /** The one that took effect. */
  chosen: E | undefined
  /** Those that never did, and never will. */
  dead: E[]
  /** Whether some did not, but others may still finish them. */
  isOpen: boolean
  /** Whether some may have taken effect, as far as those who answered can tell: others may know. */
  isUnknown: boolean
}

/** The moment of an attempt: who votes in it, and how many votes it takes in each set. */
interface Electorate {
  readonly layoutMark: number
  readonly sets: readonly (readonly NodeId[])[]
  readonly needed: readonly number[]
}

interface Proposal<E> {
  readonly row: Row<E>
  readonly ballot: Ballot
  readonly electorate: Electorate
  /** What is known of replicas: under which ballots they had the row, and that these are all before that one. */
  readonly told: Map<NodeId, { under: readonly Ballot[]; below: Ballot | undefined }>
  isDead: boolean
}

/**
 * What one coordinator proposed for a key, with what the replicas told of it. Where the newest row follows from a
 * proposal, or took its place, that row tells what became of it. Where a plain write has covered it, the votes do, which each
 * replica remembers for a minute:
 *  - A proposal took effect if a quorum had it under one ballot.
 *  - It never did, and never will, if so many replicas never had it, under whichever ballots, that no quorum is left: readers of
 *    earlier releases show a row that a quorum has, though each of them has it under another ballot. A replica tells that
 *    of all ballots before the one that it promised last. No later ballot brings the row: whoever prepares one meets the newer
 *    row, *if* a quorum had that when it made the promise. If the row was written back only afterwards, somebody else may have
 *    prepared in between without meeting it; then the replicas have to be asked again.
 *
 * The quorums are those of the attempt that proposed the row, which every other coordinator of that time has one in common with. So
 * nothing is told after a change of the layout.
 */
export class Proposals<E> {
  readonly #all: Proposal<E>[] = []
  /** The processes of replicas that were known before the first proposal: these remember it, if they had it. */
  #witnesses: ReadonlyMap<NodeId, string> = new Map()
  #firstAtMs = 0
  #onHeard = () => {}

  /** @param processes the last known process of each replica, which is kept up to date */
  constructor(
    private readonly rows: ConditionalRows<E>,
    private readonly processes: Map<NodeId, string>,
    private readonly nowMs: () => number,
  ) {}

  get size(): number {
    return this.#all.length
  }

  get entries(): E[] {
    return this.#all.map(({ row }) => row.entry)
  }

  /** To be called before the row is sent to anybody. */
  add(row: Row<E>, ballot: Ballot, electorate: Electorate): void {
    if (this.#all.length === 0) {
      this.#witnesses = new Map(this.processes)
      this.#firstAtMs = this.nowMs()
    }
    this.#all.push({ row, ballot, electorate, told: new Map(), isDead: false })
  }

  /** A replica voted for a proposal. @param at its index */
  voted(node: NodeId, at: number): void {
    const { told, ballot } = this.#all[at]!
    this.#tell(told, node, [ballot], undefined)
  }

  /** @param from the index of the first proposal that a replica was asked about */
  heard(node: NodeId, testimony: Testimony | undefined, from = 0): void {
    if (!testimony) return
    const { instance, under, below } = testimony
    this.processes.set(node, instance)
    const isWitness = this.#witnesses.get(node) === instance && this.nowMs() - this.#firstAtMs < TELLING_MS
    for (const [i, ballots] of under.entries()) {
      const proposal = this.#all[from + i]
      if (proposal) this.#tell(proposal.told, node, ballots, isWitness ? below : undefined)
    }
    this.#onHeard()
  }

  /** Waits for another answer. Resolves with false if none comes until a moment, monotonic ms. */
  hearsMore(clock: Pick<Clock, 'after' | 'monotonicMs'>, untilMs: number): Promise<boolean> {
    const waitMs = untilMs - clock.monotonicMs()
    if (waitMs <= 0) return Promise.resolve(false)
    return new Promise((resolve) => {
      const end = (hears: boolean) => {
        timer.cancel()
        this.#onHeard = () => {}
        resolve(hears)
      }
      const timer = clock.after(waitMs, () => end(false))
      this.#onHeard = () => end(true)
    })
  }

  #tell(
    told: Proposal<E>['told'],
    node: NodeId,
    ballots: readonly Ballot[],
    below: Ballot | undefined,
  ): void {
    const before = told.get(node)
    const isLater = below && !(before?.below && before.below.compare(below) > 0)
    told.set(node, {
      under: [...(before?.under ?? []), ...ballots],
      below: isLater ? below : before?.below,
    })
  }

  /**
   * What became of all, now that `base` is on a quorum that has promised a later ballot.
   * @param attempt the electorate that promised, and that ballot
   * @param wasThere whether a quorum had the base when it promised
   */
  fates(base: Row<E> | undefined, attempt: Electorate & { ballot: Ballot }, wasThere: boolean): Fates<E> {
    const fates: Fates<E> = { chosen: undefined, dead: [], isOpen: false, isUnknown: false }
    for (const proposal of this.#all) {
      const { entry } = proposal.row
      const fate = proposal.isDead ? 'dead' : this.#fateOf(proposal, base, attempt, wasThere)
      if (fate === 'chosen') return { ...fates, chosen: entry }
      if (fate === 'open') fates.isOpen = true
      else if (fate === 'unknown') fates.isUnknown = true
      else {
        proposal.isDead = true
        fates.dead.push(entry)
      }
    }
    return fates
  }

  #fateOf(
    proposal: Proposal<E>,
    base: Row<E> | undefined,
    attempt: Electorate & { ballot: Ballot },
    wasThere: boolean,
  ): 'chosen' | 'dead' | 'open' | 'unknown' {
    const fate = base ? this.rows.fateOf(proposal.row.entry, base.entry) : 'open'
    if (fate !== undefined && fate !== 'unknown') return fate
    return isSameElectorate(proposal.electorate, attempt)
      ? fateByVotes(proposal, attempt.ballot, wasThere)
      : 'unknown'
  }
}

/** @param promised the ballot that a quorum promised last */
function fateByVotes<E>(
  { ballot, electorate: { sets, needed }, told }: Proposal<E>,
  promised: Ballot,
  wasThere: boolean,
): 'chosen' | 'dead' | 'unknown' {
  const known = [ballot, ...[...told.values()].flatMap(({ under }) => under)]
  const hadUnder = (node: NodeId, of: Ballot) =>
    told.get(node)?.under.some((each) => each.equals(of)) === true
  const areEnough = (i: number, test: (node: NodeId) => boolean) => sets[i]!.filter(test).length >= needed[i]!
  for (const of of known)
    if (sets.every((_, i) => areEnough(i, (node) => hadUnder(node, of)))) return 'chosen'
  if (!wasThere) return 'unknown'
  /** Whether a replica had the row, or may have had it, or may still get it. */
  const mayHave = (node: NodeId) => {
    const { under = [], below } = told.get(node) ?? {}
    return !below || under.length > 0 || below.compare(promised) < 0
  }
  const isDead = sets.every((_, i) => !areEnough(i, mayHave))
  return isDead ? 'dead' : 'unknown'
}

function isSameElectorate(a: Electorate, b: Electorate): boolean {
  return (
    a.layoutMark === b.layoutMark &&
    a.sets.length === b.sets.length &&
    a.sets.every(
      (set, i) => set.length === b.sets[i]!.length && set.every((node, j) => node === b.sets[i]![j]),
    )
  )
}

export function unknownOutcome(cause: unknown): CarportError {
  return new CarportError('QuorumUnavailable', 'a conditional write may or may not have taken effect', {
    cause,
  })
}
