/** The rows of the model, their order, and the rules that follow from it. */

/** Mistakes that the model can make on purpose, to show that its checks find them. */
export const FLAWS = [
  'promise not durable',
  'promise dropped early',
  'accept without check',
  'push that bypasses promises',
  'epoch that spans one phase',
  'own finished attempt taken for another',
  'base that no quorum has',
  'version of a losing proposal kept',
  'version of a base dropped',
  'refused proposal not withdrawn',
  'fate by what one quorum had',
  'row under another ballot counts as taken',
] as const
export type Flaw = (typeof FLAWS)[number]

export interface Row {
  readonly time: number
  readonly root: string
  readonly generation: number
  readonly ballot: number
  /** Of the proposal; other ballots may repeat it. */
  readonly id: string
  /** The content; null: deleted. */
  readonly value: string | null
  /** The ids of the row's bases, the newest first. */
  readonly lineage: readonly string[]
}

export const NOTHING: Row = { time: 0, root: '', generation: 0, ballot: 0, id: '', value: null, lineage: [] }
/** So few that runs go beyond it. */
export const LINEAGE_MAX = 2

export function compareRows(a: Row, b: Row): number {
  if (a.time !== b.time) return a.time - b.time
  if (a.root !== b.root) return a.root < b.root ? -1 : 1
  return a.generation - b.generation || a.ballot - b.ballot
}

export const isSame = (a: Row, b: Row) => compareRows(a, b) === 0
export const isOfChain = (a: Row, b: Row) => a.time === b.time && a.root === b.root
export const newestOf = (rows: readonly Row[]) => rows.reduce((a, b) => (compareRows(b, a) > 0 ? b : a))
export const nameOf = (row: Row) => `${row.time}/${row.root}/${row.generation}/${row.ballot}`

/** Whether a noncurrent version was never chosen, since another proposal for the same place had a later ballot. */
export function isBeaten(row: Row, other: Row): boolean {
  return (
    row.id !== other.id &&
    isOfChain(row, other) &&
    row.generation === other.generation &&
    row.ballot < other.ballot
  )
}

/** What became of a proposal by what rows tell, once `base` is on a quorum that promised a later ballot. */
export function fateByRows(proposal: Row, base: Row): 'chosen' | 'dead' | 'open' | 'unknown' {
  if (base.id === proposal.id) return 'chosen'
  if (isOfChain(proposal, base)) {
    const back = base.generation - proposal.generation
    // What was judged on the same base now has a later ballot than the proposal.
    if (back < 0) return 'open'
    if (back > base.lineage.length) return 'unknown'
    return back > 0 && base.lineage[back - 1] === proposal.id ? 'chosen' : 'dead'
  }
  return 'unknown'
}
