/** A part of a node that works in the background. */
export interface Service {
  readonly name: string
  /** Starts; returns once it is ready. */
  start(): Promise<void> | void
  /** Stops taking work, finishes or abandons what runs (it must be resumable), and releases what it holds. */
  stop(): Promise<void>
}
