import { createHash } from 'node:crypto'
import type { Bucket } from '../src/model/buckets/buckets.js'
import { blockOwner } from '../src/model/content/refs.js'
import type { Model } from '../src/model/model.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { CarportError } from '../src/util/errors.js'
import type { RegisterOp } from './register-check.js'
import type { SeededRandom } from './seeded-random.js'
import { INLINE_BYTES_MAX, NodeDied, type SimNode } from './sim-cluster.js'
import { conditionalWrite, createAll } from './sim-conditional.js'
import { checkContent } from './sim-content.js'
import { copyObject } from './sim-copies.js'
import { WRITES } from './sim-coverage.js'
import { deleteMany, deleteVersion } from './sim-deletions.js'
import type { Tokens } from './sim-k2v.js'
import { Lifecycle } from './sim-lifecycle.js'
import { listObjects, listVersions } from './sim-listings.js'
import { multipart } from './sim-multipart.js'
import { nullStep } from './sim-nulls.js'
import { drippingSource, newVersion, shownBy, sourceOf } from './sim-objects.js'
import type { Pace } from './sim-pace.js'
import type { OperationName } from './sim-profile.js'
import { type ClientRequest, isExpectedFailure, type Target } from './sim-request.js'
import type { StackRequest } from './sim-stacks.js'
import type { Workload } from './sim-workload.js'

/** Keys of one round of duels. */
const DUELS = 12
/** How long a client takes between the halves of a body that it sends slowly, in ms, at least. */
const DRIP_MS_MIN = 70_000
/** Share of the operations that go to the first key. */
const HOT_SHARE = 0.3
/** How long ago a key that was used for a while is deleted at the most, in ms. */
const USED_MS = 60_000

/** A client that does one operation after the other, mostly at one node. */
export class SimClient {
  readonly #home: SimNode
  #random: SeededRandom
  #operationId = ''
  readonly #tokens: Tokens = new Map()

  constructor(
    private readonly w: Workload,
    private readonly seed: SeededRandom,
    private readonly name: string,
  ) {
    this.#random = seed
    this.#home = seed.pick(w.cluster.nodes)
  }

  /**
   * Works in all spells of load. Each operation draws from a generator of its own, so that it stays what it is when others are
   * left out.
   */
  async run(pace: Pace): Promise<void> {
    const { cluster, script } = this.w
    const { clock } = cluster
    for (let i = 0; clock.monotonicMs() < pace.endMs; i++) {
      this.#operationId = `${this.name}/${i}`
      this.#random = this.seed.fork(String(i))
      const waitMs = pace.untilLoad(clock.monotonicMs(), this.#random.exponential(this.w.thinkMs))
      if (!(await script.wait(clock, this.#operationId, waitMs))) continue
      const node = this.#node()
      if (node) await this.#step(node)
    }
  }

  #node(): SimNode | undefined {
    const ready = this.w.cluster.readyNodes()
    if (ready.length === 0) return undefined
    return this.#home.ready && this.#random.chance(0.7) ? this.#home : this.#random.pick(ready)
  }

  async #step(node: SimNode): Promise<void> {
    const { w } = this
    const random = this.#random
    const target = this.#target()
    const writeTarget = w.freshEveryMs > 0 ? this.#freshTarget() : target
    switch (this.#operation()) {
      case 'put':
        return void (await this.#put(node, writeTarget))
      case 'drip':
        return void (await this.#put(node, writeTarget, DRIP_MS_MIN * (1 + random.float())))
      case 'get':
        return this.#get(node, target)
      case 'head':
        return this.#head(node, target)
      case 'delete':
        return void (await this.#delete(
          node,
          w.freshEveryMs > 0 ? this.#freshTarget(random.float() * USED_MS) : target,
        ))
      case 'list':
        return listObjects(this.#request(node, target))
      case 'list-versions':
        return listVersions(this.#request(node, target))
      case 'multipart':
        return multipart(node, {
          ...{ w, random, target },
          note: (at, what) => this.#note(at, what),
          try: (at, what, run) => this.#try(at, what, run),
          otherThan: (other) => this.#otherThan(other),
          remember: (version) => this.#remember(target.key, version),
        })
      case 'brief':
        return this.#brief(node)
      case 'announce':
        return this.#announce(node, writeTarget)
      case 'rewrite':
        return this.#rewrite(node, writeTarget)
      case 'get-version':
        return this.#getVersion(node)
      case 'delete-version':
        return deleteVersion(this.#request(node, target))
      case 'delete-many':
        return deleteMany(this.#request(node, target))
      case 'control':
        return w.control.step(random, node, (what, run) => this.#try(node, what, run))
      case 'conditional':
        return conditionalWrite(this.#request(node, writeTarget))
      case 'duel':
        return createAll(this.#duels())
      case 'copy':
        return copyObject({ ...this.#request(node, writeTarget), source: this.#target() })
      case 'tags':
        return w.tags.step(this.#request(node, target))
      case 'life':
        return this.#life(node)
      case 'k2v':
        return w.items!.step(node, random, this.#tokens, (at, what, run) => this.#try(at, what, run))
      case 'stack':
        return w.stacks.step(this.#stackRequest(node))
      case 'pop':
        return w.stacks.popOrPush(this.#stackRequest(node))
      case 'nulls':
        return nullStep(this.#request(node, target))
    }
  }

  #target(): Target {
    const { w } = this
    const random = this.#random
    const versioned = random.chance(w.versionedShare)
    const keys = versioned ? w.versionedKeys : w.keys
    const key = random.chance(HOT_SHARE) ? keys[0]! : random.pick(keys)
    const bucket = versioned ? w.versionedBucket : w.bucket
    return { bucket, key, register: `${versioned ? 'versioned/' : ''}${key}` }
  }

  #request(node: SimNode, target: Target): ClientRequest<Workload> {
    return {
      ...{ w: this.w, random: this.#random, target },
      note: (what) => this.#note(node, what),
      try: (what, run) => this.#try(node, what, run),
      remember: (version, key = target.key) => this.#remember(key, version),
    }
  }

  #stackRequest(node: SimNode): StackRequest {
    const bucket = this.w.versionedBucket
    return {
      ...{ random: this.#random, node, bucket: bucket.id },
      put: (key) => this.#write(node, bucket, key),
      deleted: (key, version) =>
        void this.w.deletedVersions.set(`${key}/${version.id.toString('hex')}`, { key, version }),
      attempt: (what, run) => this.#try(node, what, run),
    }
  }

  /** Two clients for each of some keys that were not used before, at nodes that no change of the layout takes away. */
  #duels(): ClientRequest<Workload>[] {
    const { cluster, bucket, freshKeys } = this.w
    const { nodes, gateways = 0 } = cluster.options
    const staying = [cluster.nodes[0]!, ...cluster.nodes.slice(nodes, nodes + gateways)]
    return Array.from({ length: DUELS }, (_, i) => `duel/${this.#operationId}/${i}`).flatMap((key) => {
      freshKeys.add(key)
      return [0, 1].map((who) => {
        const random = this.#random.fork(`${key}/${who}`)
        const request = this.#request(random.pick(staying), { bucket, key, register: key })
        return { ...request, random }
      })
    })
  }

  /** The key that all write to for a while, which nobody used before; or the one of some time ago. */
  #freshTarget(agoMs = 0): Target {
    const { cluster, bucket, freshEveryMs, freshKeys } = this.w
    const key = `fresh/${Math.floor(Math.max(0, cluster.clock.monotonicMs() - agoMs) / freshEveryMs)}`
    freshKeys.add(key)
    return { bucket, key, register: key }
  }

  /** The next operation, by its share. */
  #operation(): OperationName {
    const shares = Object.entries(this.w.operations) as [OperationName, number][]
    let roll = this.#random.float() * shares.reduce((sum, [, share]) => sum + share, 0)
    for (const [name, share] of shares) {
      roll -= share
      if (roll < 0) return name
    }
    return shares[0]![0]
  }

  /** Writes a short object, of which nothing is remembered. */
  async #write(node: SimNode, bucket: Bucket, key: string): Promise<VersionRecord | undefined> {
    const content = this.w.contents.make(this.#random, 64)
    return this.#try(node, `push ${key}`, async (model) => {
      const stored = await model.blobs.write(sourceOf(content, this.#random))
      return model.objects.put(newVersion(bucket, key, stored.md5), stored, bucket.versioning)
    })
  }

  /** Runs an operation at a node; undefined if it failed in a way that must be expected. */
  async #try<T>(node: SimNode, what: string, run: (model: Model) => Promise<T>): Promise<T | undefined> {
    const { cluster, counts, coverage, problems } = this.w
    const kind = what.split(' ')[0]!
    const startMs = cluster.clock.monotonicMs()
    let outcome = 'ok'
    const ended = coverage.operation(kind)
    try {
      // Between two steps of an operation the node may have died, and every other one, too.
      if (!node.core) throw new NodeDied(`node${node.index} is down`)
      const result = await cluster.surviving(node, run(node.core.model))
      this.w.onAcknowledged?.(node, this.#operationId, WRITES.has(kind))
      return result
    } catch (error) {
      outcome = error instanceof CarportError ? error.code : String(error)
      if (
        !(error instanceof NodeDied) &&
        !isExpectedFailure(error, cluster.options.consistencyMode !== 'consistent')
      ) {
        const stack = error instanceof Error ? error.stack : ''
        problems.push(
          `${this.name} at node${node.index}, ${startMs.toFixed(0)} ms: ${what}: ${String(error)}\n${stack}`,
        )
      }
      return undefined
    } finally {
      ended()
      counts[kind] = (counts[kind] ?? 0) + 1
      if (outcome !== 'ok') counts[`${kind}!`] = (counts[`${kind}!`] ?? 0) + 1
      cluster.network.trace(`${this.name} node${node.index} ${what}: ${outcome}`)
    }
  }

  #note(node: SimNode, what: string): string {
    return `${this.name} ${what} at node${node.index}, ${this.w.cluster.clock.monotonicMs().toFixed(1)} ms`
  }

  #bodyBytes(): number {
    const { w } = this
    const random = this.#random
    const { blockBytes } = w.cluster.options
    if (random.chance(0.6)) return 16 + random.below(1000)
    // Some contents are so long that their list of blocks does not fit in the row.
    if (random.chance(0.05) && blockBytes <= 8192) return 65 * blockBytes + random.below(blockBytes)
    return INLINE_BYTES_MAX + 1 + random.below(3 * blockBytes)
  }

  /**
   * Resolves with whether it was acknowledged; so does `#delete`.
   * @param dripMs how long the client takes between the halves of the body, in ms
   */
  async #put(node: SimNode, target: Target, dripMs = 0): Promise<boolean> {
    const { contents, history, lifecycle, cluster } = this.w
    const { bucket, key, register } = target
    const bytes = dripMs > 0 ? 4 * cluster.options.blockBytes : this.#bodyBytes()
    const content = contents.make(this.#random, bytes)
    const etag = createHash('md5').update(content).digest('hex')
    contents.register(etag, content)
    const op = history.call(register, 'write', etag, this.#note(node, 'put'))
    lifecycle?.writes(target, etag)
    const calledMs = this.w.cluster.clock.monotonicMs()
    const source =
      dripMs > 0
        ? drippingSource(content, () => cluster.clock.sleep(dripMs))
        : sourceOf(content, this.#random)
    const written = await this.#try(node, `put ${register} ${etag.slice(0, 8)}`, async (model) => {
      const stored = await model.blobs.write(source)
      return model.objects.put(newVersion(bucket, key, stored.md5), stored, bucket.versioning)
    })
    if (!written) {
      history.unanswered(op)
      return false
    }
    history.answered(op)
    this.#remember(key, written)
    if (bucket.versioning === 'enabled' && Lifecycle.ends(key)) lifecycle?.wrote(written, calledMs)
    return true
  }

  async #delete(node: SimNode, { bucket, key, register }: Target): Promise<boolean> {
    const { history } = this.w
    this.w.onDeletion?.(node, this.#operationId)
    const op = history.call(register, 'write', null, this.#note(node, 'delete'))
    const written = await this.#try(node, `delete ${register}`, (model) =>
      model.objects.delete(bucket.id, Buffer.from(key), '', bucket.versioning),
    )
    if (!written) return false
    history.answered(op)
    this.#remember(key, written)
    return true
  }

  #remember(key: string, version: VersionRecord): void {
    this.w.owners.add(blockOwner(version.id).toString('hex'))
    if (!version.isNull && !Lifecycle.ends(key))
      this.w.versions.set(`${key}/${version.id.toString('hex')}`, { key, version })
  }

  async #get(node: SimNode, { bucket, key, register }: Target): Promise<void> {
    const op = this.w.history.call(register, 'read', null, this.#note(node, 'get'))
    await this.#try(node, `get ${register}`, async (model) => {
      const version = await model.objects.get(bucket.id, Buffer.from(key))
      this.#read(op, version)
      if (version?.state === 'object') await checkContent(this.w, model, version, register)
    })
  }

  async #head(node: SimNode, { bucket, key, register }: Target): Promise<void> {
    const op = this.w.history.call(register, 'read', null, this.#note(node, 'head'))
    await this.#try(node, `head ${register}`, async (model) => {
      this.#read(op, await model.objects.get(bucket.id, Buffer.from(key), undefined, { body: false }))
    })
  }

  #read(op: RegisterOp, version: VersionRecord | undefined): void {
    const etag = shownBy(version)
    this.w.history.answered(op, etag, `> ${version?.id.toString('hex') ?? ''}`)
    if (etag !== null && this.w.history.isUnderWay(etag)) this.w.onEarlyRead?.(this.#operationId)
  }

  /** An operation on a key that lifecycle rules speak of. */
  async #life(node: SimNode): Promise<void> {
    const { w } = this
    const lifecycle = w.lifecycle!
    const random = this.#random
    const target = lifecycle.target(w, random)
    const roll = random.float()
    if (roll < 0.4) await this.#put(node, target)
    else if (roll < 0.65) await this.#get(node, target)
    else if (roll < 0.7) await this.#delete(node, target)
    else if (roll < 0.8) await lifecycle.upload(this.#request(node, target))
    else await lifecycle.look(this.#request(node, target))
  }

  /**
   * An object that is deleted again at once. Who gets no answer to that looks whether it is there, in listings of other nodes:
   * they must not say that it is gone, and then that it is there.
   */
  async #brief(node: SimNode): Promise<void> {
    const { bucket, keys } = this.w
    const key = this.#random.pick(keys)
    const target = { bucket, key, register: key }
    if (!(await this.#put(node, target)) || !node.ready || (await this.#delete(node, target))) return
    for (let i = 0; i < 2; i++) {
      const other = this.#otherThan(node)
      if (other.ready) await listObjects(this.#request(other, target), true)
    }
  }

  /** A write that is looked for at all other nodes in the moment in which it is acknowledged. */
  async #announce(node: SimNode, target: Target): Promise<void> {
    if (!(await this.#put(node, target))) return
    const others = this.w.cluster.readyNodes().filter((other) => other !== node)
    await Promise.all(others.map((other) => this.#head(other, target)))
  }

  /** A write that is replaced, in the moment in which it is acknowledged, at another node, whose clock may be behind. */
  async #rewrite(node: SimNode, target: Target): Promise<void> {
    if (!(await this.#put(node, target))) return
    const others = this.w.cluster.readyNodes().filter((other) => other !== node)
    if (others.length > 0) await this.#put(this.#random.pick(others), target)
  }

  /** Picks another node that is ready, as a load balancer does; the same one if there is none. */
  #otherThan(node: SimNode): SimNode {
    const ready = this.w.cluster.readyNodes()
    return ready.length > 0 ? this.#random.pick(ready) : node
  }

  /** Checks that every acknowledged version can be read by its id. */
  async #getVersion(node: SimNode): Promise<void> {
    const { w } = this
    const random = this.#random
    if (w.versions.size === 0) return
    const id = random.pick([...w.versions.keys()])
    const { key, version } = w.versions.get(id)!
    await this.#try(node, `get-version ${id}`, async (model) => {
      const found = await model.objects.get(w.versionedBucket.id, Buffer.from(key), version.id)
      // Another client may have begun to delete it meanwhile.
      if (!w.versions.has(id)) return
      if (!found?.id.equals(version.id)) {
        w.problems.push(`${this.#note(node, 'get-version')}: acknowledged version ${id} is not found`)
      } else if (found.state === 'object') await checkContent(w, model, found, id)
    })
  }
}
