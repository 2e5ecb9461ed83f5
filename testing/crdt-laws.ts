import fc from 'fast-check'

/**
 * For tests: checks by properties that `merge` makes values of `arbitrary` a join-semilattice (commutative,
 * associative, idempotent) and returns its first argument itself when the second adds nothing.
 * @throws fast-check's error, with the shrunk counterexample and its seed, on the first law that is broken.
 */
export function expectCrdtLaws<T>(
  arbitrary: fc.Arbitrary<T>,
  merge: (current: T, incoming: T) => T,
  equals: (a: T, b: T) => boolean,
  runs = 200,
): void {
  const parameters = { numRuns: runs, includeErrorInReport: true }
  const check = (law: string, holds: boolean): void => {
    if (!holds) throw new Error(`merge is not ${law}`)
  }
  fc.assert(
    fc.property(arbitrary, (a) => {
      const merged = merge(a, a)
      check('idempotent', equals(merged, a))
      check('stable: merging a value with itself made a new one', Object.is(merged, a))
    }),
    parameters,
  )
  fc.assert(
    fc.property(arbitrary, arbitrary, (a, b) => {
      const merged = merge(a, b)
      check('commutative', equals(merged, merge(b, a)))
      check('absorbing', equals(merge(merged, b), merged) && equals(merge(a, merged), merged))
      check('stable: merging what is known made a new value', Object.is(merge(merged, b), merged))
    }),
    parameters,
  )
  fc.assert(
    fc.property(arbitrary, arbitrary, arbitrary, (a, b, c) => {
      check('associative', equals(merge(merge(a, b), c), merge(a, merge(b, c))))
    }),
    parameters,
  )
}
