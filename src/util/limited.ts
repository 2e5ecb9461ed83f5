/** Runs `fn` on each item, at most `limit` at once. Rejects with the first failure, without starting further items. */
export async function eachLimited<T>(
  items: readonly T[],
  limit: number,
  fn: (item: T) => Promise<unknown>,
): Promise<void> {
  if (items.length === 1) {
    await fn(items[0]!)
    return
  }
  let at = 0
  let failed = false
  const lane = async () => {
    while (at < items.length && !failed) {
      const item = items[at++]!
      try {
        await fn(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane))
}
