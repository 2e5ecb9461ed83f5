import { describe, expect, it } from 'vitest'
import { RegisterHistory } from './register-history.js'
import { checkEventual } from './sim-eventual.js'

/** Two acknowledged writes, one after the other; then what each node shows in the end. */
function historyOf(shown: readonly (string | null)[], isLastAnswered = true): [RegisterHistory, number] {
  const history = new RegisterHistory()
  history.answered(history.call('key', 'write', 'first', ''))
  const last = history.call('key', 'write', 'last', '')
  if (isLastAnswered) history.answered(last)
  else history.unanswered(last)
  // A read of one replica that has missed the last one.
  history.answered(history.call('key', 'read', null, 'meanwhile'), 'first')
  const restAt = history.moment()
  for (const value of shown) history.answered(history.call('key', 'read', null, 'at the end'), value)
  return [history, restAt]
}

const problemsOf = (mode: 'degraded' | 'dangerous', ...[history, restAt]: [RegisterHistory, number]) =>
  checkEventual(history, mode, restAt)

describe('a register in a mode in which reads may be old', () => {
  it('shows the last value in the end; or one of which nobody heard, or the one before that', () => {
    expect(problemsOf('degraded', ...historyOf(['last', 'last']))).toEqual([])
    for (const value of ['first', 'last'])
      expect(problemsOf('degraded', ...historyOf([value, value], false))).toEqual([])
  })

  it('does not show what was overwritten, nor nothing at all', () => {
    for (const value of ['first', null])
      expect(problemsOf('degraded', ...historyOf([value]))).toMatchObject([
        expect.stringContaining('overwritten'),
      ])
  })

  it('shows in "dangerous" what clocks take for the later one, but something', () => {
    expect(problemsOf('dangerous', ...historyOf(['first']))).toEqual([])
    expect(problemsOf('dangerous', ...historyOf([null]))).toHaveLength(1)
  })

  it('is the same on all nodes, and was written by somebody', () => {
    const [history, restAt] = historyOf(['last', 'first'])
    expect(problemsOf('dangerous', history, restAt)).toMatchObject([expect.stringContaining('nodes show')])
    history.answered(history.call('key', 'read', null, ''), 'never')
    expect(problemsOf('dangerous', history, restAt).join()).toContain('nobody wrote never')
  })
})
