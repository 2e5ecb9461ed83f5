/** One operation of a client on a register with conditional writes, and what came of it. */
export interface ModelOp {
  readonly kind: 'read' | 'put' | 'delete' | 'create' | 'replace' | 'delete-if'
  /** The value written, of which each is written by one operation only; null for deletions and reads. */
  readonly value: string | null
  /** What 'replace' and 'delete-if' expect to find. */
  readonly expected: string | null
  readonly callAt: number
  /** Undefined if no answer came, or none that says what happened. */
  returnAt: number | undefined
  outcome: Outcome | undefined
  /** Whether it took effect, if that is known from elsewhere. */
  hasEffect?: boolean
}

export type Outcome =
  /** A write took effect. */
  | { kind: 'done' }
  /** A condition did not hold. */
  | { kind: 'refused' }
  /** A conditional write did nothing, since others were in its way. */
  | { kind: 'conflict' }
  /** A read. */
  | { kind: 'value'; value: string | null }
  | { kind: 'unknown' }

const OPS_MAX = 30

/**
 * Whether a register that begins empty can have answered like that: whether there is an order of the answered operations,
 * and of some of the others, in which each takes effect between its call and its answer. By brute force, for few operations.
 */
export function possibleHistory(ops: readonly ModelOp[]): boolean {
  if (ops.length > OPS_MAX) throw new RangeError(`at most ${OPS_MAX} operations`)
  let all = 0
  for (const [i, op] of ops.entries()) if (op.returnAt !== undefined || op.hasEffect) all |= 1 << i
  const seen = new Set<string>()
  const search = (done: number, value: string | null): boolean => {
    if ((done & all) === all) return true
    const state = `${done} ${value}`
    if (seen.has(state)) return false
    seen.add(state)
    let deadline = Number.POSITIVE_INFINITY
    for (const [i, { returnAt }] of ops.entries()) {
      if ((done & (1 << i)) === 0 && returnAt !== undefined) deadline = Math.min(deadline, returnAt)
    }
    return ops.some((op, i) => {
      if ((done & (1 << i)) !== 0 || op.callAt > deadline) return false
      const next = effectOf(op, value)
      return next !== undefined && search(done | (1 << i), next.value)
    })
  }
  return search(0, null)
}

/** The value after an operation; undefined if it cannot have found this one. */
function effectOf(op: ModelOp, value: string | null): { value: string | null } | undefined {
  const { kind, outcome } = op
  if (kind === 'read') return outcome?.kind === 'value' && outcome.value === value ? { value } : undefined
  if (kind === 'put' || kind === 'delete') return op.hasEffect === false ? undefined : { value: op.value }
  const holds = kind === 'create' ? value === null : value !== null && value === op.expected
  if (outcome?.kind === 'refused') return holds ? undefined : { value }
  return holds && op.hasEffect !== false ? { value: op.value } : undefined
}
