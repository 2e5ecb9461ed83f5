/** A value, or a promise of it where something has to be waited for: most objects are read in one turn. */
export type Awaitable<T> = T | Promise<T>

/** Calls `next` with the value: at once if it is there, else when it is. */
export function whenReady<T, U>(value: Awaitable<T>, next: (value: T) => Awaitable<U>): Awaitable<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}
