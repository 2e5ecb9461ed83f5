import type { NodeId } from '../net/transport.js'
import type { CopyMarks } from './marks.js'
import { FULL_COPY, type Standing } from './standing.js'

interface Compared {
  /** The peer's marks before the first table was compared. */
  readonly marks: CopyMarks
  readonly tables: Set<string>
}

/** Keeps with whom each joining copy was compared, until it is enough for the copy to be whole. */
export class Joins {
  readonly #joins = new Map<number, { join: number; peers: Map<NodeId, Compared> }>()

  /** @param tablesOf the tables that make up a copy */
  constructor(
    private readonly standing: Standing,
    private readonly tablesOf: (copy: number) => readonly string[],
  ) {}

  /** A comparison with a whole copy begins; `compared` is for its end. Undefined if the copy is not joining. */
  begin(copy: number, peer: NodeId, marks: CopyMarks): ((table: string) => void) | undefined {
    if (this.standing.state(copy) !== 'joining') return undefined
    const join = this.standing.joinOf(copy)
    let progress = this.#joins.get(copy)
    if (progress?.join !== join) {
      progress = { join, peers: new Map() }
      this.#joins.set(copy, progress)
    }
    let compared = progress.peers.get(peer)
    if (!compared) {
      compared = { marks, tables: new Set() }
      progress.peers.set(peer, compared)
    }
    const { tables } = compared
    return (table) => void tables.add(table)
  }

  /** Makes all joining copies whole, whatever they were compared with. Resolves with their number. */
  async trust(): Promise<number> {
    const copies = this.standing.joining()
    for (const copy of copies) {
      const join = this.standing.joinOf(copy)
      const progress = this.#joins.get(copy)
      const peers = progress?.join === join ? [...progress.peers.values()] : []
      await this.standing.complete(
        copy,
        join,
        peers.map(({ marks }) => marks),
      )
    }
    return copies.length
  }

  /** Makes those copies whole that were compared with enough others. Resolves with whether there are any. */
  async finish(): Promise<boolean> {
    let some = false
    for (const copy of this.standing.joining()) {
      const { nodes, needed } = this.standing.quorumToJoin(copy)
      // A node that may not read the full tables yet does not know whom to compare with.
      if (copy === FULL_COPY && nodes.length === 0 && this.standing.holders(copy).length > 1) continue
      const join = this.standing.joinOf(copy)
      const progress = this.#joins.get(copy)
      const peers = progress?.join === join ? progress.peers : new Map<NodeId, Compared>()
      const names = this.tablesOf(copy)
      const compared = nodes.flatMap((node) => {
        const peer = peers.get(node)
        return peer && names.every((name) => peer.tables.has(name)) ? [peer.marks] : []
      })
      if (compared.length < needed) continue
      await this.standing.complete(copy, join, compared)
      this.#joins.delete(copy)
      some = true
    }
    return some
  }
}
