import type { PlantedBug } from './planted-bug.js'

/** Bugs in the replicated tables: quorums, durability, repair, collection. */
export const TABLE_BUGS: readonly PlantedBug[] = [
  {
    name: 'a copy that joins vouches for the order of writes',
    breaks: 'a write that begins after another was acknowledged wins',
    hunts: ['outrun'],
    edits: [
      {
        file: 'src/table/replica.ts',
        find: 'const blind = rows.length === 1 && this.#isBlind(rows[0]!)',
        replace: 'const blind = rows.length === 1 && this.#isBlind(rows[0]!) && rows.length !== 1',
      },
    ],
  },
  {
    name: 'write quorum of 1',
    breaks: 'what was acknowledged survives the loss of a node',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/table/quorum-write.ts',
        find: 'let needed: number | readonly number[] = placement.writeQuorum',
        replace: 'let needed: number | readonly number[] = 1',
      },
    ],
  },
  {
    name: 'answer before the commit is durable',
    breaks: 'what was acknowledged survives a power cut',
    hunts: ['power'],
    edits: [
      {
        file: 'src/table/replica.ts',
        find: '        ? db.transact((tx) => apply(tx, rows))\n',
        replace: `        ? new Promise<ReturnType<typeof apply>>((resolve, reject) => {
            db.transact((tx) => resolve(apply(tx, rows))).catch(reject)
          })\n`,
      },
    ],
  },
  {
    name: 'reads that do not wait for writes under way',
    breaks: 'what was read stays read, also after a power cut',
    hunts: ['power'],
    edits: [
      {
        file: 'src/table/under-way.ts',
        find: 'if (!writing) return answer',
        replace: 'if (writing || !writing) return answer',
      },
    ],
  },
  {
    name: 'dropped write-back',
    breaks: 'what was read stays read',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/table/quorum-read.ts',
        find: 'if (!resolved.row || !writeBack || this.mayBeShown(sets, copies, resolved)) return resolved.row',
        replace: 'return resolved.row',
      },
    ],
  },
  {
    name: 'tombstones collected without all confirmations',
    breaks: 'what was deleted stays deleted',
    hunts: ['outage'],
    edits: [
      {
        file: 'src/table/gc.ts',
        find: `    const replicas = this.#replicas(local, partition)
    const others = replicas.filter((node) => node !== transport.self)`,
        replace: `    const replicas = this.#replicas(local, partition).filter((node) => node === transport.self || transport.isConnected(node))
    const others = replicas.filter((node) => node !== transport.self)`,
      },
      {
        file: 'src/table/transfer-rpc.ts',
        find: 'if (!this.standing.holders(copy).every((node) => takesPart.has(node))) {',
        replace: 'if (takesPart.size === 0) {',
      },
      {
        file: 'src/table/marks.ts',
        find: '  const by = other.collected\n',
        replace: '  const by = undefined as CollectionMark | undefined\n  void other\n',
      },
    ],
  },
  {
    name: 'replaced-detection off',
    breaks: 'a write that was read is never written again',
    hunts: ['gaps'],
    edits: [
      {
        file: 'src/table/replica.ts',
        find: 'const was = rows.length === 1 ? this.local.replaced?.has(rowHashOf(row!.key, row!.head)) : false',
        replace: 'const was = rows.length === 1 ? row === undefined : false',
      },
    ],
  },
  {
    name: 'a hidden write counts as done',
    breaks: 'a write wins over what was acknowledged before it',
    hunts: ['busy', 'faults'],
    edits: [
      {
        file: 'src/table/replies.ts',
        find: "return was === false ? 'overruled' : 'unknown'",
        replace: "return 'taken'",
      },
    ],
  },
  {
    name: 'reads of one replica',
    breaks: 'a read shows what was acknowledged before it',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/table/quorum-read.ts',
        find: 'quorum: full ? majority(sets[0]!.length) : needed,',
        replace: 'quorum: 1,',
      },
    ],
  },
  {
    name: 'anti-entropy that exchanges nothing',
    breaks: 'replicas end up equal',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/table/sync-session.ts',
        find: 'async #push(',
        replace: `async #push(target: NodeId, partition: number, missing: readonly Buffer[]): Promise<Buffer[]> {
    void target
    void partition
    void missing
    return []
  }

  async #pushNothing(`,
      },
      {
        file: 'src/table/sync-session.ts',
        find: '      open += await this.#pull(peer, pull, push)\n',
        replace: '',
      },
    ],
  },
  {
    name: 'hinted writes that never expire',
    breaks: 'what was deleted stays deleted',
    hunts: ['outage'],
    edits: [
      {
        file: 'src/table/queue.ts',
        find: 'const expiresMs = clock.nowMs() + this.options.expireAfterMs',
        replace: 'const expiresMs = clock.nowMs() + 1e9 * this.options.expireAfterMs',
      },
    ],
  },
  {
    name: 'clocks that observe nobody',
    breaks: 'a write takes one round trip, however far clocks are apart',
    hunts: ['busy'],
    edits: [
      {
        file: 'src/util/clock.ts',
        find: 'if (peerUs > this.#lastUs && peerUs <= this.peers.latestUs()) this.#lastUs = peerUs',
        replace: 'void peerUs',
      },
    ],
  },
  {
    name: 'half of all writes refused',
    breaks: 'requests succeed while a quorum answers',
    hunts: ['faults'],
    edits: [
      {
        file: 'src/table/quorum-write.ts',
        find: '    const { codec, votes } = this.local\n    let laterUs = 0',
        replace:
          "    if (this.env.random.float() < 0.5) throw new CarportError('QuorumUnavailable', 'planted')\n    const { codec, votes } = this.local\n    let laterUs = 0",
      },
    ],
  },
  {
    name: 'a joining copy votes',
    breaks: 'a read shows what was acknowledged before it, though a database was lost',
    hunts: ['wiped'],
    edits: [
      {
        file: 'src/table/standing.ts',
        find: "    if (this.#states[copy] !== 'whole') return false\n",
        replace: '',
      },
    ],
  },
  {
    name: 'databases that get older every ten minutes',
    breaks: 'a read shows what was acknowledged before it, though a database went back',
    hunts: ['images'],
    edits: [
      {
        file: 'src/cluster/age-watch.ts',
        find: 'const RAISE_EVERY_MS = 60_000',
        replace: 'const RAISE_EVERY_MS = 600_000',
      },
    ],
  },
  {
    name: 'an old row hides what was written since on a condition',
    breaks: 'an acknowledged object stays, though a database went back',
    hunts: ['recreated'],
    edits: [
      {
        file: 'src/table/sync-session.ts',
        find: '        open += await this.suspects.settleHiding(this.local, partition, push)\n',
        replace: '',
      },
    ],
  },
  {
    name: 'a row that nobody sees counts as one that replaced another',
    breaks: 'a read shows what was acknowledged before it',
    hunts: ['gaps'],
    edits: [
      {
        file: 'src/table/replica.ts',
        find: 'if (rows.length === 1) await this.#untilShown(row!)',
        replace: 'if (rows.length > 1) await this.#untilShown(row!)',
      },
    ],
  },
  {
    name: 'the own vote is shown before the outcome',
    breaks: 'a write that was read is never written again',
    hunts: ['gaps'],
    edits: [
      {
        file: 'src/table/own-votes.ts',
        find: 'if (own) state.instead ??= { row: before }',
        replace: 'if (own) void before',
      },
    ],
  },
  {
    name: 'one replica tells the time of writes where reads ask one',
    breaks: 'an acknowledged write is not hidden by one of before',
    hunts: ['degraded'],
    edits: [
      {
        file: 'src/table/quorum-read.ts',
        find: 'const quorum = Math.max(placement.readQuorum, placement.writeQuorum)',
        replace: 'const quorum = placement.readQuorum',
      },
    ],
  },
]
