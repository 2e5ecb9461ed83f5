import { setTimeout as sleep } from 'node:timers/promises'
import type { Torture } from './torture.js'

/** Something that is done to a cluster while clients use it. */
export interface Scenario {
  name: string
  /** What happens, in a few words. */
  what: string
  /** Whether each node has a disk of its own. */
  hasDisks?: boolean
  /** After how many seconds deletions and blocks without references are forgotten; as built in unless told. */
  graceSeconds?: number
  /** Why it cannot run here; undefined if it can. @param dir a folder for trying */
  missing?(dir: string): string | undefined
  /** @param seconds how long it should last about */
  run(torture: Torture, seconds: number): Promise<void>
}

/** Calls `act` again and again until the time is over, at least once. */
export async function repeatedly(seconds: number, act: () => Promise<void>): Promise<void> {
  const endMs = performance.now() + seconds * 1000
  do await act()
  while (performance.now() < endMs)
}

/** Waits in a scenario, while clients work. */
export const rest = (seconds: number) => sleep(seconds * 1000)
