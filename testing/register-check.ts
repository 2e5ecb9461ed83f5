/** One operation of a client on a register, with its result. */
export interface RegisterOp {
  /** 'change' is a write on the condition that it finds `expected`; 'refused' is one that did not. */
  kind: 'read' | 'write' | 'change' | 'refused'
  /** The value written or read; null is "nothing there". Each value but null is written at most once. */
  value: string | null
  expected?: string | null
  /** Moments of the call and of the answer, on one scale without ties. */
  callAt: number
  /** The moment of the answer; undefined without one or after an error: a write may then happen at any time, or never. */
  returnAt: number | undefined
  /** Shown when the history turns out to be impossible. */
  note: string
}

export interface Impossible {
  /** How many of the answered operations can be ordered. */
  ordered: number
  /** The operations around the point where no order is possible. */
  around: RegisterOp[]
  /** The operation that cannot be placed. */
  stuck: RegisterOp
}

/** An answered operation's call or return, in a list in the order of time. */
interface Event {
  op: RegisterOp
  /** Index among the answered operations. */
  index: number
  /** The return event of a call; undefined for a return. */
  match: Event | undefined
  previous: Event | undefined
  next: Event | undefined
}

/** State of the register in a partial order; unanswered writes are taken only when another operation needs them. */
interface State {
  value: string | null
  /** Values of unanswered writes that were used, of those that only other unanswered ones need: sorted. */
  used: readonly string[]
  /** How many of the unanswered unconditional deletes were used, in the order of their calls; and so on. */
  deletes: number
  unseenWrites: number
  unseenCreates: number
}

/** Any value that nobody saw. No content has this name. */
const UNSEEN = '?'

interface Step {
  call: Event
  before: State
  /** What the operation may lead to, by the unanswered writes that are taken before it, and how many of these were tried. */
  choices: readonly State[]
  tried: number
  /** Whether no other choice needs to be tried: a read of the value that is there. */
  forced: boolean
}

/**
 * Whether a register that starts empty can have behaved like this: whether all answered operations and some of the
 * unanswered writes can be put in an order in which each takes effect between its call and its answer (Herlihy and
 * Wing, 1990). The search is Wing and Gong's with Lowe's memory of states seen, as in Porcupine. An unanswered
 * write is of no effect unless another operation needs it, so that it is placed directly before the one that does.
 * Values are unique, which keeps the search short: see Sights.
 */
export function checkRegister(ops: readonly RegisterOp[]): Impossible | undefined {
  const answered = ops.filter((op) => op.returnAt !== undefined).sort((a, b) => a.callAt - b.callAt)
  const open = ops.filter((op) => (op.kind === 'write' || op.kind === 'change') && op.returnAt === undefined)
  const sights = new Sights(answered)
  const unanswered = new Unanswered(
    open,
    sights,
    answered.filter(({ kind }) => kind === 'refused'),
  )

  const head = listOf(answered)
  const done = new Uint8Array(answered.length)
  const seen = new SeenStates()
  const steps: Step[] = []
  let state: State = { value: null, used: [], deletes: 0, unseenWrites: 0, unseenCreates: 0 }
  let best = { ordered: -1, stuck: answered[0]! }
  let at = head.next
  /** The step of an operation that is taken back, to be placed with its next choice. */
  let again: Step | undefined

  while (head.next) {
    if (at?.match) {
      const before = state
      done[at.index] = 1
      sights.placed(at.op)
      const choices = again?.choices ?? unanswered.choicesOf(state, at.op, firstReturn(head))
      let tried = again?.tried ?? 0
      let next: State | undefined
      while (!next && tried < choices.length) {
        const choice = choices[tried++]!
        if (seen.add(done, choice)) next = choice
      }
      again = undefined
      if (next) {
        const forced = at.op.kind === 'read' && next === before
        steps.push({ call: at, before, choices, tried, forced })
        state = next
        lift(at)
        at = head.next
        continue
      }
      done[at.index] = 0
      sights.takenBack(at.op)
      at = at.next
      continue
    }
    // The call of this return could not be placed: go back.
    if (steps.length > best.ordered) best = { ordered: steps.length, stuck: at?.op ?? head.next.op }
    let step = steps.pop()
    while (step) {
      state = step.before
      done[step.call.index] = 0
      sights.takenBack(step.call.op)
      unlift(step.call)
      if (!step.forced) break
      step = steps.pop()
    }
    if (!step) {
      const { ordered, stuck } = best
      return { ordered, stuck, around: around(ops, stuck) }
    }
    again = step
    at = step.call
  }
  return undefined
}

/** The value that an answered operation found, if it tells. */
function sightOf(op: RegisterOp): string | undefined {
  const found = op.kind === 'read' ? op.value : op.kind === 'change' ? (op.expected ?? null) : null
  return found ?? undefined
}

/**
 * How many operations that are not placed yet found each value. Each value but null is written once: so the register
 * cannot leave it before all who found it are placed, and need not come to it when they are.
 */
class Sights {
  readonly #left = new Map<string, number>()

  constructor(answered: readonly RegisterOp[]) {
    for (const op of answered) this.takenBack(op)
  }

  placed(op: RegisterOp): void {
    const value = sightOf(op)
    if (value !== undefined) this.#left.set(value, this.#left.get(value)! - 1)
  }

  takenBack(op: RegisterOp): void {
    const value = sightOf(op)
    if (value !== undefined) this.#left.set(value, (this.#left.get(value) ?? 0) + 1)
  }

  /** Whether anybody found it, placed or not. */
  has(value: string): boolean {
    return this.#left.has(value)
  }

  isAwaited(value: string): boolean {
    return (this.#left.get(value) ?? 0) > 0
  }
}

/** Writes without an answer, which may happen at any time after their call, or never. */
class Unanswered {
  /** Those whose values somebody found or expected, or another one that counts needs, by value. */
  readonly #byValue = new Map<string, RegisterOp>()
  /** Those on the condition of a value. It is there once, so that one of them takes effect at the most. */
  readonly #onValue = new Map<string, RegisterOp[]>()
  /** When they were called, in order: of two that have the same effect, the one called first is taken first. */
  readonly #deletesAt: readonly number[]
  readonly #unseenWritesAt: readonly number[]
  readonly #unseenCreatesAt: readonly number[]

  constructor(
    open: readonly RegisterOp[],
    private readonly sights: Sights,
    refused: readonly RegisterOp[],
  ) {
    const seen = new Set(refused.flatMap(({ expected }) => expected ?? []))
    for (let grew = true; grew; ) {
      grew = false
      for (const { kind, value, expected = null } of open) {
        if (value !== null && sights.has(value) && !seen.has(value)) grew = !!seen.add(value)
        const leadsOn = kind === 'change' && (value === null || seen.has(value))
        if (leadsOn && expected !== null && !seen.has(expected)) grew = !!seen.add(expected)
      }
    }
    const callsOf = (wanted: (op: RegisterOp) => boolean) =>
      open
        .filter(wanted)
        .map((op) => op.callAt)
        .sort((a, b) => a - b)
    const isUnseen = ({ value }: RegisterOp) => value !== null && !seen.has(value)
    this.#deletesAt = callsOf(({ kind, value }) => kind === 'write' && value === null)
    this.#unseenWritesAt = callsOf((op) => op.kind === 'write' && isUnseen(op))
    this.#unseenCreatesAt = callsOf(
      (op) => op.kind === 'change' && (op.expected ?? null) === null && isUnseen(op),
    )
    for (const op of open) {
      if (op.value !== null && seen.has(op.value)) this.#byValue.set(op.value, op)
      if (op.kind !== 'change' || typeof op.expected !== 'string') continue
      const others = this.#onValue.get(op.expected)
      if (others) others.push(op)
      else this.#onValue.set(op.expected, [op])
    }
  }

  /**
   * The states that an answered operation may lead to.
   * @param deadline the first answer of an operation that is not placed: what is placed next was called before it
   */
  choicesOf(state: State, op: RegisterOp, deadline: number): State[] {
    const expected = op.expected ?? null
    switch (op.kind) {
      case 'write':
        return this.#mayLeave(state.value) ? [{ ...state, value: op.value }] : []
      case 'read':
        return this.#leadingTo(state, op.value, deadline, true)
      case 'change':
        return this.#leadingTo(state, expected, deadline, true)
          .filter(({ value }) => this.#mayLeave(value))
          .map((found) => ({ ...found, value: op.value }))
      case 'refused':
        return state.value === expected ? this.#leadingFrom(state, deadline) : [state]
    }
  }

  #mayLeave(value: string | null): boolean {
    return value === null || !this.sights.isAwaited(value)
  }

  /** The states with that value that unanswered writes can bring about. */
  #leadingTo(state: State, value: string | null, deadline: number, isAwaited: boolean): State[] {
    if (state.value === value) return [state]
    if (!this.#mayLeave(state.value)) return []
    if (value === null) return this.#deleted(state, deadline)
    const op = this.#byValue.get(value)
    if (!op || op.callAt > deadline) return []
    let { used } = state
    if (!this.sights.has(value)) {
      if (used.includes(value)) return []
      used = [...used, value].sort()
    } else if (!isAwaited && !this.sights.isAwaited(value)) return []
    if (op.kind === 'write') return [{ ...state, value, used }]
    // A condition holds if the value that it needs can be brought about in its turn.
    return this.#leadingTo({ ...state, used }, op.expected ?? null, deadline, false)
      .filter((base) => this.#mayLeave(base.value))
      .map((base) => ({ ...base, value }))
  }

  #deleted(state: State, deadline: number): State[] {
    const found: State[] = []
    const isDue = (op: RegisterOp) => op.value === null && op.callAt <= deadline
    if (state.value !== null && this.#onValue.get(state.value)?.some(isDue))
      found.push({ ...state, value: null })
    if (isBefore(this.#deletesAt[state.deletes], deadline))
      found.push({ ...state, value: null, deletes: state.deletes + 1 })
    for (const [value, ops] of this.#onValue) {
      if (this.sights.has(value) || value === state.value || !ops.some(isDue)) continue
      for (const base of this.#leadingTo(state, value, deadline, false)) found.push({ ...base, value: null })
    }
    return found
  }

  /** The states with any other value that unanswered writes can bring about. */
  #leadingFrom(state: State, deadline: number): State[] {
    const { value } = state
    if (!this.#mayLeave(value)) return []
    const found: State[] = []
    const unseen = { ...state, value: UNSEEN }
    if (value === null) {
      if (isBefore(this.#unseenCreatesAt[state.unseenCreates], deadline))
        found.push({ ...unseen, unseenCreates: state.unseenCreates + 1 })
    } else {
      const isDue = (op: RegisterOp) =>
        op.value !== null && !this.#byValue.has(op.value) && op.callAt <= deadline
      if (this.#onValue.get(value)?.some(isDue)) found.push(unseen)
      found.push(...this.#deleted(state, deadline))
    }
    if (isBefore(this.#unseenWritesAt[state.unseenWrites], deadline))
      found.push({ ...unseen, unseenWrites: state.unseenWrites + 1 })
    for (const other of this.#byValue.keys())
      if (other !== value && (this.sights.isAwaited(other) || !this.sights.has(other)))
        found.push(...this.#leadingTo(state, other, deadline, false))
    return found
  }
}

function isBefore(at: number | undefined, deadline: number): boolean {
  return at !== undefined && at <= deadline
}

/** The first answer of an operation that is not placed: the next one placed must have been called before it. */
function firstReturn(head: Event): number {
  let event = head.next
  while (event?.match) event = event.next
  return event ? event.op.returnAt! : Number.POSITIVE_INFINITY
}

/** The states that the search came across. One that has used more unanswered writes than another one can do no more. */
class SeenStates {
  readonly #spent = new Map<string, Uint16Array[]>()

  /** @returns whether it is worth going on from there */
  add(done: Uint8Array, { value, used, deletes, unseenWrites, unseenCreates }: State): boolean {
    // All operations before `low` are placed, and none after `high`.
    const low = done.indexOf(0)
    const high = done.lastIndexOf(1)
    let window = ''
    if (low >= 0) for (let i = low; i <= high; i++) window += done[i]
    const key = `${low}:${window}:${value}:${used.join()}`
    const spent = Uint16Array.of(deletes, unseenWrites, unseenCreates)
    const others = this.#spent.get(key) ?? []
    if (others.some((other) => other.every((count, i) => count <= spent[i]!))) return false
    this.#spent.set(key, [...others.filter((other) => other.some((count, i) => count < spent[i]!)), spent])
    return true
  }
}

function listOf(answered: readonly RegisterOp[]): Event {
  const events: { time: number; event: Event }[] = []
  for (const [index, op] of answered.entries()) {
    const end: Event = { op, index, match: undefined, previous: undefined, next: undefined }
    const start: Event = { ...end, match: end }
    events.push({ time: op.callAt, event: start }, { time: op.returnAt!, event: end })
  }
  events.sort((a, b) => a.time - b.time)
  const head = { index: -1 } as Event
  let last = head
  for (const { event } of events) {
    last.next = event
    event.previous = last
    last = event
  }
  return head
}

/** Takes a call and its return out of the list. */
function lift(call: Event): void {
  for (const event of [call, call.match!]) {
    event.previous!.next = event.next
    if (event.next) event.next.previous = event.previous
  }
}

/** Puts them back where they were. */
function unlift(call: Event): void {
  for (const event of [call.match!, call]) {
    event.previous!.next = event
    if (event.next) event.next.previous = event
  }
}

const SHOWN = 24

function around(ops: readonly RegisterOp[], stuck: RegisterOp): RegisterOp[] {
  const inOrder = [...ops].sort((a, b) => a.callAt - b.callAt)
  const index = inOrder.indexOf(stuck)
  const near = inOrder.slice(Math.max(0, index - SHOWN), index + 8)
  // Add the writes of the values that were read here, however old they are.
  const values = new Set(near.map(({ value }) => value))
  const writes = inOrder.filter(
    (op) => op.kind !== 'read' && op.value !== null && values.has(op.value) && !near.includes(op),
  )
  return [...writes, ...near]
}
