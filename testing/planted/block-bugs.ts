import type { PlantedBug } from './planted-bug.js'

/** Bugs in the block store: durability, reference counts, deletion. */
export const BLOCK_BUGS: readonly PlantedBug[] = [
  {
    name: 'old references are carried whatever became of their rows',
    breaks: 'blocks of nobody go away',
    hunts: ['returning'],
    edits: [
      {
        file: 'src/block/reference-queue.ts',
        find: '(isLive(item) && source ? this.isWanted',
        replace: '(isLive(item) && source && !this.db ? this.isWanted',
      },
    ],
  },
  {
    name: 'references deleted without the word of a quorum',
    breaks: 'blocks of an acknowledged object stay, though a replica was lost that alone had a change of it',
    hunts: ['unheard-of'],
    edits: [
      {
        file: 'src/block/reference-queue.ts',
        find: "(await this.isGone(item.source!)) ? 'yes' : 'no')",
        replace: "item.source !== undefined ? 'yes' : 'no')",
      },
      {
        file: 'src/block/reference-queue.ts',
        find: 'if (!(await this.isGone(source))) staying.add(name)',
        replace: 'if (source.length === 0) staying.add(name)',
      },
    ],
  },
  {
    name: 'blocks go when their claims end, whoever has references to carry',
    breaks: 'blocks of an acknowledged object stay, however long nodes are away',
    hunts: ['late'],
    edits: [
      {
        file: 'src/block/delete-holds.ts',
        find: 'return claimedUntilMs === 0 ? 0 : carried.waitMs(claimedUntilMs)',
        replace: 'return claimedUntilMs >= 0 ? 0 : carried.waitMs(claimedUntilMs)',
      },
    ],
  },
  {
    name: 'a node that is away counts as one with nothing to carry',
    breaks: 'blocks of an acknowledged object stay, however long nodes are away',
    hunts: ['late'],
    edits: [
      {
        file: 'src/block/carried-references.ts',
        find: "log.debug({ node, error }, 'a node could not be asked for references that it has still to carry')\n",
        replace: 'left.delete(node)\n      void log\n      void error\n',
      },
    ],
  },
  {
    name: 'references are carried before their row is on the disk',
    breaks: 'references are those of rows that are there, also after a power cut',
    hunts: ['commits'],
    edits: [
      {
        file: 'src/block/reference-queue.ts',
        find: '    return this.db.transact((tx) => {\n      const items: QueueItem[] = []',
        replace:
          '    const now = async (read: (reader: Db) => QueueItem[], steps: number) => {\n      void steps\n      return read(this.db)\n    }\n    return now((tx) => {\n      const items: QueueItem[] = []',
      },
    ],
  },
  {
    name: 'block file not synced',
    breaks: 'contents that were acknowledged survive a power cut',
    hunts: ['power'],
    edits: [
      {
        file: 'src/block/store.ts',
        find: 'await this.disk.writeDurable(this.dirs.path(index, name), parts, { fsync })',
        replace:
          'await this.disk.writeDurable(this.dirs.path(index, name), parts, { fsync: fsync && false })',
      },
    ],
  },
  {
    name: 'references counted twice',
    breaks: 'blocks of nobody go away',
    hunts: ['faults'],
    edits: [{ file: 'src/block/rc.ts', find: 'record.count++', replace: 'record.count += 2' }],
  },
  {
    name: 'dereferences counted twice',
    breaks: 'blocks that are referenced stay',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/block/rc.ts',
        find: 'record.count--',
        replace: 'record.count = Math.max(0, record.count - 2)',
      },
    ],
  },
  {
    name: 'no grace before a block goes',
    breaks: 'a read that began goes on when its object is overwritten',
    hunts: ['copies', 'busy'],
    edits: [
      {
        file: 'src/block/rc.ts',
        find: 'record.keepUntilMs = this.clock.nowMs() + this.graces.unreferencedMs',
        replace: 'record.keepUntilMs = this.clock.nowMs()',
      },
      {
        file: 'src/block/delete-holds.ts',
        find: 'if (clock.doubt?.() !== undefined || isEarly || oldestRefMs() > graceMs / 2) return HOLD_MS',
        replace: 'if (clock.doubt?.() !== undefined || (isEarly && graceMs < 0)) return HOLD_MS',
      },
    ],
  },
  {
    name: 'claims of no time',
    breaks: 'blocks of an upload under way stay',
    hunts: ['dripping'],
    edits: [
      {
        file: 'src/block/rc.ts',
        find: `    const record = this.get(tx, hash) ?? newRecord()
    const untilMs = this.clock.nowMs() + this.graces.unclaimedMs
    this.claims.put(tx, { hash, owner, untilMs, by })`,
        replace: `    const record = this.get(tx, hash) ?? newRecord()
    const untilMs = this.clock.nowMs()
    this.claims.put(tx, { hash, owner, untilMs, by })`,
      },
    ],
  },
]
