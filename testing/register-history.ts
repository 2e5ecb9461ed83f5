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

/** State of the register in a partial order; unanswered writes are taken only when a read needs them. */
interface State {
  value: string | null
  /** Unanswered writes that were used, but unconditional deletes: their numbers, sorted. */
  used: readonly number[]
  /** How many of the unanswered unconditional deletes were used, in the order of their calls. */
  usedDeletes: number
}

interface Step {
  call: Event
  before: State
  /** What the operation may lead to, by the unanswered writes that are taken before it, and how many of these were tried. */
  choices: readonly State[]
  tried: number
  /** Whether no other choice needs to be tried: a read of the value that is there. */
  forced: boolean
}

/** Writes without an answer, which may happen at any time after their call, or never. */
interface Unanswered {
  /** Without unconditional deletes. */
  readonly writes: readonly RegisterOp[]
  /** The calls of unconditional deletes, in order. */
  readonly deletesAt: readonly number[]
}

/**
 * Whether a register that starts empty can have behaved like this: whether all answered operations and some of the
 * unanswered writes can be put in an order in which each takes effect between its call and its answer (Herlihy and
 * Wing, 1990). The search is Wing and Gong's with Lowe's memory of states seen, as in Porcupine. An unanswered
 * write is of no effect unless a read sees it, so that it is placed directly before the one that does.
 */
export function checkRegister(ops: readonly RegisterOp[]): Impossible | undefined {
  const answered = ops.filter((op) => op.returnAt !== undefined).sort((a, b) => a.callAt - b.callAt)
  const open = ops.filter((op) => (op.kind === 'write' || op.kind === 'change') && op.returnAt === undefined)
  const isDelete = (op: RegisterOp) => op.kind === 'write' && op.value === null
  const unanswered: Unanswered = {
    writes: open.filter((op) => !isDelete(op)),
    deletesAt: open
      .filter(isDelete)
      .map((op) => op.callAt)
      .sort((a, b) => a - b),
  }

  const head = listOf(answered)
  const done = new Uint8Array(answered.length)
  const seen = new Set<string>()
  const steps: Step[] = []
  let state: State = { value: null, used: [], usedDeletes: 0 }
  let best = { ordered: -1, stuck: answered[0]! }
  let at = head.next
  /** The step of an operation that is taken back, to be placed with its next choice. */
  let again: Step | undefined

  while (head.next) {
    if (at?.match) {
      const before = state
      const choices = again?.choices ?? choicesOf(state, at.op, firstReturn(head), unanswered)
      done[at.index] = 1
      let tried = again?.tried ?? 0
      let next: State | undefined
      while (!next && tried < choices.length) {
        const choice = choices[tried++]!
        const key = keyOf(done, choice)
        if (seen.has(key)) continue
        seen.add(key)
        next = choice
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
      at = at.next
      continue
    }
    // The call of this return could not be placed: go back.
    if (steps.length > best.ordered) best = { ordered: steps.length, stuck: at?.op ?? head.next.op }
    let step = steps.pop()
    while (step) {
      state = step.before
      done[step.call.index] = 0
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

/** The states that an operation may lead to. */
function choicesOf(state: State, op: RegisterOp, deadline: number, unanswered: Unanswered): State[] {
  if (op.kind === 'write') return [{ ...state, value: op.value }]
  if (op.kind === 'read') return leadingTo(state, op.value, deadline, unanswered)
  const expected = op.expected ?? null
  if (op.kind === 'change') {
    return leadingTo(state, expected, deadline, unanswered).map((found) => ({ ...found, value: op.value }))
  }
  if (state.value !== expected) return [state]
  const values = new Set<string | null>([null, ...unanswered.writes.map((write) => write.value)])
  values.delete(expected)
  return [...values].flatMap((value) => leadingTo(state, value, deadline, unanswered))
}

/** The states with that value that unanswered writes can bring about. */
function leadingTo(state: State, value: string | null, deadline: number, unanswered: Unanswered): State[] {
  if (state.value === value) return [state]
  const found: State[] = []
  const { writes, deletesAt } = unanswered
  if (value === null && (deletesAt[state.usedDeletes] ?? Number.POSITIVE_INFINITY) <= deadline) {
    found.push({ ...state, value: null, usedDeletes: state.usedDeletes + 1 })
  }
  for (const [i, write] of writes.entries()) {
    if (write.value !== value || write.callAt > deadline || state.used.includes(i)) continue
    const before = { ...state, used: [...state.used, i].sort((a, b) => a - b) }
    if (write.kind === 'write') found.push({ ...before, value })
    else {
      // A condition holds if the value that it needs can be brought about in its turn.
      const bases = leadingTo(before, write.expected ?? null, deadline, unanswered)
      for (const base of bases) found.push({ ...base, value })
    }
  }
  return found
}

/** The first answer of an operation that is not placed: the next one placed must have been called before it. */
function firstReturn(head: Event): number {
  let event = head.next
  while (event?.match) event = event.next
  return event ? event.op.returnAt! : Number.POSITIVE_INFINITY
}

function keyOf(done: Uint8Array, state: State): string {
  // All operations before `low` are placed, and none after `high`.
  const low = done.indexOf(0)
  const high = done.lastIndexOf(1)
  let window = ''
  if (low >= 0) for (let i = low; i <= high; i++) window += done[i]
  return `${low}:${window}:${state.value}:${state.usedDeletes}:${state.used.join()}`
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

/** The operations of all clients on many registers. */
export class RegisterHistory {
  readonly #ops = new Map<string, RegisterOp[]>()
  #moment = 0
  #count = 0

  /** Number of operations on all registers. */
  get size(): number {
    return this.#count
  }

  /** Takes note of a call; its `returnAt` is set by `answered`. */
  call(
    register: string,
    kind: RegisterOp['kind'],
    value: string | null,
    note: string,
    expected?: string | null,
  ): RegisterOp {
    const op: RegisterOp = { kind, value, callAt: this.#moment++, returnAt: undefined, note }
    if (expected !== undefined) op.expected = expected
    const ops = this.#ops.get(register)
    if (ops) ops.push(op)
    else this.#ops.set(register, [op])
    this.#count++
    return op
  }

  /** @param value what a read returned */
  answered(op: RegisterOp, value: string | null = op.value, note = ''): void {
    op.value = value
    op.returnAt = this.#moment++
    if (note) op.note += ` ${note}`
  }

  /** A conditional write was refused, and never takes effect. */
  refused(op: RegisterOp): void {
    op.kind = 'refused'
    op.returnAt = this.#moment++
  }

  /** A conditional write did nothing, for another reason than its condition. */
  void(op: RegisterOp): void {
    op.kind = 'refused'
  }

  /** Descriptions of the registers that cannot have behaved like that. */
  check(): string[] {
    const found: string[] = []
    for (const [register, ops] of this.#ops) {
      const isMaybe = (op: RegisterOp) => op.kind === 'write' || op.kind === 'change'
      const known = ops.filter((op) => isMaybe(op) || op.returnAt !== undefined)
      const impossible = checkRegister(known)
      if (!impossible) continue
      const lines = impossible.around.map((op) => `  ${op === impossible.stuck ? '>' : ' '} ${describe(op)}`)
      found.push(
        `${register} is not linearizable: of ${known.length} operations ${impossible.ordered} can be ordered\n${lines.join('\n')}`,
      )
    }
    return found
  }
}

function describe({ kind, value, expected, callAt, returnAt, note }: RegisterOp): string {
  const on = expected === undefined ? '' : ` on ${expected?.slice(0, 8) ?? 'nothing'}`
  return `${kind} ${value?.slice(0, 8) ?? 'nothing'}${on} [${callAt}, ${returnAt ?? '?'}] ${note}`
}
