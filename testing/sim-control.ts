import { createHash } from 'node:crypto'
import { CURRENT_MS } from '../src/model/buckets/freshness.js'
import type { Model } from '../src/model/model.js'
import { errorCode } from '../src/util/errors.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster, SimNode } from './sim-cluster.js'

type Attempt = <T>(what: string, run: (model: Model) => Promise<T>) => Promise<T | undefined>
type Right = 'read' | 'write' | 'owner'

/** A permission that is given once, and taken away once. All moments are on one scale without ties. */
interface Grant {
  bucket: Buffer
  givenAt?: number
  takesAt?: number
  takenAt?: number
  /** When the revocation was acknowledged, in ms of virtual time. */
  takenMs?: number
}

const RIGHTS: readonly Right[] = ['read', 'write', 'owner']
/** How long all clients want the same name, or add to the same permission, in ms. */
const NAME_EVERY_MS = 1500
const ADDED_EVERY_MS = 4000
/** Grants that clients still speak of. */
const RECENT = 6

/**
 * What clients see of names and permissions, which are decided by votes of all nodes. These hold:
 *  - a name is given to one bucket at the most, and means the bucket that was told so;
 *  - a permission that was taken away is away: at once for who asks a majority, and after CURRENT_MS for requests at every
 *    node; one that was given is there until somebody begins to take it away;
 *  - of several who add to a permission at the same time none loses what another one added.
 */
export class Control {
  readonly problems: string[] = []
  readonly #named = new Map<string, Set<string>>()
  readonly #grants: Grant[] = []
  readonly #added = new Map<number, { bucket: Buffer; rights: Set<Right> }>()
  #moment = 0

  /** @param keyId an access key that all nodes know */
  constructor(
    private readonly cluster: SimCluster,
    private readonly keyId: string,
  ) {}

  /** One operation at a node. `attempt` runs it and resolves with undefined if it failed in a way that must be expected. */
  async step(random: SeededRandom, node: SimNode, attempt: Attempt): Promise<void> {
    const roll = random.float()
    if (roll < 0.2) await this.#claim(attempt)
    else if (roll < 0.4) await this.#add(random.pick(RIGHTS), attempt)
    else if (roll < 0.5) await this.#give(attempt)
    else {
      const recent = this.#grants.slice(-RECENT)
      if (recent.length === 0) return
      const grant = random.pick(recent)
      if (roll < 0.65) await this.#take(grant, attempt)
      else if (roll < 0.85) await this.#look(grant, node, attempt)
      else await this.#authorize(grant, node, attempt)
    }
  }

  async #claim(attempt: Attempt): Promise<void> {
    const name = `name-${Math.floor(this.cluster.clock.monotonicMs() / NAME_EVERY_MS)}`
    const made = await attempt(`name ${name}`, async ({ buckets }) => {
      try {
        return await buckets.create(name)
      } catch (error) {
        if (errorCode(error) === 'Conflict') return 'taken'
        throw error
      }
    })
    if (made === undefined || made === 'taken') return
    const told = this.#named.get(name) ?? new Set()
    this.#named.set(name, told.add(made.hexId))
    if (told.size > 1) this.problems.push(`${name} was given ${told.size} times: ${[...told].join(', ')}`)
  }

  async #add(right: Right, attempt: Attempt): Promise<void> {
    const turn = Math.floor(this.cluster.clock.monotonicMs() / ADDED_EVERY_MS)
    const added = this.#added.get(turn) ?? { bucket: bucketOf(`added ${turn}`), rights: new Set() }
    this.#added.set(turn, added)
    const before = [...added.rights]
    const key = await attempt(`allow ${right} ${turn}`, ({ keys }) =>
      keys.changePermissions(this.keyId, added.bucket, (now) => ({ ...now, [right]: true })),
    )
    if (!key) return
    added.rights.add(right)
    const now = key.permissions.get(added.bucket.toString('hex'))
    for (const other of [...before, right])
      if (!now?.[other]) this.problems.push(`permission ${turn}: ${other} was added, and is gone`)
  }

  async #give(attempt: Attempt): Promise<void> {
    const grant: Grant = { bucket: bucketOf(`grant ${this.#grants.length}`) }
    this.#grants.push(grant)
    const given = await attempt('give', ({ keys }) =>
      keys.setPermissions(this.keyId, grant.bucket, { read: true, write: false, owner: false }),
    )
    // Else it may be given at any time, and nothing can be told of it.
    if (given) grant.givenAt = this.#moment++
  }

  async #take(grant: Grant, attempt: Attempt): Promise<void> {
    if (grant.givenAt === undefined) return
    grant.takesAt ??= this.#moment++
    const taken = await attempt('take', ({ keys }) =>
      keys.setPermissions(this.keyId, grant.bucket, { read: false, write: false, owner: false }),
    )
    if (!taken) return
    grant.takenAt ??= this.#moment++
    grant.takenMs ??= this.cluster.clock.monotonicMs()
  }

  /** Asks a majority for the key. */
  async #look(grant: Grant, node: SimNode, attempt: Attempt): Promise<void> {
    const calledAt = this.#moment++
    const key = await attempt('look', ({ keys }) => keys.refresh(this.keyId))
    if (!key) return
    const returnedAt = this.#moment++
    const isThere = key.permissions.has(grant.bucket.toString('hex'))
    const { givenAt, takesAt = Number.POSITIVE_INFINITY, takenAt } = grant
    if (isThere && takenAt !== undefined && takenAt < calledAt)
      this.problems.push(`node${node.index} shows a permission that was taken away before`)
    if (!isThere && givenAt !== undefined && givenAt < calledAt && takesAt > returnedAt)
      this.problems.push(`node${node.index} does not show a permission that was given before`)
  }

  /** Asks as the authorization of a request does. */
  async #authorize(grant: Grant, node: SimNode, attempt: Attempt): Promise<void> {
    const calledMs = this.cluster.clock.monotonicMs()
    const key = await attempt('authorize', async ({ keys }) => {
      try {
        return await keys.find(this.keyId)
      } catch (error) {
        // A node that has just joined refuses until it has compared its copies with others.
        if (errorCode(error) === 'NotCaughtUp') return undefined
        throw error
      }
    })
    const { takenMs = Number.POSITIVE_INFINITY } = grant
    const isLate = calledMs > takenMs + CURRENT_MS
    if (isLate && key?.permissions.has(grant.bucket.toString('hex')))
      this.problems.push(
        `node${node.index} honours a permission ${calledMs - takenMs} ms after it was taken away`,
      )
  }

  /** Asks every node, once all is well again. Resolves with descriptions of all that was violated ever. */
  async check(): Promise<string[]> {
    for (const node of this.cluster.nodes) {
      const { buckets, keys, cluster } = { ...node.core!.model, ...node.core! }
      if (!cluster.layout.view.mayCoordinate) continue
      for (const [name, [hexId]] of this.#named) {
        const found = (await buckets.byName(name, undefined))?.hexId
        if (found !== hexId) this.problems.push(`node${node.index}: ${name} means ${found}, not ${hexId}`)
      }
      const permissions = (await keys.refresh(this.keyId))?.permissions
      for (const { bucket, takenAt } of this.#grants)
        if (takenAt !== undefined && permissions?.has(bucket.toString('hex')))
          this.problems.push(`node${node.index}: a permission that was taken away is back`)
      for (const { bucket, rights } of this.#added.values())
        for (const right of rights)
          if (!permissions?.get(bucket.toString('hex'))?.[right])
            this.problems.push(`node${node.index}: a permission that was added is gone`)
    }
    return this.problems
  }
}

function bucketOf(name: string): Buffer {
  return createHash('md5').update(name).digest()
}
