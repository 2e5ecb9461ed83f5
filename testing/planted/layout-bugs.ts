import type { PlantedBug } from './planted-bug.js'

/** Bugs in changes of the layout. */
export const LAYOUT_BUGS: readonly PlantedBug[] = [
  {
    name: 'reads from a new layout version before sync',
    breaks: 'a read shows what was acknowledged before it, while data moves',
    hunts: ['layout'],
    edits: [
      {
        file: 'src/cluster/layout/history.ts',
        find: `([id, role]) => !isStorage(role) || trackedVersion(history, trackersOf(history, id).sync) >= version,`,
        replace: `([id, role]) => !isStorage(role) || trackedVersion(history, trackersOf(history, id).ack) >= version,`,
      },
    ],
  },
  {
    name: 'copies of a layout change before all acknowledged it',
    breaks: 'nothing acknowledged is lost while data moves',
    hunts: ['unheard'],
    edits: [
      {
        file: 'src/cluster/layout/history.ts',
        find: 'return newest !== undefined && minAck(history) >= newest.version ? newest.version : undefined',
        replace: 'return newest?.version',
      },
      {
        file: 'src/cluster/layout/history.ts',
        find: "return version <= minAck(history) ? advance(history, node, 'sync', version) : history",
        replace: "return advance(history, node, 'sync', version)",
      },
    ],
  },
  {
    name: 'blocks moved by a layout change not awaited',
    breaks: 'contents can be read while data moves',
    hunts: ['emptied'],
    edits: [
      {
        file: 'src/block/resync.ts',
        find: '    if ((local.counts.nextDueMs(local.db) ?? Number.POSITIVE_INFINITY) <= atMs) return\n    if (this.#errors.list(1000).some(({ attempts }) => attempts < SYNC_ATTEMPTS)) return\n',
        replace: '    void local\n    void atMs\n',
      },
    ],
  },
  {
    name: 'hand-over that drops without asking the new replicas',
    breaks: 'nothing acknowledged is lost while data moves',
    hunts: ['skipped'],
    edits: [
      {
        file: 'src/table/hand-over.ts',
        find: '  if (isGood) await session.handOver(partition, targets, isStill)',
        replace: '  if (isGood) await session.handOver(partition, [], isStill)',
      },
      {
        file: 'src/table/hand-over.ts',
        find: '  if (answers.some((answer, i) => answer !== undefined && !copies[i]?.whole)) return\n',
        replace: '',
      },
    ],
  },
  {
    name: 'readers whose layout all others have left are served',
    breaks: 'a read shows what was acknowledged before it',
    hunts: ['outdated'],
    edits: [
      {
        file: 'src/cluster/checked-transport.ts',
        find: 'if (readMark !== undefined && readMark < this.layout().readersMark) throw leftLayout()',
        replace: 'if (readMark !== undefined && readMark < 0 && this.layout()) throw leftLayout()',
      },
    ],
  },
]
