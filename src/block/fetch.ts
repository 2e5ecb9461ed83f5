import type { QuorumCaller } from '../cluster/placement.js'
import type { NodeId, Priority } from '../net/transport.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError, errorCode } from '../util/errors.js'
import { FILE_VERSION, type StoredBlock } from './format.js'
import { METHODS, receiveBlock } from './wire.js'

/** A further replica is asked when one has not begun to answer within this time, in ms… */
const FIRST_BYTE_MS = 500
/** …or has not sent the whole block this long after it began. */
const WHOLE_BLOCK_MS = 3_000
/** The longest silence of a replica before it is given up, in ms. */
const TIMEOUT_MS = 30_000

export interface FetchOptions {
  priority: Priority
  signal?: AbortSignal | undefined
  /** Computes the block's hash: of what comes from a node that does not vouch for it. */
  matches: (block: StoredBlock) => Promise<boolean>
  /** Compute it in any case, for what is stored here. */
  thorough?: boolean
}

/**
 * Fetches a block from the first of `nodes` (nearest first) that has it intact; further ones are asked when one
 * fails or is slow, and the other calls are aborted when one succeeded.
 * @throws CarportError BlockMissing if every node answered and none has it, QuorumUnavailable if some could not be
 * asked; the signal's reason when it aborts.
 */
export function fetchBlock(
  caller: QuorumCaller,
  clock: Clock,
  nodes: readonly NodeId[],
  hash: Buffer,
  options: FetchOptions,
): Promise<StoredBlock> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(options.signal.reason)
    new Fetch(caller, clock, nodes, hash, options, resolve, reject).askNext()
  })
}

class Fetch {
  #next = 0
  #pending = 0
  #done = false
  #timer: Timer | undefined
  #unreachable: unknown
  readonly #abort = new AbortController()
  readonly #onAbort = () => this.#finish(() => this.reject(this.options.signal!.reason))

  constructor(
    private readonly caller: QuorumCaller,
    private readonly clock: Clock,
    private readonly nodes: readonly NodeId[],
    private readonly hash: Buffer,
    private readonly options: FetchOptions,
    private readonly resolve: (block: StoredBlock) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    options.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  askNext(): void {
    if (this.#done) return
    const node = this.nodes[this.#next++]
    if (node === undefined) {
      if (this.#pending === 0) this.#finish(() => this.reject(this.#failure()))
      return
    }
    this.#hedgeAfter(FIRST_BYTE_MS)
    this.#pending++
    this.#ask(node).then(
      (block) => {
        this.#pending--
        if (block) this.#finish(() => this.resolve(block))
        else this.askNext()
      },
      (error) => {
        this.#pending--
        // A bad copy counts as none; after any other failure the node may have the block.
        if (errorCode(error) !== 'Corrupted') this.#unreachable ??= error
        this.askNext()
      },
    )
  }

  async #ask(node: NodeId): Promise<StoredBlock | undefined> {
    const reply = await this.caller.call(
      node,
      METHODS.get,
      { hash: this.hash, version: FILE_VERSION },
      { timeoutMs: TIMEOUT_MS, priority: this.options.priority, signal: this.#abort.signal },
    )
    if (!this.#done) this.#hedgeAfter(WHOLE_BLOCK_MS)
    const received = await receiveBlock(reply.body, reply.stream, this.hash)
    if (!received) return undefined
    const { block, isNamed } = received
    if ((!isNamed || this.options.thorough) && !(await this.options.matches(block))) return undefined
    return block
  }

  #hedgeAfter(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#next < this.nodes.length) this.#timer = this.clock.after(delayMs, () => this.askNext())
  }

  #failure(): CarportError {
    if (this.#unreachable !== undefined || this.nodes.length === 0) {
      const cause = this.#unreachable
      const why = cause instanceof Error ? cause.message : 'this node has it not, and no other may have it'
      const code = this.nodes.length === 0 ? 'BlockMissing' : 'QuorumUnavailable'
      return new CarportError(code, `block ${this.hash.toString('hex')}: ${why}`, { cause })
    }
    return new CarportError('BlockMissing', `no replica has block ${this.hash.toString('hex')} intact`)
  }

  #finish(settle: () => void): void {
    if (this.#done) return
    this.#done = true
    this.#timer?.cancel()
    this.options.signal?.removeEventListener('abort', this.#onAbort)
    settle()
    if (this.#pending > 0) this.#abort.abort(new CarportError('Closed', 'another replica was faster'))
  }
}
