import { errorCode } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'

const IN_FLIGHT = 8

/** Thrown by what looks at a row right before it goes: the row stays. */
export class Keep extends Error {}

/**
 * Acts on each row that a run found, some at a time. One that fails is told to `onFailed`, and left to the next run; one of which
 * Keep is thrown stays.
 * @throws CarportError Closed when the node stops
 */
export function actOnEach<T>(
  rows: readonly T[],
  act: (row: T) => Promise<void>,
  onFailed: (error: unknown) => void,
): Promise<void> {
  return eachLimited(rows, IN_FLIGHT, async (row) => {
    try {
      await act(row)
    } catch (error) {
      if (error instanceof Keep) return
      if (errorCode(error) === 'Closed') throw error
      onFailed(error)
    }
  })
}
