import type { PlantedBug } from './planted-bug.js'

/** Bugs in what is done to objects besides writing and reading them. */
export const OBJECT_BUGS: readonly PlantedBug[] = [
  {
    name: 'a copy does not claim the blocks of its source',
    breaks: 'an acknowledged copy can be read, whatever becomes of its source',
    hunts: ['copies'],
    edits: [
      {
        file: 'src/model/versions/objects.ts',
        find: 'if (!waits) await blobs.retain(attempt.id, stored.blocks)',
        replace: "if (!waits && version.origin !== 'Copy') await blobs.retain(attempt.id, stored.blocks)",
      },
    ],
  },
  {
    name: 'a copy does not reference its blocks',
    breaks: 'blocks that are referenced stay',
    hunts: ['copies'],
    edits: [
      {
        file: 'src/model/versions/tables.ts',
        find: `function acquire(tx: Tx, hooks: ContentHooks, v: VersionRecord): void {
  if (v.content.kind === 'blocks') {`,
        replace: `function acquire(tx: Tx, hooks: ContentHooks, v: VersionRecord): void {
  if (v.content.kind === 'blocks' && v.origin !== 'Copy') {`,
      },
    ],
  },
  {
    name: 'a claim says that a block is there before it looks',
    breaks: 'an acknowledged copy can be read, whatever becomes of its source',
    hunts: ['copies'],
    edits: [
      {
        file: 'src/block/claim-calls.ts',
        find: 'if (!held.some((flags) => flags[i])) await',
        replace: 'if (!held.some((flags) => flags.length > i)) await',
      },
    ],
  },
  {
    name: 'a copy of a long content takes no lists over',
    breaks: 'a copy is what its source was',
    hunts: ['copies'],
    edits: [
      {
        file: 'src/model/content/blobs.ts',
        find: 'for await (const { ref } of this.blocksOf(version.bucket, version.id, content)) blocks.push(ref)',
        replace:
          "for (const ref of content.kind === 'blocks' ? unpackBlocks(content.blocks) : []) blocks.push(ref)",
      },
    ],
  },
  {
    name: 'tags do not go along when a version is replaced',
    breaks: 'tags stay with their version',
    hunts: ['tags'],
    edits: [
      {
        file: 'src/model/versions/tables.ts',
        find: 'hooks.updateNoncurrent(tx, noncurrentOf(before))',
        replace: 'hooks.updateNoncurrent(tx, { ...noncurrentOf(before), mutable: {} })',
      },
    ],
  },
  {
    name: 'a version is looked for before it is known which row is the current one',
    breaks: 'a read shows the tags that were acknowledged before it',
    hunts: ['retagged'],
    edits: [
      {
        file: 'src/model/versions/objects.ts',
        find: '    const current = await objects.get(bucket, key, options)\n    if (matches(current, selector)) {\n',
        replace: `    const [current, noncurrent] = await Promise.all([
      objects.get(bucket, key, options),
      shownNoncurrent(versions, { bucket, key, selector }, undefined, options),
    ])
    if (matches(current, selector)) {
`,
      },
      {
        file: 'src/model/versions/objects.ts',
        find: '    return shownNoncurrent(versions, { bucket, key, selector }, current, options)\n',
        replace:
          '    return noncurrent ?? shownNoncurrent(versions, { bucket, key, selector }, current, options)\n',
      },
    ],
  },
  {
    name: 'a change of tags that starts over takes effect twice',
    breaks: 'a change of tags takes effect once',
    hunts: ['retagged'],
    edits: [
      {
        file: 'src/model/versions/objects.ts',
        find: 'if (before && compareValues(before[1], value) === 0) {',
        replace: 'if (before && compareValues(before[1], value) !== 0) {',
      },
    ],
  },
  {
    name: 'tags that were set while a version became current again are lost',
    breaks: 'tags stay with their version',
    hunts: ['tags'],
    edits: [
      {
        file: 'src/model/versions/promotion.ts',
        find: 'const merged = same ? mergeLwwFields(row.mutable, same.mutable) : row.mutable',
        replace:
          'const merged = same && !row.mutable ? mergeLwwFields(row.mutable, same.mutable) : row.mutable',
      },
    ],
  },
  {
    name: 'events that wait are forgotten at a start',
    breaks: 'each write is told',
    hunts: ['events'],
    edits: [
      {
        file: 'src/model/events/delivery.ts',
        find: 'await this.queue.keepOnly(targets.map(({ name }) => targetKey(name)))',
        replace: 'await this.queue.keepOnly(targets.flatMap(() => []))',
      },
    ],
  },
  {
    name: 'an event that its target did not take counts as told',
    breaks: 'each write is told',
    hunts: ['events'],
    edits: [
      {
        file: 'src/model/events/delivery.ts',
        find: '        failure ??= { error }\n        await this.#postpone(queued)',
        replace: '        failure ??= { error }\n        sent.push(queued)',
      },
    ],
  },
  {
    name: 'an event is told of a conditional write that lost',
    breaks: 'nothing is told that did not take effect',
    hunts: ['events'],
    edits: [
      {
        file: 'src/model/events/delivery.ts',
        find: "if (fate === 'yes') return true",
        replace: "if (fate !== 'open') return true",
      },
    ],
  },
  {
    name: 'a version that was never the current one is not told',
    breaks: 'each version is told',
    hunts: ['events'],
    edits: [
      {
        file: 'src/model/model.ts',
        find: 'if (!this.#rowMoves) this.events.changed(tx, undefined, version)',
        replace:
          'if (!this.#rowMoves && version.state === "tombstone") this.events.changed(tx, undefined, version)',
      },
    ],
  },
  {
    name: 'a deletion takes what came in the place of what it judged',
    breaks: 'neither rules nor requests delete what was written later',
    hunts: ['popped', 'lifecycle'],
    edits: [
      {
        file: 'src/model/versions/replace-judged.ts',
        find: 'if (!base || !isSameRow(base, judged)) throw new Changed()',
        replace: 'if (!base) throw new Changed()',
      },
    ],
  },
]
