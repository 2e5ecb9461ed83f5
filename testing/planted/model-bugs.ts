import type { PlantedBug } from './planted-bug.js'

/** Bugs in versions, uploads and listings. */
export const MODEL_BUGS: readonly PlantedBug[] = [
  {
    name: 'listings trust the nearest replica',
    breaks: 'a listing has all that was acknowledged before it began',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/model/listing/quorum-pages.ts',
        find: 'if (replies.every((r) => agrees(r.body))) return { agreed: read(page), pages: [] }',
        replace: 'if (replies.every((r) => agrees(r.body)) || page) return { agreed: read(page), pages: [] }',
      },
    ],
  },
  {
    name: 'a replaced version not kept',
    breaks: 'versions stay until they are deleted',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/model/versions/tables.ts',
        find: 'hooks.updateNoncurrent(tx, noncurrentOf(before))',
        replace: 'void noncurrentOf(before)',
      },
    ],
  },
  {
    name: 'a predecessor promoted at a later time',
    breaks: 'a write wins over what became current again before it',
    hunts: ['popped'],
    edits: [
      {
        file: 'src/model/versions/promotion.ts',
        find: 'const make = (place: Place): VersionRecord => ({ ...row, ...place })',
        replace:
          'const make = (place: Place): VersionRecord => ({ ...row, ...place, timeUs: place.timeUs + 5e6 })',
      },
    ],
  },
  {
    name: 'a lock is not looked at again before a deletion',
    breaks: 'a locked version is not deleted',
    hunts: ['stacked'],
    edits: [
      {
        file: 'src/model/versions/deletion.ts',
        find: `    try {
      guard.check(now)
    } catch (error) {`,
        replace: `    try {
      void guard
    } catch (error) {`,
      },
      {
        file: 'src/model/versions/deletion.ts',
        find: `      if (guard && !began) {
        guard.check(version)`,
        replace: `      if (guard && !began) {
        void version`,
      },
    ],
  },
  {
    name: 'a version that became current again is shown before it is settled',
    breaks: 'a deleted version stays deleted',
    hunts: ['popped'],
    edits: [
      {
        file: 'src/model/versions/promotion.ts',
        find: "  if (row === undefined || row.generation === 0 || row.state === 'tombstone') return false\n",
        replace: '  if (row === undefined || row.generation >= 0) return false\n',
      },
    ],
  },
  {
    name: 'a version that became current again is counted twice',
    breaks: 'counters equal a recount',
    hunts: ['stacked'],
    edits: [
      {
        file: 'src/model/versions/counting.ts',
        find: 'if (is && isTwice(is, noncurrentCopyOf(tx, copies, is)) && note(tx, is)) {',
        replace: 'if (is && isTwice(is, noncurrentCopyOf(tx, copies, is)) && !note(tx, is)) {',
      },
    ],
  },
  {
    name: 'a completed upload stays',
    breaks: 'an upload ends with its completion',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/model/versions/tables.ts',
        find: 'if (after.completes && !after.chain) hooks.endUpload(tx, after.bucket, after.key, after.completes)',
        replace: 'if (after.completes) void hooks',
      },
    ],
  },
  {
    name: 'a full page of a listing skips the next key',
    breaks: 'a listing has all that was acknowledged before it began',
    hunts: ['listings'],
    edits: [
      {
        file: 'src/model/listing/objects.ts',
        find: 'return isFold ? prefixEnd(last.key) : successor(last.key)',
        replace: 'return isFold ? prefixEnd(last.key) : prefixEnd(last.key)',
      },
    ],
  },
  {
    name: 'deleted keys are not accounted for in listings',
    breaks: 'a listing has nothing that was deleted before it began',
    hunts: ['listings'],
    edits: [
      {
        file: 'src/model/listing/page.ts',
        find: 'out.hidden(key, head)',
        replace: 'void out',
      },
    ],
  },
  {
    name: 'a part that was sent again is the earlier one',
    breaks: 'the last upload of a part counts',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/model/uploads/tables.ts',
        find: 'const later = incoming.timeUs - current.timeUs ||',
        replace: 'const later = current.timeUs - incoming.timeUs ||',
      },
    ],
  },
  {
    name: 'a completed upload lacks its last part',
    breaks: 'an object is what its parts were',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/model/uploads/uploads.ts',
        find: 'for (const part of parts) {',
        replace: 'for (const part of parts.slice(0, 2)) {',
      },
    ],
  },
  {
    name: 'a version on its way is hidden by an older one',
    breaks: 'a read shows the null version that was acknowledged before it',
    hunts: ['suspended'],
    edits: [
      {
        file: 'src/table/replica.ts',
        find: 'if (merged === here) return undefined',
        replace: 'if (here) return undefined',
      },
    ],
  },
  {
    name: 'a null version that comes late stays beside the one that replaced it',
    breaks: 'a key has one null version',
    hunts: ['suspended'],
    edits: [
      {
        file: 'src/model/versions/tables.ts',
        find: 'if (current?.isNull) clearNullSlot(tx, hooks(), current)',
        replace: 'void current',
      },
    ],
  },
  {
    name: 'what a deleted null version had overwritten is there again',
    breaks: 'an overwritten null version stays so',
    hunts: ['suspended'],
    edits: [
      {
        file: 'src/model/versions/deletion.ts',
        find: '      if (current.isNull)\n        await versions.insert(',
        replace: '      if (current.isNull && began && bucket.length === 0)\n        await versions.insert(',
      },
    ],
  },
  {
    name: 'a noncurrent version is deleted in name only',
    breaks: 'a deleted version stays deleted',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/model/versions/deletion.ts',
        find: 'await versions.insert(tombstoneOf({ bucket, key, isNull: old.isNull, timeUs: old.timeUs }, old.id))',
        replace: '',
      },
    ],
  },
]
