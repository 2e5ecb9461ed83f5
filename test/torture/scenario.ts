import { setTimeout as sleep } from 'node:timers/promises'
import type { LifeNode } from '../life/kit/life-node.js'
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
  /** More of each node's configuration. */
  settings?: string
  /** Whether nodes start on the earlier release that was named. */
  startsEarlier?: boolean
  /** Why it cannot run here; undefined if it can. @param dir a folder for trying */
  missing?(dir: string): string | undefined
  /** @param seconds how long it should last about */
  run(torture: Torture, seconds: number): Promise<void>
}

/** Harms one node after the other, drawn anew each time, until the time is over. @param restSeconds after each of them */
export function oneByOne(
  act: (torture: Torture, node: LifeNode, seconds: number) => Promise<void>,
  restSeconds = 1,
): Scenario['run'] {
  const one = (torture: Torture) => [torture.draw()]
  return again(one, (torture, [node], seconds) => act(torture, node!, seconds), restSeconds)
}

/** Harms some nodes at the same time, again and again until the time is over. @param pick which ones, each time */
export function again(
  pick: (torture: Torture) => readonly LifeNode[],
  act: (torture: Torture, nodes: readonly LifeNode[], seconds: number) => Promise<void>,
  restSeconds: number,
): Scenario['run'] {
  return async (torture, seconds) => {
    const endMs = performance.now() + seconds * 1000
    do {
      const nodes = pick(torture)
      await torture.harm(nodes, () => act(torture, nodes, seconds))
      await rest(restSeconds)
    } while (performance.now() < endMs)
  }
}

/** Kills nodes, does something to what they left, and starts them again. */
export async function whileKilled(
  torture: Torture,
  nodes: readonly LifeNode[],
  act: () => Promise<void> | void = () => {},
): Promise<void> {
  await Promise.all(nodes.map((node) => node.stop('SIGKILL')))
  await act()
  await Promise.all(nodes.map((node) => torture.cluster.start(node)))
}

/** Waits in a scenario, while clients work. */
export const rest = (seconds: number) => sleep(seconds * 1000)
