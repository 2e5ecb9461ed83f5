import { assert } from '../util/assert.js'

/**
 * How many successes a call needs in each set of replicas. A size that is no count would make a call succeed, or fail, whatever
 * the replicas say.
 * @param quorum one for all sets, or one for each
 * @throws CarportError Internal unless there is a whole number for each set
 */
export function quorumsOf(
  quorum: number | readonly number[],
  sets: readonly (readonly unknown[])[],
): readonly number[] {
  const sizes = typeof quorum === 'number' ? sets.map(() => quorum) : quorum
  assert(
    sizes.length === sets.length && sizes.every((size) => Number.isInteger(size) && size >= 0),
    'there is a quorum for each set of replicas',
  )
  return sizes
}
