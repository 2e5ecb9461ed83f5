import type { PlantedBug } from './planted-bug.js'

/** Bugs in control rows: buckets, names, keys, permissions, and the votes about them. */
export const CONTROL_BUGS: readonly PlantedBug[] = [
  {
    name: 'one vote decides',
    breaks: 'a name is given once',
    hunts: ['control'],
    edits: [
      {
        file: 'src/model/buckets/decisions.ts',
        find: 'quorum: sets.map((set) => majority(set.length)),',
        replace: 'quorum: sets.map(() => 1),',
      },
    ],
  },
  {
    name: 'a decision forgets what was accepted',
    breaks: 'a name is given once; what an administrator allows stays allowed',
    hunts: ['control'],
    edits: [
      {
        file: 'src/model/buckets/decisions.ts',
        find: 'const proposal = newest?.[1] ?? own',
        replace: 'const proposal = own ?? newest?.[1]',
      },
    ],
  },
  {
    name: 'votes are not bound by promises',
    breaks: 'a name is given once; what an administrator allows stays allowed',
    hunts: ['control'],
    edits: [
      {
        file: 'src/model/buckets/decisions.ts',
        find: 'if (known && compareBallots(ballot, known[1]) < 0) return { promised: known[1][0] }',
        replace: 'void compareBallots',
      },
    ],
  },
  {
    name: 'a lost vote counts as won',
    breaks: 'a name is given once',
    hunts: ['control'],
    edits: [
      {
        file: 'src/model/buckets/decisions.ts',
        find: 'if (chosenNonce.equals(nonce)) return',
        replace: 'if (chosenNonce.length === nonce.length) return',
      },
    ],
  },
  {
    name: 'control rows are read from the own copy',
    breaks: 'a permission that was taken away is away',
    hunts: ['control'],
    edits: [
      {
        file: 'src/table/table.ts',
        find: "if (this.schema.placement !== 'full') return this.get(partitionKey, sortKey)",
        replace: 'if (sortKey.length > 0) return this.get(partitionKey, sortKey)',
      },
    ],
  },
  {
    name: 'a node that was cut off authorizes as before',
    breaks: 'a permission that was taken away is away everywhere after a few seconds',
    hunts: ['control'],
    edits: [
      {
        file: 'src/model/buckets/access-keys.ts',
        find: 'if (!freshness.isCurrent()) return freshness',
        replace: 'if (freshness === undefined) return freshness',
      },
    ],
  },
]
