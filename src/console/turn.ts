/** `scheduler.yield`, which not every browser has. */
const { scheduler } = globalThis as { scheduler?: { yield?: () => Promise<void> } }

/** Lets the page draw, and answer to keys and the pointer, before long work goes on. */
export function turn(): Promise<void> {
  return scheduler?.yield?.() ?? new Promise((resolve) => setTimeout(resolve))
}
