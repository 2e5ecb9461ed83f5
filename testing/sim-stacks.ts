import type { Model } from '../src/model/model.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimNode } from './sim-cluster.js'

/** A version of a stack, as far as clients were told of it. All moments are on one scale without ties. */
interface Layer {
  key: string
  version: VersionRecord
  putAckedAt: number
  deleteCalledAt?: number
  deleteAckedAt?: number
  lockAckedAt?: number
}

interface TopRead {
  key: string
  calledAt: number
  returnedAt: number
  version: VersionRecord | undefined
  note: string
}

/** A version that clients want to lock and to delete at the same time, until this moment. */
interface Contest {
  layer: Layer
  untilMoment: number
}

/** How long a contest lasts, in moments; and the share of the locks and deletions that are part of one. */
const CONTEST_MOMENTS = 40
const CONTEST_SHARE = 0.75

/** The keys of the versioned bucket whose versions are deleted from the top, too. */
export const STACK_KEYS = ['stack', 'stack/2'] as const

/** One operation of a client at a node. */
export interface StackRequest {
  readonly random: SeededRandom
  readonly node: SimNode
  readonly bucket: Buffer
  put(key: string): Promise<VersionRecord | undefined>
  /** Takes note of a version whose deletion was acknowledged. */
  deleted(key: string, version: VersionRecord): void
  /** Runs it and resolves with undefined if it failed in a way that must be expected. */
  attempt<T>(what: string, run: (model: Model) => Promise<T>): Promise<T | undefined>
}

class Locked extends Error {
  override name = 'Locked'
}

/**
 * What clients saw of keys whose current versions are deleted for good, so that earlier ones become current again, and whose
 * versions are locked. The order of versions is that of their creation; of what is current, and of what is there, these hold:
 *  - a read of the current version shows none that is older than one acknowledged before the read began, unless somebody had
 *    begun to delete that one before the read ended;
 *  - it shows none whose deletion was acknowledged before it began;
 *  - a version is not both locked and deleted, if nobody takes locks away.
 */
export class Stacks {
  readonly #layers = new Map<string, Layer>()
  readonly #reads: TopRead[] = []
  readonly #contests = new Map<string, Contest>()
  #moment = 0

  /** One operation: writes, reads, locks or deletes versions. */
  async step(request: StackRequest): Promise<void> {
    const { random } = request
    const key = random.pick(STACK_KEYS)
    const roll = random.float()
    if (roll < 0.3) await this.#push(request, key)
    else if (roll < 0.5) await this.#readTop(request, key)
    else {
      const layer = this.#contested(random, key) ?? this.#aLayer(random, key)
      if (!layer) return
      if (roll < 0.7) await this.#lock(request, layer)
      else await this.#delete(request, layer)
    }
  }

  /** One operation on the top of a stack: nothing is locked, and mostly the current version is deleted. */
  async popOrPush(request: StackRequest): Promise<void> {
    const { random } = request
    const key = random.pick(STACK_KEYS)
    const roll = random.float()
    if (roll < 0.3) await this.#push(request, key)
    else if (roll < 0.6) await this.#readTop(request, key)
    else {
      const layer = this.#layersOf(key).at(-1)
      if (layer) await this.#delete(request, layer)
    }
  }

  async #push({ put }: StackRequest, key: string): Promise<void> {
    const version = await put(key)
    if (version) this.#layers.set(idOf(version), { key, version, putAckedAt: this.#moment++ })
  }

  async #readTop({ node, bucket, attempt }: StackRequest, key: string): Promise<void> {
    const calledAt = this.#moment++
    const found = await attempt(`top ${key}`, async (model) => ({
      version: await model.objects.get(bucket, Buffer.from(key)),
    }))
    if (!found) return
    const note = `top of ${key} at node${node.index}`
    this.#reads.push({ key, calledAt, returnedAt: this.#moment++, version: found.version, note })
  }

  async #lock({ bucket, attempt }: StackRequest, layer: Layer): Promise<void> {
    const { key, version } = layer
    const locked = await attempt(`lock ${key}`, async (model) => ({
      changed: await model.objects.updateLock(bucket, Buffer.from(key), version.id, () => ({
        legalHold: true,
      })),
    }))
    if (locked?.changed) layer.lockAckedAt ??= this.#moment++
  }

  async #delete({ bucket, attempt, deleted }: StackRequest, layer: Layer): Promise<void> {
    const { key, version } = layer
    const before = layer.deleteCalledAt
    const calledAt = this.#moment++
    layer.deleteCalledAt ??= calledAt
    const check = ({ mutable }: VersionRecord) => {
      if (mutable.legalHold?.[1]) throw new Locked('the version is locked')
    }
    const outcome = await attempt(`pop ${key}`, async (model) => {
      try {
        const guard = { check, announces: true }
        return { gone: await model.objects.deleteVersion(bucket, Buffer.from(key), version.id, guard) }
      } catch (error) {
        if (error instanceof Locked) return { gone: 'locked' as const }
        throw error
      }
    })
    if (outcome?.gone === 'locked') {
      // Nothing was deleted by this one, nor by anybody if nobody else tried.
      if (before === undefined && layer.deleteCalledAt === calledAt) delete layer.deleteCalledAt
    } else if (outcome?.gone) {
      layer.deleteAckedAt ??= this.#moment++
      deleted(key, version)
    }
  }

  /** The version that others may be locking or deleting right now: most races need two who want the same. */
  #contested(random: SeededRandom, key: string): Layer | undefined {
    if (!random.chance(CONTEST_SHARE)) return undefined
    const contest = this.#contests.get(key)
    const isOn = (layer: Layer) => layer.deleteAckedAt === undefined && layer.lockAckedAt === undefined
    if (contest && contest.untilMoment > this.#moment && isOn(contest.layer)) return contest.layer
    const layer = this.#aLayer(random, key)
    if (layer) this.#contests.set(key, { layer, untilMoment: this.#moment + CONTEST_MOMENTS })
    return layer
  }

  /** One of the newest layers that nobody is known to have deleted. */
  #aLayer(random: SeededRandom, key: string): Layer | undefined {
    const layers = this.#layersOf(key)
    return layers.length > 0 ? random.pick(layers.slice(-4)) : undefined
  }

  #layersOf(key: string): Layer[] {
    return [...this.#layers.values()].filter(
      (layer) => layer.key === key && layer.deleteAckedAt === undefined && layer.lockAckedAt === undefined,
    )
  }

  /** Descriptions of all that cannot be. */
  check(): string[] {
    const problems: string[] = []
    const layers = [...this.#layers.values()]
    for (const { key, version, lockAckedAt, deleteAckedAt } of layers) {
      if (lockAckedAt !== undefined && deleteAckedAt !== undefined)
        problems.push(
          `a version of ${key} was locked (${lockAckedAt}) and deleted (${deleteAckedAt}): ${idOf(version)}`,
        )
    }
    for (const read of this.#reads) {
      const shown = read.version && this.#layers.get(idOf(read.version))
      if (shown?.deleteAckedAt !== undefined && shown.deleteAckedAt < read.calledAt)
        problems.push(`${read.note} shows a version whose deletion was acknowledged before`)
      const hidden = layers.find(
        ({ key, version, putAckedAt, deleteCalledAt = Number.POSITIVE_INFINITY }) =>
          key === read.key &&
          putAckedAt < read.calledAt &&
          deleteCalledAt > read.returnedAt &&
          (read.version === undefined || isOlder(read.version, version)),
      )
      if (hidden) {
        const what = read.version ? 'an older version' : 'nothing'
        problems.push(`${read.note} shows ${what} though a newer one was acknowledged before it began`)
      }
    }
    return problems
  }
}

function idOf(version: VersionRecord): string {
  return `${version.key.toString()}/${version.id.toString('hex')}`
}

function isOlder(a: VersionRecord, b: VersionRecord): boolean {
  return a.createdUs < b.createdUs || (a.createdUs === b.createdUs && Buffer.compare(a.id, b.id) < 0)
}
