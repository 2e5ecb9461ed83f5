import { checkRegister, type RegisterOp } from './register-check.js'

/** The operations of all clients on many registers. */
export class RegisterHistory {
  readonly #ops = new Map<string, RegisterOp[]>()
  #moment = 0
  #count = 0

  /** Number of operations on all registers. */
  get size(): number {
    return this.#count
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
