import type { Socket } from 'node:net'

/** Decides what the node takes on; all its fronts ask the same one. */
export interface Admission {
  /** Whether a new connection is kept. One that is not is closed before anything of it is read. */
  admitConnection(socket: Socket): boolean
  /** Whether a request is served. Each one that is admitted ends with `endRequest`. */
  admitRequest(): boolean
  endRequest(): void
}

/** A request was not admitted: the node has too many in hand. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError'
  constructor() {
    super('too many requests in flight')
  }
}
