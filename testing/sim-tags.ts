import type { Bucket } from '../src/model/buckets/buckets.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { RegisterOp } from './register-check.js'
import type { RegisterHistory } from './register-history.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimCluster } from './sim-cluster.js'
import type { ClientRequest } from './sim-request.js'
import { STACK_KEYS } from './sim-stacks.js'

class NoObject extends Error {}

/** The part of the workload that is used here. */
interface Shared {
  readonly cluster: SimCluster
  readonly history: RegisterHistory
  readonly operations: { readonly stack?: number }
  readonly versionedBucket: Bucket
  readonly versionedKeys: readonly string[]
  readonly problems: string[]
}

interface Tagged {
  bucket: Buffer
  key: string
  id: Buffer
}

/** Share of the operations in the versioned bucket, and of these, of those that name a version. */
const VERSIONED_SHARE = 0.8
const NAMED_SHARE = 0.6
/** Versions of a key that clients still speak of. */
const RECENT = 4
/** The most versions that are read in the end. */
const READ_AT_END_MAX = 100

/**
 * What clients see of the tags of versions, current ones and others. The tags of each version are a register of their own, which
 * stays with it when it is replaced, and when it becomes current again.
 */
export class Tags {
  readonly #recent = new Map<string, Tagged[]>()
  readonly #tagged = new Map<string, Tagged>()
  /** The changes that were acknowledged, by register: the moment of it, and the stamp, of which the latest one holds. */
  readonly #acknowledged = new Map<string, { at: number; stampUs: number }[]>()
  #count = 0

  /** One operation of a client: reads or changes the tags of a version. */
  async step(request: ClientRequest<Shared>): Promise<void> {
    const { w, random, target } = request
    const isVersioned = random.chance(VERSIONED_SHARE)
    const keys = w.operations.stack ? [...STACK_KEYS, w.versionedKeys[0]!] : w.versionedKeys
    const bucket = isVersioned ? w.versionedBucket : target.bucket
    const key = isVersioned ? random.pick(keys) : target.key
    const recent = this.#recent.get(placeOf(bucket.id, key)) ?? []
    const named = bucket === w.versionedBucket && recent.length > 0 && random.chance(NAMED_SHARE)
    const id = named ? random.pick(recent).id : undefined
    if (random.chance(0.45)) await this.#change(request, bucket.id, key, id)
    else await this.#read(request, bucket.id, key, id)
  }

  async #read(
    request: ClientRequest<Shared>,
    bucket: Buffer,
    key: string,
    id: Buffer | undefined,
  ): Promise<void> {
    const { history } = request.w
    // Which register it is shows in the answer only.
    const calledAt = history.moment()
    const found = await request.try(`tags ${key} ${id?.toString('hex') ?? ''}`, async ({ objects }) => ({
      version: await objects.get(bucket, Buffer.from(key), id, { body: false }),
    }))
    const version = found?.version
    if (version?.state !== 'object') return
    this.#remember(version)
    const op = history.call(registerOf(version), 'read', null, request.note('tags'))
    op.callAt = calledAt
    history.answered(op, tagOf(version))
    this.#checkStamp(request, version, calledAt)
  }

  /** Of changes that are under way together the judge takes any for the last one; their stamps tell. */
  #checkStamp({ w, note }: ClientRequest<Shared>, version: VersionRecord, calledAt: number): void {
    const register = registerOf(version)
    const before = (this.#acknowledged.get(register) ?? []).filter(({ at }) => at < calledAt)
    const latestUs = Math.max(0, ...before.map(({ stampUs }) => stampUs))
    const shownUs = version.mutable.tags?.[0] ?? 0
    if (shownUs >= latestUs) return
    w.problems.push(`${register}: ${note('tags')} shows what was changed at ${shownUs}, not at ${latestUs}`)
  }

  async #change(
    request: ClientRequest<Shared>,
    bucket: Buffer,
    key: string,
    id: Buffer | undefined,
  ): Promise<void> {
    const { w, random } = request
    const value = random.chance(0.15) ? null : `tag${this.#count++}`
    const ops = new Map<string, RegisterOp>()
    // It began before the version was read; and where it begins anew, another version may be the current one.
    const calledAt = w.history.moment()
    const change = (version: VersionRecord) => {
      if (version.state !== 'object') throw new NoObject()
      const register = registerOf(version)
      if (!ops.has(register)) {
        const op = w.history.call(register, 'write', value, request.note('tag'))
        op.callAt = calledAt
        ops.set(register, op)
        this.#tagged.set(register, { bucket, key, id: version.id })
      }
      return { tags: value === null ? null : { t: value } }
    }
    const changed = await request.try(`tag ${key} ${value} ${id?.toString('hex') ?? ''}`, async (model) => {
      try {
        return { version: await model.objects.update(bucket, Buffer.from(key), id, change) }
      } catch (error) {
        if (error instanceof NoObject) return undefined
        throw error
      }
    })
    if (!changed?.version) return
    const register = registerOf(changed.version)
    w.history.answered(ops.get(register)!)
    const changes = this.#acknowledged.get(register) ?? []
    changes.push({ at: w.history.moment(), stampUs: changed.version.mutable.tags?.[0] ?? 0 })
    this.#acknowledged.set(register, changes)
    this.#remember(changed.version)
  }

  #remember({ bucket, key, id }: VersionRecord): void {
    const place = placeOf(bucket, key.toString())
    const recent = this.#recent.get(place) ?? []
    this.#recent.set(place, recent)
    if (recent.some((other) => other.id.equals(id))) return
    recent.push({ bucket, key: key.toString(), id })
    if (recent.length > RECENT) recent.shift()
  }

  /** Reads the tags that were changed last, each at some node. */
  async readAll({ cluster, history }: Shared, random: SeededRandom): Promise<void> {
    for (const { bucket, key, id } of [...this.#tagged.values()].slice(-READ_AT_END_MAX)) {
      const calledAt = history.moment()
      const version = await cluster.retried(random, async ({ core }) => {
        const { objects } = core!.model
        const current = await objects.get(bucket, Buffer.from(key), undefined, { body: false })
        return current?.id.equals(id) ? current : objects.get(bucket, Buffer.from(key), id, { body: false })
      })
      if (version?.state !== 'object') continue
      const op = history.call(registerOf(version), 'read', null, 'tags at the end')
      op.callAt = calledAt
      history.answered(op, tagOf(version))
    }
  }
}

function tagOf({ mutable }: VersionRecord): string | null {
  return mutable.tags?.[1]?.t ?? null
}

function registerOf({ bucket, key, id }: VersionRecord): string {
  return `tags of ${placeOf(bucket, key.toString())}/${id.toString('hex')}`
}

function placeOf(bucket: Buffer, key: string): string {
  return `${bucket.toString('hex').slice(0, 4)}/${key}`
}
