import type { Told } from './fates.js'
import { compareRows, type Flaw, isOfChain, isSame, NOTHING, nameOf, type Row } from './rows.js'

export type Body =
  | { kind: 'get' }
  | { kind: 'prepare'; ballot: number; mine: readonly string[] }
  | { kind: 'withdraw'; ids: readonly string[] }
  | { kind: 'put' | 'accept' | 'back' | 'push'; row: Row }

export interface Reply {
  node: number
  row?: Row
  votes?: boolean
  /** Refused: to be later than that; `held` by a promise. */
  later?: number
  held?: boolean
  taken?: boolean
  /** What it remembers of the asker's own proposals. */
  told?: Told
}

/** One replica of the key. */
export class ModelReplica {
  row: Row = NOTHING
  promise = 0
  /** Everything that ever was its row, by what orders it; and the ballots of conditional ones by id, forgotten by a restart. */
  readonly was = new Set<string>()
  had = new Map<string, Set<number>>()
  /** Ballots before this one may have been forgotten by a restart. */
  remembersFrom = 0
  /** Versions of before, by id. */
  readonly noncurrent = new Map<string, Row>()
  readonly withdrawn = new Set<string>()

  constructor(
    /** Whether it has all that was acknowledged, so that it counts in reads. */
    public whole: boolean,
    private readonly isVersioned: boolean,
    private readonly flaw: Flaw | undefined,
  ) {}

  serve(body: Body): Omit<Reply, 'node'> {
    const { flaw } = this
    const stored = this.row
    if (body.kind === 'get') return { row: stored, votes: this.whole }
    if (body.kind === 'withdraw') {
      for (const id of body.ids) this.withdrawn.add(id)
      return { taken: true }
    }
    const bound = Math.max(this.promise, stored.ballot, stored.time)
    if (body.kind === 'prepare') {
      if (body.ballot <= bound) return { later: bound, told: this.#told(body.mine, bound) }
      this.promise = body.ballot
      return { row: stored, votes: this.whole, told: this.#told(body.mine, body.ballot) }
    }
    const { row, kind } = body
    const isConditional = row.generation > 0
    if (row.id === stored.id && kind === 'back' && flaw === 'row under another ballot counts as taken')
      return { taken: true }
    if (isSame(stored, row) || (kind !== 'accept' && this.was.has(nameOf(row)))) return { taken: true }
    if (isConditional) {
      const isBypass = kind === 'push' && flaw === 'push that bypasses promises'
      if (kind === 'accept') {
        if (row.ballot < bound && flaw !== 'accept without check')
          return { later: bound, held: true, told: this.#told([row.id], bound) }
        this.promise = Math.max(this.promise, row.ballot)
      } else if (row.ballot < this.promise && !isBypass && compareRows(row, stored) > 0) {
        return { later: bound, held: true }
      }
    }
    if (compareRows(row, stored) > 0) {
      this.store(row)
      return { taken: true }
    }
    if (kind === 'accept') {
      this.#remember(row)
      if (this.isVersioned && !isOfChain(row, stored)) this.keep(row)
      return { taken: true }
    }
    return { later: stored.time }
  }

  store(row: Row): void {
    const before = this.row
    this.was.add(nameOf(before))
    this.was.add(nameOf(row))
    this.row = row
    if (row.generation > 0) this.#remember(row)
    const isEarly = this.flaw === 'promise dropped early'
    if (row.time > this.promise || (isEarly && row.generation === 0)) this.promise = 0
    if (this.isVersioned && this.#stays(before, row)) this.keep(before)
  }

  #remember({ id, ballot }: Row): void {
    this.had.set(id, new Set([...(this.had.get(id) ?? []), ballot]))
  }

  #told(ids: readonly string[], below: number): Told {
    const under = new Map(ids.map((id) => [id, new Set(this.had.get(id))]))
    return { under, below, remembersFrom: this.remembersFrom }
  }

  /** Keeps a version, of two copies the one with the later ballot. Deletions are kept as well, as delete markers. */
  keep(row: Row): void {
    if (row !== NOTHING) keepLater(this.noncurrent, row)
  }

  /** Whether a row that is replaced was current once, and becomes a noncurrent version. */
  #stays(before: Row, after: Row): boolean {
    if (before.id === after.id) return false
    if (!isOfChain(before, after)) return true
    const back = after.generation - before.generation
    if (this.flaw === 'version of a base dropped') return back === 0
    if (back === 0) return false
    // Beyond what the lineage tells, it is kept: better a version too much than one that was acknowledged too few.
    return back > after.lineage.length || after.lineage[back - 1] === before.id
  }
}

export function keepLater(versions: Map<string, Row>, row: Row): void {
  const known = versions.get(row.id)
  if (!known || known.ballot < row.ballot) versions.set(row.id, row)
}
