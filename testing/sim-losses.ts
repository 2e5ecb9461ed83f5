/** Faults that are aimed at what one node alone knows: it acts on that, and then its database is lost. */
import type { SeededRandom } from './seeded-random.js'
import { isolate, type Roles } from './sim-aimed-faults.js'
import type { SimCluster, SimNode } from './sim-cluster.js'

/** What an aimed loss needs of whoever breaks things. */
export interface LossTools {
  readonly cluster: SimCluster
  /** Whether nothing is broken any more. */
  isOver(): boolean
  /** How many faults there are now. */
  broken(): number
  /** Whether all others have what was acknowledged, so that a database may be lost. */
  mayLose(node: SimNode): boolean
  /** Arranges that the fault of that name is mended later, in ms. */
  until(name: string, mend: () => void, afterMs: number): void
  /** Power goes off on a node for so long, in ms. */
  crash(name: string, node: SimNode, forMs: number): void
}

/** How long a node is down that only loses power, or its database, in ms. */
const BOUNCE_MS = 50

/**
 * A replica that is cut off takes writes of its own clients, which fail: it loses power before it keeps them for the others. It is back for
 * some seconds, in which it acts on what it alone has, and then loses its database. @returns whether that began
 */
export function loneChange(tools: LossTools, roles: Roles | undefined, random: SeededRandom): boolean {
  if (!roles || tools.broken() > 0 || !tools.mayLose(roles.replicas[0])) return false
  const name = 'lone-change'
  const { clock } = tools.cluster
  const [lone] = roles.replicas
  const changesMs = 2000 + random.float() * 2500
  const actsMs = 2000 + random.float() * 2000
  // Nothing else breaks meanwhile.
  tools.until(name, () => {}, changesMs + actsMs + BOUNCE_MS)
  // What it sent before does not arrive after it is back: its connections of before are gone by then.
  tools.until(name, isolate(tools.cluster, lone), changesMs + 3 * BOUNCE_MS)
  clock.after(changesMs, () => {
    if (!tools.isOver() && tools.broken() === 2 && tools.mayLose(lone)) tools.crash(name, lone, 2 * BOUNCE_MS)
  })
  clock.after(changesMs + actsMs, () => {
    if (tools.isOver() || tools.broken() > 1 || !tools.mayLose(lone)) return
    tools.crash(name, lone, BOUNCE_MS)
    lone.machine.wipe()
  })
  return true
}
