import type { ConsistencyMode } from '../src/cluster/layout/view.js'
import type { RegisterOp } from './register-check.js'
import type { RegisterHistory } from './register-history.js'

/** A register of which nobody has written anything. */
const NOTHING = { value: null, callAt: -1, returnAt: -1 }

/**
 * What registers must be in the modes in which reads ask one replica, and may be old:
 *  - no read shows what nobody had begun to write;
 *  - once all replicas are equal, all nodes show the same;
 *  - 'degraded': that was not overwritten. No acknowledged write began after it was acknowledged;
 *  - 'dangerous': it was written. Clocks decide which of two acknowledged writes is the later one.
 * @param restAt the moment after which all replicas were equal
 */
export function checkEventual(history: RegisterHistory, mode: ConsistencyMode, restAt: number): string[] {
  return history.registers().flatMap((register) => {
    const ops = history.of(register)
    const writes = ops.filter(({ kind }) => kind === 'write' || kind === 'change')
    const reads = ops.filter(({ kind, returnAt }) => kind === 'read' && returnAt !== undefined)
    const made = new Map(writes.map((op) => [op.value, op]))
    const problems = reads
      .filter(
        ({ value, returnAt }) => value !== null && !((made.get(value)?.callAt ?? returnAt!) < returnAt!),
      )
      .map(({ value, note }) => `${register}: nobody wrote ${value}, which was read: ${note}`)
    const shown = new Set(reads.filter(({ callAt }) => callAt > restAt).map(({ value }) => value))
    if (shown.size > 1) problems.push(`${register}: nodes show ${[...shown].join(' and ')} in the end`)
    const acknowledged = writes.filter(({ returnAt }) => returnAt !== undefined)
    for (const value of shown) {
      const sources = [
        ...writes,
        ...(mode === 'dangerous' && acknowledged.length > 0 ? [] : [NOTHING]),
      ].filter((op) => op.value === value)
      if (mode === 'dangerous' ? sources.length > 0 : sources.some((op) => isLast(op, acknowledged))) continue
      problems.push(`${register}: ${value ?? 'nothing'} is shown in the end, which was overwritten`)
    }
    return problems
  })
}

/** Whether no acknowledged write began after this one was acknowledged. */
function isLast({ returnAt }: Pick<RegisterOp, 'returnAt'>, acknowledged: readonly RegisterOp[]): boolean {
  return returnAt === undefined || acknowledged.every(({ callAt }) => callAt < returnAt)
}
