import type { NodeAddress } from './dial.js'
import type { Link } from './link.js'

/** A link, with the facts that decide which of several links to one peer stays. */
export interface RankedLink {
  link: Link
  address: NodeAddress
  /** Whether the node with the smaller id opened it. */
  dialedBySmallerId: boolean
  /** The dialing process's count of its connections. */
  dialNumber: number
  /** The incarnation of the peer's process. */
  incarnation: string
}

/**
 * The links to one peer; usually one. Two nodes that dial each other at once get two. Both then prefer the one that
 * the node with the smaller id opened, and of those the newest; the others take no new calls and close when idle,
 * so that nothing under way fails.
 */
export class PeerLinks {
  #links: RankedLink[] = []
  #preferred: RankedLink | undefined

  /** The link for new calls. */
  get preferred(): RankedLink | undefined {
    return this.#preferred
  }

  all(): readonly RankedLink[] {
    return this.#links
  }

  add(added: RankedLink): void {
    // Links to an earlier process of the peer are dead, whether this side noticed or not.
    const stale = this.#links.filter((other) => other.incarnation !== added.incarnation)
    this.#links = [...this.#links.filter((other) => other.incarnation === added.incarnation), added]
    this.#choose()
    for (const { link } of stale) link.fail('the peer was restarted')
  }

  remove(link: Link): void {
    this.#links = this.#links.filter((other) => other.link !== link)
    this.#choose()
  }

  #choose(): void {
    // A link that the peer may close at any moment is the last choice.
    const [first, ...others] = [...this.#links].sort(
      (a, b) =>
        Number(a.link.mayClose) - Number(b.link.mayClose) ||
        Number(b.dialedBySmallerId) - Number(a.dialedBySmallerId) ||
        b.dialNumber - a.dialNumber,
    )
    if (first !== this.#preferred) first?.link.undrain()
    this.#preferred = first
    for (const { link } of others) link.drain()
  }
}
