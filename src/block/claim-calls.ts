import type { Placement, QuorumCaller } from '../cluster/placement.js'
import { Priority, type RpcHandler, type Transport } from '../net/transport.js'
import { eachLimited } from '../util/limited.js'
import { claimantId } from './claims.js'
import type { LocalBlocks } from './local-blocks.js'
import { checkFlags, checkHashes, checkOwner, HASHES_MAX, METHODS, optionalIncarnation } from './wire.js'

const TIMEOUT_MS = 60_000
/** Calls, each for the blocks of one partition, that one upload has under way at a time. */
const CALLS_IN_FLIGHT = 16

export interface ClaimCallsParts {
  local: LocalBlocks
  placement: Placement
  caller: QuorumCaller
  transport: Transport
  /** The name of this process among all that this node has run. */
  incarnation: Buffer
  /** Reads a block from wherever it is, and stores it on its replicas again. */
  storeAgain: (hash: Buffer, owner: Buffer) => Promise<void>
}

/** Claims on blocks that are stored already: made, renewed and released at their replicas. */
export class ClaimCalls {
  constructor(private readonly parts: ClaimCallsParts) {
    parts.transport.handle(METHODS.retain, this.#serveRetain)
    parts.transport.handle(METHODS.release, this.#serveRelease)
  }

  /** See BlockManager.retain. */
  retain(owner: Buffer, hashes: readonly Buffer[]): Promise<void> {
    return this.#each(hashes, async (partition, list) => {
      const held = (await this.#claim(partition, owner, list)).map(({ flags }) => flags)
      // Those of which no answer was waited for may have what the others lost.
      for (const [i, hash] of list.entries())
        if (!held.some((flags) => flags[i])) await this.parts.storeAgain(hash, owner)
    })
  }

  /**
   * Renews claims, and makes sure that a write quorum of each live layout has every block: what is missing there is
   * stored again.
   * @throws CarportError QuorumUnavailable, LayoutNotReady; BlockMissing if no replica has a block any more
   */
  keep(owner: Buffer, hashes: readonly Buffer[]): Promise<void> {
    return this.#each(hashes, async (partition, list) => {
      const { placement } = this.parts
      const sets = placement.writeSets(partition)
      const replies = await this.#claim(partition, owner, list)
      for (const [i, hash] of list.entries()) {
        const holders = replies.filter(({ flags }) => flags[i]).map(({ node }) => node)
        const isKept = sets.every(
          (set) => holders.filter((node) => set.includes(node)).length >= placement.writeQuorum,
        )
        if (!isKept) await this.parts.storeAgain(hash, owner)
      }
    })
  }

  /**
   * Ends the claims of an owner that will never reference the blocks: they may go after the short grace.
   * @throws the error of a call to a replica that failed
   */
  release(owner: Buffer, hashes: readonly Buffer[]): Promise<void> {
    const { caller, placement } = this.parts
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.background }
    return this.#each(hashes, async (partition, list) => {
      const body = { owner, hashes: list }
      await Promise.all(
        placement.storageSet(partition).map((node) => caller.call(node, METHODS.release, body, options)),
      )
    })
  }

  async #claim(partition: number, owner: Buffer, hashes: Buffer[]) {
    const { caller, placement, incarnation } = this.parts
    const options = { timeoutMs: TIMEOUT_MS, priority: Priority.normal, quorum: placement.writeQuorum }
    const sets = placement.writeSets(partition)
    const replies = await caller.write(sets, METHODS.retain, { owner, hashes, incarnation }, options)
    return replies.map(({ node, body }) => ({ node, flags: checkFlags(body, 'held', hashes.length) }))
  }

  /** Runs `fn` for the blocks of each partition, at most HASHES_MAX at a time. */
  async #each(
    hashes: readonly Buffer[],
    fn: (partition: number, hashes: Buffer[]) => Promise<void>,
  ): Promise<void> {
    const byPartition = new Map<number, Buffer[]>()
    for (const hash of hashes) {
      const list = byPartition.get(hash[0]!)
      if (list) list.push(hash)
      else byPartition.set(hash[0]!, [hash])
    }
    const calls: [number, Buffer[]][] = []
    for (const [partition, list] of byPartition) {
      for (let i = 0; i < list.length; i += HASHES_MAX) calls.push([partition, list.slice(i, i + HASHES_MAX)])
    }
    await eachLimited(calls, CALLS_IN_FLIGHT, ([partition, list]) => fn(partition, list))
  }

  readonly #serveRetain: RpcHandler = async (body, { from }) => {
    const incarnation = optionalIncarnation(body)
    const by = incarnation && claimantId({ node: from, incarnation })
    return { body: { held: await this.parts.local.claim(checkHashes(body), checkOwner(body), by) } }
  }

  readonly #serveRelease: RpcHandler = async (body) => {
    await this.parts.local.release(checkHashes(body), checkOwner(body))
    return { body: null }
  }
}
