import type { ServerResponse } from 'node:http'
import type { Idle, IdleWatch } from './idle-watch.js'

/**
 * A wait for a client that reads an answer. It ends, with the connection, when the client has taken nothing of what is queued
 * for it during the idle time. A client that takes a little is waited for: a piece of an answer may be a MiB, which takes a
 * modem ten minutes.
 */
export class ReadingClient implements Idle {
  lastMs = 0
  place = -1
  #queuedBytes = 0

  constructor(
    private readonly response: ServerResponse,
    private readonly watch: IdleWatch,
  ) {}

  /** To be called when something was queued. */
  begin(): void {
    // What was queued just now may not be with the system before the next turn.
    this.#queuedBytes = -1
    this.watch.add(this)
  }

  end(): void {
    this.watch.remove(this)
  }

  /** Takes note of what the client has taken since the last check: that is a sign of life. */
  isTooSlow(nowMs: number): boolean {
    const left = queuedBytes(this.response)
    if (left !== this.#queuedBytes) this.lastMs = nowMs
    this.#queuedBytes = left
    return false
  }

  onIdle(): void {
    this.response.destroy()
  }
}

/** Bytes that the system has not taken over yet; Node's own time-outs look at the same figure. */
function queuedBytes({ socket }: ServerResponse): number {
  const handle = (socket as { _handle?: { writeQueueSize?: number } | null } | null)?._handle
  return handle?.writeQueueSize ?? 0
}
