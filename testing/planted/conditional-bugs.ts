import type { PlantedBug } from './planted-bug.js'

const PROMISES = 'src/table/promises.ts'
const ONE_WINS = 'of several conditional writes at the same time one wins'

/** Bugs in conditional writes. testing/conditional has the same ones in a model, where they are found faster. */
export const CONDITIONAL_BUGS: readonly PlantedBug[] = [
  {
    name: 'promises that a restart forgets',
    breaks: ONE_WINS,
    hunts: ['promised'],
    edits: [
      {
        file: PROMISES,
        find: '  readonly #prefix: Buffer\n',
        replace: '  readonly #prefix: Buffer\n  readonly #kept = new Map<string, Buffer>()\n',
      },
      {
        file: PROMISES,
        find: '    if (reader.count(PROMISE_TREE) === 0) return undefined\n    const key = this.#key(rowKey)\n    const record = reader.get(PROMISE_TREE, key)\n',
        replace:
          "    void reader\n    const key = this.#key(rowKey)\n    const record = this.#kept.get(key.toString('latin1'))\n",
      },
      {
        file: PROMISES,
        find: '    tx.put(PROMISE_TREE, key, record)\n',
        replace: "    void tx\n    this.#kept.set(key.toString('latin1'), record)\n",
      },
    ],
  },
  {
    name: 'a promise that goes with any row',
    breaks: ONE_WINS,
    hunts: ['conditional'],
    edits: [
      {
        file: PROMISES,
        find: '    if (this.#covers(row.entry, promise.subarray(0, BALLOT_BYTES))) tx.delete(PROMISE_TREE, key)',
        replace: '    tx.delete(PROMISE_TREE, key)',
      },
      {
        file: PROMISES,
        find: '    const ofRow = laterBallot(this.rows.ballotOf(stored), lastBallotOf(this.schema.timeUs!(stored)))\n    return laterBallot(promise, ofRow)\n',
        replace: '    void lastBallotOf\n    return laterBallot(promise, this.rows.ballotOf(stored))\n',
      },
    ],
  },
  {
    name: 'a promise that an earlier plain row takes back',
    breaks: ONE_WINS,
    hunts: ['conditional'],
    edits: [
      {
        file: PROMISES,
        find: 'if (replaced && !this.#covers(row.entry, replaced)) {',
        replace: 'if (replaced && row === undefined) {',
      },
    ],
  },
  {
    name: 'votes without a look at promises',
    breaks: ONE_WINS,
    hunts: ['conditional'],
    edits: [
      {
        file: 'src/table/conditional-replica.ts',
        find: '    if (!isThere && bound && ballot.compare(bound) < 0) return { later: bound, isPromised: true }\n',
        replace: '    void isThere\n    void bound\n    void ballot\n',
      },
    ],
  },
  {
    name: 'repair that passes promises by',
    breaks: 'what was read stays read',
    hunts: ['repaired'],
    edits: [
      {
        file: PROMISES,
        find: '    if (ballot === undefined || row === this.#voting) return row\n',
        replace: '    if (ballot !== undefined || row !== this.#voting) return row\n',
      },
    ],
  },
  {
    name: 'an epoch for each phase',
    breaks: 'one of several conditional writes wins while data moves',
    hunts: ['duels'],
    edits: [
      {
        file: 'src/table/conditional.ts',
        find: '      return await then({ ...attempt, prepared })\n',
        replace: '      end()\n      return await then({ ...attempt, prepared })\n',
      },
      {
        file: 'src/table/conditional.ts',
        find: '    await this.#ask(attempt, this.#acceptMethod, [attempt.layoutMark, wire], { onReply, onFailure })\n',
        replace:
          '    const sets = this.env.placement.writeSets(row.partition)\n    const needed = sets.map((set) => Math.max(this.env.placement.writeQuorum, majority(set.length)))\n    const { layoutMark } = this.env.placement\n    await this.#ask({ ...attempt, sets, needed, layoutMark }, this.#acceptMethod, [layoutMark, wire], { onReply, onFailure })\n',
      },
    ],
  },
  {
    name: 'an own attempt taken for the one of another',
    breaks: 'a write that took effect is not told as refused',
    hunts: ['conditional'],
    edits: [
      {
        file: 'src/table/fates.ts',
        find: "      if (fate === 'chosen') return { ...fates, chosen: entry }\n",
        replace: '',
      },
      {
        file: 'src/table/fates.ts',
        find: "      else if (fate === 'unknown') fates.isUnknown = true\n",
        replace: '',
      },
    ],
  },
  {
    name: 'a node that left keeps its contests',
    breaks: 'a write that lost leaves nothing behind, though nodes leave',
    hunts: ['conditional'],
    edits: [
      {
        file: 'src/model/versions/contests.ts',
        find: 'return isOutside(this.deps.placement) ? this.#handOver(contest, stored) : this.#decide(contest)',
        replace:
          'return isOutside(this.deps.placement) && !stored ? this.#handOver(contest, stored) : this.#decide(contest)',
      },
    ],
  },
  {
    name: 'a rival is looked for under no key',
    breaks: 'of two noncurrent versions that were judged on one base, one goes',
    hunts: ['conditional'],
    edits: [
      {
        file: 'src/model/versions/contests.ts',
        find: '(await noncurrent(found))',
        replace: 'live(await noncurrentCopy(versions, { ...row, selector: selectorOf(found) }, current))',
      },
    ],
  },
  {
    name: 'nobody looks after a version that may never have taken effect',
    breaks: 'of two noncurrent versions that were judged on one base, one goes',
    hunts: ['conditional'],
    edits: [
      {
        file: 'src/model/versions/tables.ts',
        find: '          if (isInDoubt(before, after)) hooks.doubted?.(tx, before)\n',
        replace: '',
      },
      {
        file: 'src/model/versions/contests.ts',
        find: '    if (rival) this.#enqueue(tx, { row: version, rival }, RIVALS_MS)\n',
        replace: '',
      },
    ],
  },
  {
    name: 'a base that no quorum has',
    breaks: 'what a condition was judged on was there',
    hunts: ['conditional'],
    edits: [
      {
        file: 'src/table/conditional.ts',
        find: '    if (isOnQuorum && (isPlain || !again)) return { base: newest, wasThere: true }\n',
        replace: '    if (!again || (isOnQuorum && isPlain)) return { base: newest, wasThere: true }\n',
      },
    ],
  },
]
