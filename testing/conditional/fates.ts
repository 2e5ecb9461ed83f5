import { type Flaw, fateByRows, type Row } from './rows.js'

/** What a replica remembers of a client's proposals. */
export interface Told {
  /** By id: the ballots under which it had the row. */
  readonly under: ReadonlyMap<string, ReadonlySet<number>>
  /** It takes no row with an earlier ballot from now on. */
  readonly below: number
  /** What it had under earlier ballots than this one it may have forgotten by a restart. */
  readonly remembersFrom: number
}

/** A row that a client proposed, with what it heard of it; see Proposals in src/table/fates.ts. */
export class ModelProposal {
  isDead = false
  readonly #under = new Map<number, Set<number>>()
  /** The replicas that had it under no other ballots before that one. */
  readonly #below = new Map<number, number>()

  constructor(
    readonly row: Row,
    readonly stage: number,
  ) {}

  voted(node: number, ballot: number): void {
    this.#ballots(node).add(ballot)
  }

  heard(node: number, { under, below, remembersFrom }: Told): void {
    const { id, ballot } = this.row
    const ballots = under.get(id)
    if (!ballots) return
    for (const of of ballots) this.voted(node, of)
    if (ballot >= remembersFrom) this.#below.set(node, Math.max(below, this.#below.get(node) ?? 0))
  }

  /** @param promised the ballot that a quorum of each set promised last @param wasThere whether it had the base when it did */
  fate(
    base: Row,
    { stage, writeSets }: { stage: number; writeSets: readonly (readonly number[])[] },
    promised: number,
    wasThere: boolean,
    quorum: number,
    flaw: Flaw | undefined,
  ): 'chosen' | 'dead' | 'open' | 'unknown' {
    if (this.isDead) return 'dead'
    const fate = fateByRows(this.row, base)
    if (fate !== 'unknown' || stage !== this.stage) return fate
    const known = new Set([this.row.ballot, ...[...this.#under.values()].flatMap((ballots) => [...ballots])])
    const had = (node: number, ballot: number) => this.#under.get(node)?.has(ballot) === true
    for (const ballot of known) {
      if (writeSets.every((set) => set.filter((node) => had(node, ballot)).length >= quorum)) return 'chosen'
    }
    if (!wasThere) return 'unknown'
    // Readers of earlier releases show what a quorum has, under whichever ballots.
    const mayHave = (node: number) =>
      (this.#under.get(node)?.size ?? 0) > 0 || (this.#below.get(node) ?? 0) < promised
    const ofQuorum = (set: readonly number[]) =>
      [...known, promised].some((ballot) => set.filter((node) => had(node, ballot)).length >= quorum)
    const areMany = (set: readonly number[]) => set.filter(mayHave).length >= quorum
    const may = flaw === 'fate by what one quorum had' ? ofQuorum : areMany
    const isOver = writeSets.every((set) => !may(set))
    return isOver ? 'dead' : 'unknown'
  }

  #ballots(node: number): Set<number> {
    const known = this.#under.get(node)
    if (known) return known
    const ballots = new Set<number>()
    this.#under.set(node, ballots)
    return ballots
  }
}
