/**
 * A total order over plain values (what msgpack can carry: null, booleans, numbers, strings, Buffers, arrays,
 * objects with such fields), the same on every node. It decides between concurrent values with equal timestamps,
 * so it only has to be deterministic, not meaningful. Fields that are undefined count as absent.
 */
export function compareValues(a: unknown, b: unknown): number {
  if (a === b) return 0
  const rankA = rank(a)
  const rankB = rank(b)
  if (rankA !== rankB) return rankA < rankB ? -1 : 1
  switch (rankA) {
    case 1:
      return a === false ? -1 : 1
    case 2:
      return compareNumbers(a as number, b as number)
    case 3:
      return (a as string) < (b as string) ? -1 : 1
    case 4:
      return Buffer.compare(a as Uint8Array, b as Uint8Array)
    case 5:
      return compareArrays(a as unknown[], b as unknown[])
    case 6:
      return compareObjects(a as Record<string, unknown>, b as Record<string, unknown>)
    default:
      return 0
  }
}

function rank(value: unknown): number {
  if (value === null || value === undefined) return 0
  if (typeof value === 'boolean') return 1
  if (typeof value === 'number') return 2
  if (typeof value === 'string') return 3
  if (value instanceof Uint8Array) return 4
  if (Array.isArray(value)) return 5
  if (typeof value === 'object') return 6
  throw new TypeError(`a ${typeof value} cannot be ordered`)
}

function compareNumbers(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
  return a < b ? -1 : a > b ? 1 : 0
}

function compareArrays(a: readonly unknown[], b: readonly unknown[]): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const order = compareValues(a[i], b[i])
    if (order !== 0) return order
  }
  return a.length - b.length
}

function compareObjects(a: Record<string, unknown>, b: Record<string, unknown>): number {
  return compareArrays(sortedFields(a), sortedFields(b))
}

function sortedFields(value: Record<string, unknown>): unknown[] {
  const fields: unknown[] = []
  for (const key of Object.keys(value).sort()) {
    if (value[key] !== undefined) fields.push(key, value[key])
  }
  return fields
}
