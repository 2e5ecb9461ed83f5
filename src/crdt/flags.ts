/** A flag that only goes from false to true ("enable-once"). */
export function mergeBool(current: boolean, incoming: boolean): boolean {
  return current || incoming
}

/** A value that can be deleted for good: null, the deletion, wins over every value. */
export type Deletable<T> = T | null

/** Merges two values unless one is deleted; returns `current` itself if `incoming` adds nothing. */
export function mergeDeletable<T>(
  current: Deletable<T>,
  incoming: Deletable<T>,
  merge: (current: T, incoming: T) => T,
): Deletable<T> {
  if (current === null || incoming === null) return null
  return merge(current, incoming)
}
