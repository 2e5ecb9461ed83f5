import { checkRegister, type RegisterOp } from './register-check.js'

/** The operations of all clients on many registers. */
export class RegisterHistory {
  readonly #ops = new Map<string, RegisterOp[]>()
  /** Values of writes whose clients wait for the answer. */
  readonly #underWay = new Set<string>()
  #moment = 0
  #count = 0

  /** Number of operations on all registers. */
  get size(): number {
    return this.#count
  }

  /** The names of all registers. */
  registers(): string[] {
    return [...this.#ops.keys()]
  }

  /** All operations on a register, in the order of their calls. */
  of(register: string): readonly RegisterOp[] {
    return this.#ops.get(register) ?? []
  }

  /** This moment, for a call that tells only in its answer which register it is of. */
  moment(): number {
    return this.#moment++
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
    if (kind !== 'read' && value !== null) this.#underWay.add(value)
    this.#count++
    return op
  }

  /** @param value what a read returned */
  answered(op: RegisterOp, value: string | null = op.value, note = ''): void {
    if (op.kind !== 'read') this.#ended(op)
    op.value = value
    op.returnAt = this.#moment++
    if (note) op.note += ` ${note}`
  }

  /** A conditional write was refused, and never takes effect. */
  refused(op: RegisterOp): void {
    this.#ended(op)
    op.kind = 'refused'
    op.returnAt = this.#moment++
  }

  /** A conditional write did nothing, for another reason than its condition. */
  void(op: RegisterOp): void {
    this.#ended(op)
    op.kind = 'refused'
  }

  /** A client got no answer to its write, which may take effect at any time, or never. */
  unanswered(op: RegisterOp): void {
    this.#ended(op)
  }

  /** Whether a client still waits for the answer to the write of that value. */
  isUnderWay(value: string): boolean {
    return this.#underWay.has(value)
  }

  #ended({ value }: RegisterOp): void {
    if (value !== null) this.#underWay.delete(value)
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
