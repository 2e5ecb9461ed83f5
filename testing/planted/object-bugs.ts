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
        find: 'if (held.some((flags) => flags[i])) return',
        replace: 'if (held.some((flags) => flags.length > i)) return',
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
]
