import type { Placement, QuorumCaller } from '../cluster/placement.js'
import type { Db } from '../db/db.js'
import { type NodeId, Priority, type RpcHandler, type Transport } from '../net/transport.js'
import type { Clock } from '../util/clock.js'
import { errorCode } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import { Worker } from '../util/worker.js'
import type { Claim, Claimant } from './claims.js'
import type { LocalBlocks } from './local-blocks.js'
import { checkClaimsPage, checkClaimsRequest, checkIncarnation, METHODS, packClaims } from './wire.js'

const CALL_TIMEOUT_MS = 30_000
/** The wait before another try to ask or tell peers that could not be reached, in ms. */
const RETRY_MS = 10_000
/** Time between two looks for nodes that could not be told yet, in ms. */
const IDLE_MS = 3_600_000
/** The most claims that are sent, or changed, at once. */
const PAGE = 1000
/**
 * The share of their time that claims keep when the process that made them is gone: long enough for the references of
 * its acknowledged writes, which were durable by then.
 */
const ORPHANED_SHARE = 1 / 24

export interface ClaimExchangeParts {
  local: LocalBlocks
  placement: Placement
  caller: QuorumCaller
  transport: Transport
  db: Db
  clock: Clock
  random: Random
  log: Log
  /** The name of this process among all that this node has run. */
  incarnation: Buffer
  /** Called when the claims that older layouts' replicas had are here. */
  onAdopted: (ackedVersion: number) => void
}

/**
 * Moves claims with the layout, and ends those of processes that are gone. A new replica asks the others for their
 * claims once no write goes to older layouts alone any more, and fetches the claimed blocks before older copies may
 * go. A process tells all nodes that it has started, so that claims of uploads that its predecessor never finished do
 * not hold their blocks for a day.
 */
export class ClaimExchange implements Service {
  readonly name = 'block-claims'
  readonly #worker: Worker
  /** The partitions whose claims to adopt, and the nodes that have sent theirs. */
  #adopting: { ackedVersion: number; answered: Set<NodeId> } | undefined
  readonly #told = new Set<NodeId>()
  /** The process of each node that is known to run now. */
  readonly #claimants = new Map<NodeId, Claimant>()
  #orphans: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(private readonly parts: ClaimExchangeParts) {
    const { transport } = parts
    this.#worker = new Worker(this.name, parts, () => this.#work())
    transport.handle(METHODS.claims, this.#serveClaims)
    transport.handle(METHODS.started, this.#serveStarted)
  }

  start(): void {
    this.#stopped = false
    this.#worker.start()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#worker.stop()
    await this.#orphans
  }

  /** Begins to adopt claims; `onAdopted` follows. See BlockManager.refsSynced. */
  adopt(ackedVersion: number): void {
    this.#adopting = { ackedVersion, answered: new Set() }
    this.#worker.wake()
  }

  async #work(): Promise<number> {
    const isTold = await this.#tell()
    const isAdopted = await this.#adopt()
    return isAdopted && isTold ? IDLE_MS : RETRY_MS
  }

  /** Returns whether there is nothing left to adopt. */
  async #adopt(): Promise<boolean> {
    const adopting = this.#adopting
    if (!adopting) return true
    const { caller, placement, log } = this.parts
    const byPeer = new Map<NodeId, number[]>()
    for (const partition of placement.ownPartitions()) {
      for (const node of placement.storageSet(partition)) {
        if (node === caller.self || adopting.answered.has(node)) continue
        const partitions = byPeer.get(node)
        if (partitions) partitions.push(partition)
        else byPeer.set(node, [partition])
      }
    }
    for (const [node, partitions] of byPeer) {
      try {
        await this.#adoptFrom(node, partitions)
        adopting.answered.add(node)
      } catch (error) {
        if (errorCode(error) === 'Closed') throw error
        // A node of an earlier release does not know the call, and its claims stay where they are.
        if (errorCode(error) === 'RemoteError') adopting.answered.add(node)
        log.debug({ node, error }, 'claims of blocks could not be asked for')
      }
    }
    if (this.#adopting !== adopting || !this.#isEnough(adopting.answered)) return false
    this.#adopting = undefined
    this.parts.onAdopted(adopting.ackedVersion)
    return true
  }

  /** Whether, in each live layout, every write quorum has a node whose claims are here. */
  #isEnough(answered: ReadonlySet<NodeId>): boolean {
    const { placement, caller } = this.parts
    return placement.ownPartitions().every((partition) =>
      placement.writeSets(partition).every((set) => {
        const known = set.filter((node) => node === caller.self || answered.has(node)).length
        return known >= Math.max(1, set.length - placement.writeQuorum + 1)
      }),
    )
  }

  async #adoptFrom(node: NodeId, partitions: readonly number[]): Promise<void> {
    const { caller, local, db } = this.parts
    const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background }
    let after: Buffer | undefined
    do {
      const { body } = await caller.call(
        node,
        METHODS.claims,
        { partitions, ...(after && { after }) },
        options,
      )
      const { claims, next } = checkClaimsPage(body)
      const own = claims.filter(({ hash }) => partitions.includes(hash[0]!))
      if (own.length > 0)
        await db.transact((tx) => {
          for (const claim of own) local.counts.adoptClaim(tx, this.#capped(claim))
        })
      after = next
    } while (after)
  }

  readonly #serveClaims: RpcHandler = (body) => {
    const { partitions, after } = checkClaimsRequest(body)
    const { local, db } = this.parts
    const claims: Claim[] = []
    let next: Buffer | undefined
    for (const partition of [...partitions].sort((a, b) => a - b)) {
      if (after && partition < after[0]!) continue
      const from = after?.[0] === partition ? after : undefined
      const page = local.counts.claims.page(db, { partition, after: from, limit: PAGE - claims.length })
      claims.push(...page)
      if (claims.length < PAGE) continue
      const last = claims.at(-1)!
      next = Buffer.concat([last.hash, last.owner])
      break
    }
    return { body: { claims: packClaims(claims), ...(next && { next }) } }
  }

  /** Tells every node that this process has started. Returns whether all of them know. */
  async #tell(): Promise<boolean> {
    const { caller, placement, incarnation, log } = this.parts
    const options = { timeoutMs: CALL_TIMEOUT_MS, priority: Priority.background }
    const nodes = new Set([caller.self, ...placement.allNodes()])
    for (const node of nodes) {
      if (this.#stopped) return true
      if (this.#told.has(node)) continue
      try {
        await caller.call(node, METHODS.started, { incarnation }, options)
        this.#told.add(node)
      } catch (error) {
        if (errorCode(error) === 'RemoteError') this.#told.add(node)
        log.debug({ node, error }, 'a node could not be told that this one has started')
      }
    }
    return placement.layoutVersion > 0 && [...nodes].every((node) => this.#told.has(node))
  }

  readonly #serveStarted: RpcHandler = async (body, { from }) => {
    const claimant = { node: from, incarnation: checkIncarnation(body) }
    this.#claimants.set(from, claimant)
    this.#orphans = this.#orphans
      .then(() => this.#shorten(claimant))
      .catch((error) => {
        this.parts.log.error({ error }, 'claims of a node that has restarted cannot be shortened')
      })
    await this.#orphans
    return { body: null }
  }

  /** The form in which a claim is adopted: claims of processes that are gone hold for a short time only. */
  #capped(claim: Claim): Claim {
    const { local } = this.parts
    const untilMs = this.#orphanedUntilMs()
    if (claim.untilMs <= untilMs) return claim
    for (const claimant of this.#claimants.values()) {
      if (local.counts.claims.isOrphan(claim, claimant)) return { ...claim, untilMs }
    }
    return claim
  }

  #orphanedUntilMs(): number {
    return this.parts.clock.nowMs() + this.parts.local.counts.graces.unclaimedMs * ORPHANED_SHARE
  }

  /** Shortens the claims that earlier processes of a node made, a page at a time. */
  async #shorten(claimant: Claimant): Promise<void> {
    const { db, local } = this.parts
    const untilMs = this.#orphanedUntilMs()
    let after: Buffer | undefined
    while (!this.#stopped) {
      const page = local.counts.claims.page(db, { after, limit: PAGE })
      const orphaned = page.filter(
        (claim) => claim.untilMs > untilMs && local.counts.claims.isOrphan(claim, claimant),
      )
      if (orphaned.length > 0) {
        await db.transact((tx) => {
          for (const claim of orphaned) local.counts.shortenClaim(tx, claim, untilMs)
        })
      }
      if (page.length < PAGE) return
      const last = page.at(-1)!
      after = Buffer.concat([last.hash, last.owner])
    }
  }
}
