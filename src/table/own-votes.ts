import type { Tx } from '../db/db.js'
import type { ReplacedRows } from './replaced.js'
import { rowHashOf } from './row-keys.js'
import type { RowCodec } from './rows.js'

/** Head and body of a row. */
export interface StoredRow {
  readonly head: Buffer
  readonly body: Buffer | undefined
}

/** Rows of one key that are being written by this node. */
interface KeyState {
  readonly votes: Vote[]
  /** Shown instead of the stored row, once one is stored that is not shown yet. */
  instead: { row: StoredRow | undefined } | undefined
  /** Told when something else is shown. */
  waiting: (() => void)[]
}

/** One write of this node to one row that it holds itself, with all tries (see OwnVotes). */
export class Vote {
  /** Heads of all tries, the last one last. */
  readonly heads: Buffer[] = []
  /** The last try counts as soon as it is stored, as any other write. */
  isCast = false
  /** The call of the own replica for the last try is still to come. */
  expected = false
  /** The own replica's calls under way. */
  working = 0
  /** The last try was stored here, and replaced. */
  replaced = false
  ended = false
  #settled: Promise<void> | undefined
  #tell: (() => void) | undefined

  constructor(readonly id: string) {}

  has(head: Buffer): boolean {
    return this.heads.some((each) => each.equals(head))
  }

  isLast(head: Buffer): boolean {
    return this.heads.at(-1)?.equals(head) === true
  }

  /** Resolves when it is known whether the row may be shown. */
  get settled(): Promise<void> {
    this.#settled ??= new Promise((resolve) => {
      this.#tell = resolve
    })
    return this.#settled
  }

  tell(): void {
    this.#tell?.()
  }
}

/**
 * A node that writes a row of which it is a replica itself stores it at once, together with the others, but does not show it
 * before it knows what the others say: until then it answers as if its own message had not arrived yet. So it can
 * take its own vote back when another replica had something later, and nobody can have read the row from it (WriteCall
 * has the argument). After a crash the row is shown: nobody is left then who would write it again.
 *
 * A row of others that is hidden by one that is not shown is not said to be, before the outcome: a read would find neither.
 *
 * Only what goes to clients is held back. Anti-entropy may give the row to other replicas, which counts as if the writer's message
 * had reached them.
 */
export class OwnVotes {
  /** By row key (latin1). */
  readonly #keys = new Map<string, KeyState>()

  constructor(
    private readonly codec: Pick<RowCodec<never>, 'mergeParts'>,
    private readonly replaced: ReplacedRows,
  ) {}

  /** Rows that are being written by this node. */
  get size(): number {
    return this.#keys.size
  }

  begin(rowKey: Buffer): Vote {
    const id = rowKey.toString('latin1')
    const vote = new Vote(id)
    const state = this.#keys.get(id)
    if (state) state.votes.push(vote)
    else this.#keys.set(id, { votes: [vote], instead: undefined, waiting: [] })
    return vote
  }

  /** Another try. @param isCast it is shown as soon as it is stored */
  attempt(vote: Vote, head: Buffer, isCast: boolean): void {
    vote.heads.push(head)
    vote.isCast = isCast
    vote.replaced = false
    vote.expected = true
  }

  /** The row may be shown: a quorum had it. */
  cast(vote: Vote, rowKey: Buffer, row: StoredRow): void {
    if (vote.isCast) return
    vote.isCast = true
    const state = this.#keys.get(vote.id)
    if (state?.instead && state.votes.length > 1) this.#showToo(state, rowKey, row)
    if (vote.replaced) this.replaced.add(rowHashOf(rowKey, row.head))
  }

  /** The write ended, whatever came of it. */
  end(vote: Vote): void {
    vote.ended = true
    vote.tell()
    this.#release(vote)
  }

  /** The vote that an insert of exactly this row belongs to, if it is this node's own call: `done` is due after it. */
  own(rowKey: Buffer, head: Buffer): Vote | undefined {
    const vote = this.#find(rowKey, (each) => each.expected && each.isLast(head))
    if (!vote) return undefined
    vote.expected = false
    vote.working++
    return vote
  }

  done(vote: Vote): void {
    vote.working--
    this.#release(vote)
  }

  /** The vote that decides whether this row is here, if it is not known yet. */
  undecided(rowKey: Buffer, head: Buffer): Vote | undefined {
    return this.#find(rowKey, (vote) => !vote.ended && !(vote.isCast && vote.isLast(head)) && vote.has(head))
  }

  /** Called in the transaction that changes a row. */
  changed(tx: Tx, rowKey: Buffer, before: StoredRow | undefined, after: StoredRow): void {
    const state = this.#keys.get(rowKey.toString('latin1'))
    if (!state) return
    const own = state.votes.find((vote) => !vote.isCast && vote.isLast(after.head))
    if (own) state.instead ??= { row: before }
    else {
      tx.onCommit(() => {
        if (state.instead) this.#show(state, after)
      })
    }
  }

  /**
   * This node voted for a row that its own write, which is not shown yet, hides: it is shown meanwhile, as if that write had
   * not arrived. Called in the transaction of the vote.
   */
  voted(tx: Tx, rowKey: Buffer, row: StoredRow): void {
    const state = this.#keys.get(rowKey.toString('latin1'))
    tx.onCommit(() => {
      if (state?.instead) this.#showToo(state, rowKey, row)
    })
  }

  /** Whether nobody may learn that this row was here before it was replaced. */
  isHeldBack(rowKey: Buffer, head: Buffer): boolean {
    const vote = this.#find(rowKey, (each) => each.has(head) && !(each.isCast && each.isLast(head)))
    if (vote?.isLast(head)) vote.replaced = true
    return vote !== undefined
  }

  /** What is shown instead of the stored row, if anything is. */
  instead(rowKey: Buffer): { row: StoredRow | undefined } | undefined {
    if (this.#keys.size === 0) return undefined
    return this.#keys.get(rowKey.toString('latin1'))?.instead
  }

  /** Resolves when something else is shown of a row for which `instead` has something. */
  nextShown(rowKey: Buffer): Promise<void> {
    const { waiting } = this.#keys.get(rowKey.toString('latin1'))!
    return new Promise((resolve) => void waiting.push(resolve))
  }

  #showToo(state: KeyState, rowKey: Buffer, row: StoredRow): void {
    const shown = state.instead?.row
    this.#show(state, shown ? this.codec.mergeParts(rowKey, shown, row) : row)
  }

  #show(state: KeyState, row: StoredRow): void {
    state.instead = { row }
    for (const tell of state.waiting.splice(0)) tell()
  }

  #find(rowKey: Buffer, test: (vote: Vote) => boolean): Vote | undefined {
    return this.#keys.get(rowKey.toString('latin1'))?.votes.find(test)
  }

  #release(vote: Vote): void {
    if (!vote.ended || vote.working > 0) return
    const state = this.#keys.get(vote.id)
    const at = state?.votes.indexOf(vote) ?? -1
    if (at < 0) return
    state!.votes.splice(at, 1)
    if (state!.votes.length > 0) return
    this.#keys.delete(vote.id)
    for (const tell of state!.waiting) tell()
  }
}
