import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ModelOp, possibleHistory } from './conditional/register.js'
import { checkRegister, type RegisterOp } from './register-check.js'
import { RegisterHistory } from './register-history.js'
import { SeededRandom } from './seeded-random.js'

/** Reads "w a 0 3": kind, value ('-' for nothing), call, return ('?' for none). */
function ops(...lines: string[]): RegisterOp[] {
  return lines.map((line) => {
    const [kind, value, call, end] = line.split(' ')
    return {
      kind: kind === 'w' ? 'write' : 'read',
      value: value === '-' ? null : value!,
      callAt: Number(call),
      returnAt: end === '?' ? undefined : Number(end),
      note: line,
    }
  })
}

const possible = (...lines: string[]) => expect(checkRegister(ops(...lines))).toBeUndefined()
const impossible = (...lines: string[]) => expect(checkRegister(ops(...lines))).toBeDefined()

describe('checkRegister', () => {
  it('takes writes and reads one after the other', () => {
    possible('r - 0 1', 'w a 2 3', 'r a 4 5', 'w b 6 7', 'r b 8 9', 'w - 10 11', 'r - 12 13')
  })

  it('finds a lost write', () => {
    impossible('w a 0 1', 'r - 2 3')
    impossible('w a 0 1', 'w b 2 3', 'r a 4 5')
  })

  it('lets concurrent operations have either order', () => {
    possible('w a 0 5', 'r - 1 2', 'r a 3 4')
    possible('w a 0 5', 'w b 1 4', 'r a 6 7')
    possible('w a 0 5', 'w b 1 4', 'r b 6 7')
  })

  it('finds a read that goes back', () => {
    impossible('w a 0 9', 'r a 1 2', 'r - 3 4')
    impossible('w a 0 9', 'w b 1 10', 'r a 2 3', 'r b 4 5', 'r a 6 7')
  })

  it('finds a value from nowhere, or from the future', () => {
    impossible('r x 0 1')
    impossible('r a 0 1', 'w a 2 3')
  })

  it('lets a write without an answer happen late, once, or never', () => {
    possible('w a 0 ?', 'r - 1 2', 'r - 3 4')
    possible('w a 0 ?', 'r - 1 2', 'w b 3 4', 'r b 5 6', 'r a 7 8')
    impossible('w a 0 ?', 'r a 1 2', 'w b 3 4', 'r b 5 6', 'r a 7 8')
    impossible('r a 0 1', 'w a 2 ?')
  })

  it('lets each delete without an answer happen once', () => {
    possible('w a 0 1', 'w - 2 ?', 'r a 3 4', 'r - 5 6', 'w b 7 8', 'r b 9 10')
    impossible('w a 0 1', 'w - 2 ?', 'r - 3 4', 'w b 5 6', 'r - 7 8')
    possible('w a 0 1', 'w - 2 ?', 'w - 2.5 ?', 'r - 3 4', 'w b 5 6', 'r - 7 8')
    impossible('w a 0 1', 'r - 2 3', 'w - 4 ?')
  })

  it('accepts whatever a real register did, and refuses it with one read changed to an overwritten value', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { history, spoil } = realHistory(new SeededRandom(seed))
        expect(checkRegister(history)).toBeUndefined()
        const spoilt = spoil()
        if (spoilt) expect(checkRegister(spoilt)).toBeDefined()
      }),
      { numRuns: 200 },
    )
  })
})

/** Clients at work on a register that takes effect at a random moment of each operation. */
function realHistory(random: SeededRandom): {
  history: RegisterOp[]
  spoil: () => RegisterOp[] | undefined
} {
  const effects: { at: number; op: RegisterOp }[] = []
  let id = 0
  for (let client = 0; client < 4; client++) {
    let now = random.float() * 10
    for (let i = 0; i < 25; i++) {
      const callAt = now + random.float()
      const effectAt = callAt + random.float() * 5
      const returnAt = effectAt + random.float() * 5
      const isWrite = random.chance(0.5)
      const unanswered = isWrite && random.chance(0.2)
      const op: RegisterOp = {
        kind: isWrite ? 'write' : 'read',
        value: isWrite && random.chance(0.8) ? `v${id++}` : null,
        callAt,
        returnAt: unanswered ? undefined : returnAt,
        note: '',
      }
      // An unanswered write may happen long after its client gave up, or never.
      if (!unanswered || random.chance(0.7))
        effects.push({ at: effectAt + (unanswered ? random.float() * 50 : 0), op })
      else effects.push({ at: Number.POSITIVE_INFINITY, op })
      now = returnAt
    }
  }
  effects.sort((a, b) => a.at - b.at)
  let value: string | null = null
  for (const { at, op } of effects) {
    if (op.kind === 'read') op.value = value
    else if (Number.isFinite(at)) value = op.value
  }
  const history = effects.map(({ op }) => op)
  const spoil = () => {
    const reads = history.filter((op) => op.kind === 'read')
    for (const read of reads.reverse()) {
      // The value was surely overwritten: another answered write came after the write's answer and before the read's call.
      const old = history.find(
        (write) =>
          write.kind === 'write' &&
          write.value !== null &&
          write.returnAt !== undefined &&
          history.some(
            (later) =>
              later.kind === 'write' &&
              later.callAt > write.returnAt! &&
              later.returnAt !== undefined &&
              later.returnAt < read.callAt,
          ),
      )
      if (old) return history.map((op) => (op === read ? { ...read, value: old.value } : op))
    }
    return undefined
  }
  return { history, spoil }
}

describe('conditional writes in a history', () => {
  const change = (
    value: string | null,
    expected: string | null,
    callAt: number,
    returnAt?: number,
  ): RegisterOp => ({
    ...{ kind: 'change', value, expected, callAt, returnAt, note: '' },
  })
  const refused = (expected: string | null, callAt: number, returnAt: number): RegisterOp => ({
    ...{ kind: 'refused', value: null, expected, callAt, returnAt, note: '' },
  })

  it('one of two creates wins, and the other one is refused', () => {
    expect(checkRegister([change('a', null, 0, 3), refused(null, 1, 4)])).toBeUndefined()
    expect(checkRegister([change('a', null, 0, 3), change('b', null, 1, 4)])).toBeDefined()
    expect(checkRegister([refused(null, 0, 1)])).toBeDefined()
  })

  it('a replacement finds what it expects', () => {
    const [w] = ops('w a 0 1')
    expect(
      checkRegister([w!, change('b', 'a', 2, 3), change('c', 'b', 4, 5), ...ops('r c 6 7')]),
    ).toBeUndefined()
    expect(checkRegister([w!, change('b', 'a', 2, 3), change('c', 'a', 4, 5)])).toBeDefined()
    expect(checkRegister([w!, refused('a', 2, 3)])).toBeDefined()
  })

  it('a write without an answer may have been what others found, also one on a condition', () => {
    expect(checkRegister([change('a', null, 0), refused(null, 1, 2), ...ops('r a 3 4')])).toBeUndefined()
    expect(checkRegister([change('a', null, 0), change('b', 'a', 1), ...ops('r b 3 4')])).toBeUndefined()
    expect(checkRegister([change('b', 'a', 1), ...ops('r b 3 4')])).toBeDefined()
    expect(checkRegister([change('a', null, 5), ...ops('r a 3 4')])).toBeDefined()
    expect(checkRegister([...ops('w a 0 1'), change(null, 'a', 2), ...ops('r - 3 4')])).toBeUndefined()
  })
})

/**
 * Clients that read, write and change a register on conditions, with answers of a real one, some of which are lost.
 * @param wrongShare share of the answers that are replaced by any
 */
function conditionalHistory(
  random: SeededRandom,
  {
    clients,
    each,
    unansweredShare,
    wrongShare = 0,
  }: Record<string, number> & { clients: number; each: number },
): RegisterOp[] {
  const planned: { at: number; op: RegisterOp }[] = []
  let values = 0
  let moment = 0
  const unique = (at: number) => at + moment++ * 1e-9
  for (let client = 0; client < clients; client++) {
    let now = random.float() * 5
    for (let i = 0; i < each; i++) {
      const callAt = unique(now + random.float())
      const at = callAt + random.float() * 4
      now = at + random.float() * 4
      const kind = random.pick(['read', 'write', 'change', 'change'] as const)
      const isLost = kind !== 'read' && random.chance(unansweredShare!)
      const value = kind === 'read' || random.chance(0.2) ? null : `v${values++}`
      const op: RegisterOp = { kind, value, callAt, returnAt: isLost ? undefined : unique(now), note: '' }
      planned.push({ at: isLost && random.chance(0.5) ? at + random.float() * 20 : at, op })
    }
  }
  planned.sort((a, b) => a.at - b.at)
  let current: string | null = null
  const seen: (string | null)[] = [null]
  for (const { op } of planned) {
    if (op.kind === 'change') {
      // A deletion of nothing would not change anything.
      op.expected = op.value === null || random.chance(0.6) ? random.pick(seen.slice(-3)) : null
      if (op.value === null) op.expected ??= 'never'
    }
    const isLate = op.returnAt === undefined && random.chance(0.3)
    const holds = op.kind === 'write' || (op.kind === 'change' && op.expected === current)
    if (op.kind === 'read') op.value = random.chance(wrongShare) ? random.pick(seen) : current
    else if (holds && !isLate) current = op.value
    else if (op.kind === 'change' && op.returnAt !== undefined) op.kind = 'refused'
    if (op.kind === 'change' && op.returnAt !== undefined && random.chance(wrongShare)) op.kind = 'refused'
    if (current !== null) seen.push(current)
  }
  return planned.map(({ op }) => op)
}

describe('checkRegister with conditions', () => {
  it('says of short histories what a search of all orders says', () => {
    const counts = { possible: 0, impossible: 0 }
    for (let seed = 0; seed < 3000; seed++) {
      const random = new SeededRandom(`conditional/${seed}`)
      const shape = { clients: 3, each: 3, unansweredShare: 0.35, wrongShare: seed % 2 === 0 ? 0 : 0.3 }
      const history = conditionalHistory(random, shape)
      const isPossible = possibleHistory(history.map(asModelOp))
      counts[isPossible ? 'possible' : 'impossible']++
      if (shape.wrongShare === 0) expect(isPossible, `seed ${seed}`).toBe(true)
      expect(checkRegister(history) === undefined, `seed ${seed}: ${JSON.stringify(history)}`).toBe(
        isPossible,
      )
    }
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(300)
  })

  it('is through with long histories of which many answers are lost, right ones and wrong ones', () => {
    for (let seed = 0; seed < 4; seed++) {
      const random = new SeededRandom(`long/${seed}`)
      const history = conditionalHistory(random, { clients: 8, each: 20, unansweredShare: 0.4 })
      expect(checkRegister(history)).toBeUndefined()
      const reads = history.filter((op) => op.kind === 'read')
      const last = reads.at(-1)!
      const first = reads.find(({ value }) => value !== null)!
      expect(checkRegister([...history, { ...first, callAt: 1e9, returnAt: 2e9 }])).toBeDefined()
      expect(
        checkRegister(history.map((op) => (op === last ? { ...op, value: 'nobody' } : op))),
      ).toBeDefined()
    }
  })
})

function asModelOp({ kind, value, expected = null, callAt, returnAt }: RegisterOp): ModelOp {
  const op = { value, expected, callAt, returnAt }
  const isAnswered = returnAt !== undefined
  const done = isAnswered ? ({ kind: 'done' } as const) : undefined
  if (kind === 'read')
    return { ...op, kind, value: null, outcome: isAnswered ? { kind: 'value', value } : undefined }
  if (kind === 'write') return { ...op, kind: value === null ? 'delete' : 'put', outcome: done }
  const outcome = kind === 'refused' ? ({ kind: 'refused' } as const) : done
  if (expected === null) return { ...op, kind: 'create', outcome }
  return { ...op, kind: value === null ? 'delete-if' : 'replace', outcome }
}

describe('RegisterHistory', () => {
  it('tells which register, and what happened around the point', () => {
    const history = new RegisterHistory()
    history.answered(history.call('fine', 'write', 'a', 'c1'))
    history.answered(history.call('lost', 'write', 'b', 'c1 put'))
    history.answered(history.call('lost', 'read', null, 'c2 get'), null)
    const [found, ...others] = history.check()
    expect(others).toEqual([])
    expect(found).toMatch(/^lost is not linearizable/)
    expect(found).toContain('write b')
    expect(found).toContain('> read nothing')
  })

  it('tells which values are under way: until their writers have an answer, are refused, or give up', () => {
    const history = new RegisterHistory()
    const outcomes: ((op: RegisterOp) => void)[] = [
      (op) => history.answered(op),
      (op) => history.refused(op),
      (op) => history.void(op),
      (op) => history.unanswered(op),
    ]
    for (const [i, end] of outcomes.entries()) {
      const op = history.call('key', i === 0 ? 'write' : 'change', `v${i}`, '', null)
      history.answered(history.call('key', 'read', null, ''), `v${i}`)
      expect(history.isUnderWay(`v${i}`)).toBe(true)
      end(op)
      expect(history.isUnderWay(`v${i}`)).toBe(false)
    }
  })

  it('ignores reads that got no answer', () => {
    const history = new RegisterHistory()
    history.call('key', 'read', null, '')
    history.answered(history.call('key', 'write', 'a', ''))
    expect(history.check()).toEqual([])
  })
})
