import type { Placement } from '../cluster/placement.js'
import type { Clock, Timer } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { ClaimCalls } from './claim-calls.js'

export interface UploadClaimsParts {
  clock: Clock
  log: Log
  placement: Pick<Placement, 'layoutVersion'>
  /** How often the claims are renewed, in ms: a small part of the time for which they hold. */
  renewMs: number
  calls: Pick<ClaimCalls, 'keep' | 'release'>
}

/**
 * The claims of one upload on the blocks that it has stored: renewed while it goes on, verified before its row is
 * written, released when it is given up.
 */
export class UploadClaims {
  #renewedMs: number
  readonly #layoutVersion: number
  #timer: Timer | undefined

  /** @param hashes the blocks that are stored so far */
  constructor(
    private readonly parts: UploadClaimsParts,
    private readonly owner: Buffer,
    private readonly hashes: () => readonly Buffer[],
  ) {
    this.#renewedMs = parts.clock.monotonicMs()
    this.#layoutVersion = parts.placement.layoutVersion
    this.#arm()
  }

  #arm(): void {
    this.#timer = this.parts.clock.after(this.parts.renewMs, () => {
      this.#renew().then(
        () => this.#timer && this.#arm(),
        (error) => {
          this.parts.log.warn({ error }, 'claims of an upload could not be renewed, to be tried again')
          if (this.#timer) this.#arm()
        },
      )
    })
  }

  async #renew(): Promise<void> {
    const nowMs = this.parts.clock.monotonicMs()
    await this.parts.calls.keep(this.owner, this.hashes())
    this.#renewedMs = nowMs
  }

  /** Ends the renewal: the upload has come to its end, and its row is about to be written. */
  settle(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /**
   * Makes sure that a write quorum of each live layout has every block. In the usual case, in which the upload was
   * short and the layout is the one that it began with, that is known. Call it right before the row is written.
   * @throws CarportError BlockMissing, QuorumUnavailable
   */
  async confirm(): Promise<void> {
    const { clock, placement, renewMs } = this.parts
    const isFresh = clock.monotonicMs() - this.#renewedMs < renewMs
    if (isFresh && placement.layoutVersion === this.#layoutVersion) return
    await this.#renew()
  }

  /** Releases the claims of an upload that was given up, to whose blocks no row can refer. Does not throw. */
  async release(): Promise<void> {
    this.settle()
    try {
      await this.parts.calls.release(this.owner, this.hashes())
    } catch (error) {
      this.parts.log.debug(
        { error },
        'claims of an upload that was given up could not be released; they expire',
      )
    }
  }
}
