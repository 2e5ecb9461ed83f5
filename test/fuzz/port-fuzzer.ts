/** Sends requests that no sane client sends to one port of each node. */
export interface PortFuzzer {
  readonly name: string
  /**
   * Sends the requests that follow from a seed, and tells each one's answer: its status, 0 for none.
   * @throws UnexpectedAnswer
   */
  run(seed: number): AsyncGenerator<number>
}

/** An answer that a sound node does not give. */
export class UnexpectedAnswer extends Error {
  override readonly name = 'UnexpectedAnswer'

  constructor(problem: string, request: unknown, seed?: number) {
    const shown = JSON.stringify(request).slice(0, 6000)
    super(`${problem}\n  request: ${shown}${seed === undefined ? '' : `\n  seed: ${seed}`}`)
  }
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
