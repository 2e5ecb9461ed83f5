/**
 * The reference model of the layout history (src/cluster/layout/history.ts): a replica is the set of facts that it has heard
 * of, which gossip unites, and each number that nodes act upon is read off the facts by its definition. fast-check drives both
 * with the same layouts, progress and gossip in any order, rival layouts under one number among them. What a node stores is
 * written whole in one transaction, so a crash is a replica that is encoded and decoded, or goes back to what it stored last.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeHistory, encodeHistory } from '../../src/cluster/layout/codec.js'
import {
  advanceAck,
  advanceSync,
  advanceSyncAck,
  mergeHistories,
  minAck,
  pruneVersions,
  readVersion,
  syncTarget,
} from '../../src/cluster/layout/history.js'
import { applyStaged, stageRemove, stageRole } from '../../src/cluster/layout/operations.js'
import { EMPTY_HISTORY, type LayoutHistory, stampVersion } from '../../src/cluster/layout/types.js'

const REPLICAS = 3
const RF = 2
const NODES = [1, 2, 3, 4].map((n) => String(n).repeat(64))
const TRACKERS = ['ack', 'sync', 'syncAck'] as const
type Tracker = (typeof TRACKERS)[number]

type Step =
  | { do: 'apply'; at: number; node: number; zone: string }
  | { do: Tracker; at: number; node: number; version: number }
  | { do: 'prune' | 'store' | 'restart' | 'crash'; at: number }
  | { do: 'gossip'; at: number; from: number }

const at = fc.nat(REPLICAS - 1)
const node = fc.nat(NODES.length - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('apply' as const),
      at,
      node,
      zone: fc.constantFrom('x', 'y', ''),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom(...TRACKERS),
      at,
      node,
      version: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('prune' as const, 'store' as const, 'restart' as const, 'crash' as const),
      at,
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('gossip' as const), at, from: at }) },
)

interface Layout {
  version: number
  stamp: number
  /** Members, and whether each stores data. */
  roles: ReadonlyMap<string, boolean>
}

/** What a replica of the history has heard of: three sets, which gossip unites. */
class Facts {
  constructor(
    readonly layouts: ReadonlyMap<number, Layout> = new Map(),
    /** `tracker node stamp` */
    readonly progress: ReadonlySet<string> = new Set(),
    /** Versions before which nobody reads or writes any more. */
    readonly pruned: ReadonlySet<number> = new Set(),
  ) {}

  with(change: { layout?: Layout; progress?: string; pruned?: number }): Facts {
    const { layout, progress, pruned } = change
    return new Facts(
      layout ? new Map([...this.layouts, [layout.stamp, layout]]) : this.layouts,
      progress ? new Set([...this.progress, progress]) : this.progress,
      pruned ? new Set([...this.pruned, pruned]) : this.pruned,
    )
  }

  united(other: Facts): Facts {
    return new Facts(
      new Map([...this.layouts, ...other.layouts]),
      new Set([...this.progress, ...other.progress]),
      new Set([...this.pruned, ...other.pruned]),
    )
  }

  /** The live layouts, oldest first: of each number the one with the greatest stamp. */
  live(): Layout[] {
    const oldest = Math.max(0, ...this.pruned)
    const byVersion = new Map<number, Layout>()
    for (const layout of [...this.layouts.values()].sort((a, b) => a.stamp - b.stamp))
      if (layout.version >= oldest) byVersion.set(layout.version, layout)
    return [...byVersion.values()].sort((a, b) => a.version - b.version)
  }

  /** How far a node is: a step towards a layout that lost counts for the number before. */
  reached(tracker: Tracker, who: string): number {
    let best = 0
    for (const stamp of this.stamps(tracker, who)) {
      const version = stampVersion(stamp)
      const known = this.live().find((layout) => layout.version === version)
      best = Math.max(best, known && known.stamp !== stamp ? version - 1 : version)
    }
    return best
  }

  stamps(tracker: Tracker, who: string): number[] {
    return [...this.progress].flatMap((fact) => {
      const [of, by, stamp] = fact.split(' ')
      return of === tracker && by === who ? [Number(stamp)] : []
    })
  }

  minAck(): number {
    const live = this.live()
    const members = new Set(live.flatMap(({ roles }) => [...roles.keys()]))
    const acked = [...members].map((who) => this.reached('ack', who))
    return Math.max(live[0]?.version ?? 0, Math.min(live.at(-1)?.version ?? 0, ...acked))
  }

  /** The newest version that all of its storage nodes have whole; the oldest one in any case. */
  readVersion(): number {
    const live = this.live()
    const whole = live.filter(
      ({ version, roles }, i) =>
        i === 0 || [...roles].every(([who, isStorage]) => !isStorage || this.reached('sync', who) >= version),
    )
    return whole.at(-1)?.version ?? 0
  }

  /** The newest readable version from which on all members read; undefined if that is the oldest one. */
  prunable(): number | undefined {
    const live = this.live()
    const isRead = ({ version }: Layout) =>
      version <= this.readVersion() &&
      live
        .filter((later) => later.version >= version)
        .flatMap(({ roles }) => [...roles.keys()])
        .every((who) => this.reached('syncAck', who) >= version)
    return live.slice(1).filter(isRead).at(-1)?.version
  }
}

/** What nodes act upon, of the history and of its model. */
const ofHistory = (history: LayoutHistory) => ({
  live: history.versions.map(({ stamp }) => stamp),
  minAck: minAck(history),
  read: readVersion(history),
  target: syncTarget(history),
})

function ofFacts(facts: Facts): ReturnType<typeof ofHistory> {
  const live = facts.live()
  const newest = live.at(-1)?.version
  return {
    live: live.map(({ stamp }) => stamp),
    minAck: facts.minAck(),
    read: facts.readVersion(),
    target: newest !== undefined && facts.minAck() >= newest ? newest : undefined,
  }
}

interface Replica {
  history: LayoutHistory
  facts: Facts
  stored: { history: LayoutHistory; facts: Facts }
}

function apply(replica: Replica, who: string, zone: string, now: number, self: string): void {
  const { history } = replica
  const version = (history.versions.at(-1)?.version ?? 0) + 1
  try {
    const role = { zone, capacityBytes: 1e9, tags: [] }
    const staged = zone === '' ? stageRemove(history, now, who) : stageRole(history, now, who, role)
    replica.history = applyStaged(staged, { version, self, replicationFactor: RF, now }).history
  } catch {
    return // A refused layout changes nothing.
  }
  const { stamp, roles } = replica.history.versions.at(-1)!
  const stores = [...roles].map(([id, { capacityBytes }]) => [id, capacityBytes !== null] as const)
  replica.facts = replica.facts.with({ layout: { version, stamp, roles: new Map(stores) } })
}

/** A tracker moves to a live version, and only forward. */
function advance(replica: Replica, tracker: Tracker, who: string, wanted: number): void {
  const { facts, history } = replica
  const version = tracker === 'syncAck' ? Math.min(wanted, facts.readVersion()) : wanted
  const real = { ack: advanceAck, sync: advanceSync, syncAck: advanceSyncAck }[tracker]
  replica.history = real(history, who, wanted)
  const target = facts.live().find((layout) => layout.version === version)
  if (!target || (tracker === 'sync' && version > facts.minAck())) return
  if (facts.stamps(tracker, who).some((stamp) => stamp >= target.stamp)) return
  replica.facts = facts.with({ progress: `${tracker} ${who} ${target.stamp}` })
}

function play(steps: readonly Step[]): void {
  const first: Replica = {
    history: EMPTY_HISTORY,
    facts: new Facts(),
    stored: { history: EMPTY_HISTORY, facts: new Facts() },
  }
  const beginning = NODES.slice(0, 3).reduce(
    (history, id, i) => stageRole(history, 1, id, { zone: `z${i}`, capacityBytes: 1e9, tags: [] }),
    EMPTY_HISTORY,
  )
  first.history = beginning
  apply(first, NODES[0]!, 'z0', 1, NODES[0]!)
  const begun = { history: first.history, facts: first.facts }
  const replicas: Replica[] = Array.from({ length: REPLICAS }, () => ({ ...begun, stored: begun }))
  for (const [i, step] of steps.entries()) {
    const replica = replicas[step.at]!
    const { history, facts } = replica
    switch (step.do) {
      case 'apply':
        apply(replica, NODES[step.node]!, step.zone, 10 + i, NODES[step.at]!)
        break
      case 'gossip': {
        const from = replicas[step.from]!
        replica.history = mergeHistories(history, from.history)
        replica.facts = facts.united(from.facts)
        break
      }
      case 'prune': {
        replica.history = pruneVersions(history)
        const oldest = facts.prunable()
        if (oldest !== undefined) replica.facts = facts.with({ pruned: oldest })
        break
      }
      case 'store':
        replica.stored = { history, facts }
        break
      case 'restart':
        replica.history = decodeHistory(encodeHistory(history))
        break
      case 'crash':
        replica.history = decodeHistory(encodeHistory(replica.stored.history))
        replica.facts = replica.stored.facts
        break
      default:
        advance(replica, step.do, NODES[step.node]!, step.version)
    }
    expect(ofHistory(replica.history)).toEqual(ofFacts(replica.facts))
  }
}

describe('the layout history and its model', () => {
  it('agree, with rival layouts, gossip in any order, and crashes', () => {
    fc.assert(fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), play), { numRuns: 300 })
  })
})
