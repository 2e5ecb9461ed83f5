import { createHash } from 'node:crypto'
import type { Bucket } from '../src/model/buckets/buckets.js'
import type { BucketDocuments, DocumentName } from '../src/model/buckets/documents.js'
import { errorCode } from '../src/util/errors.js'
import { RegisterHistory } from './register-history.js'
import { SeededRandom } from './seeded-random.js'
import { checkAvailable } from './sim-available.js'
import { SimClient } from './sim-clients.js'
import { SimCluster, type SimNode } from './sim-cluster.js'
import { Control } from './sim-control.js'
import { Coverage } from './sim-coverage.js'
import { EVENT_RULE, Events } from './sim-events.js'
import { checkEventual } from './sim-eventual.js'
import { checkQueues, checkQuiescent } from './sim-invariants.js'
import { K2vItems } from './sim-k2v.js'
import { drawProfile } from './sim-kinds.js'
import { LayoutChanges } from './sim-layout-changes.js'
import { LIFECYCLE_OPTIONS, LIFECYCLE_RULES, Lifecycle } from './sim-lifecycle.js'
import { Nemesis } from './sim-nemesis.js'
import { readNulls } from './sim-nulls.js'
import { Contents, shownBy } from './sim-objects.js'
import { Pace } from './sim-pace.js'
import { type Profile, type ScenarioKind, SYNC_INTERVAL_MS } from './sim-profile.js'
import { Script, type ScriptEvent } from './sim-script.js'
import { Stacks } from './sim-stacks.js'
import { Tags } from './sim-tags.js'
import { upgradeAll } from './sim-upgrade.js'
import { Watch } from './sim-watch.js'
import type { Workload } from './sim-workload.js'

export interface ScenarioOptions {
  seed: number
  kind: ScenarioKind
  /** The number of copies of everything; by default what the kind has, which is 3 for most. */
  replicationFactor?: number
  /** How long clients work while things break, in ms of virtual time. */
  loadMs: number
  /**
   * Over how long a time their work is spread, in ms of virtual time, with rests between spells of work; all at once
   * unless given.
   */
  lifeMs?: number
  /** Time that a client thinks between two operations, in ms, on average; by default drawn from the seed. */
  thinkMs?: number
  /**
   * How long nothing fails at least before the final checks, in ms: time to collect all that is left over, several
   * rounds of graces and tombstones one after the other. 0: no check of what is stored.
   */
  quietMs?: number
  /** Only these events of a run before happen; all that the seed draws unless given. */
  only?: readonly ScriptEvent[]
  /** Gets every line of the trace. */
  onTrace?: (line: string) => void
}

export interface ScenarioResult {
  /** Descriptions of all faults; empty if there were none. */
  problems: string[]
  /** Equal for equal runs. */
  traceHash: string
  /** The number of operations by kind; `kind!` counts failures. */
  counts: Record<string, number>
  /** The number of the nemesis's acts by kind. */
  acts: Record<string, number>
  /** The number of reads and writes of registers. */
  operations: number
  /** All that was done to the cluster. */
  events: readonly ScriptEvent[]
  coverage: Coverage
  /** How long it took, in ms of virtual time, and how long of that clients worked. */
  virtualMs: number
  loadMs: number
}

const CLIENTS = 8
/** Rounds of comparisons of all copies before the final checks, at least. */
const QUIET_COMPARISONS = 10
/** How long afterwards something may still be queued, in ms: longer than the longest time between two attempts. */
const QUEUED_MS_MAX = 3 * 3600_000
/** The longest that a run may take, in ms of virtual time. */
const LIMIT_MS = 24 * 3600_000

/**
 * Runs one seed: clients of all kinds at five nodes while things break, then rest, then every check there is. The same
 * options give the same run, message by message.
 */
export async function runScenario(options: ScenarioOptions): Promise<ScenarioResult> {
  const random = new SeededRandom(`scenario/${options.kind}/${options.seed}`)
  const hash = new TextHash()
  const profile = drawProfile(options.kind, random, options.replicationFactor)
  const { tombstoneDelayMs, syncSoonMs } = profile
  const syncIntervalMs = comparisonsMs(options, profile)
  const coverage = new Coverage()
  let scenario: Scenario | undefined
  const events = profile.tellsEvents ? new Events(random.fork('events target')) : undefined
  const cluster = new SimCluster({
    ...profile,
    ...{ seed: options.seed, isQuick: true },
    tables: { tombstoneDelayMs, syncIntervalMs, syncSoonMs },
    graces: { unreferencedMs: 60_000, unclaimedMs: 300_000 },
    contestsMs: 120_000,
    ...(events && { events: () => events.options() }),
    ...(profile.hasLifecycle && { lifecycle: LIFECYCLE_OPTIONS }),
    trace: (line) => {
      hash.add(line)
      coverage.traced(line)
      options.onTrace?.(line)
      scenario?.nemesis?.strikes.traced(line)
    },
  })
  const problems: string[] = []
  scenario = new Scenario(options, profile, cluster, random, problems, coverage, events)
  await cluster.clock.runUntil(scenario.run(), LIMIT_MS)
  return {
    problems,
    traceHash: hash.digest(),
    counts: scenario.counts,
    acts: scenario.acts,
    operations: scenario.history.size,
    events: scenario.script.events,
    coverage,
    virtualMs: cluster.clock.monotonicMs(),
    loadMs: options.loadMs * profile.loadFactor,
  }
}

function comparisonsMs({ lifeMs }: ScenarioOptions, { syncIntervalMs }: Profile): number {
  return lifeMs === undefined ? SYNC_INTERVAL_MS : syncIntervalMs
}

class Scenario {
  readonly history = new RegisterHistory()
  readonly script: Script
  readonly counts: Record<string, number> = {}
  acts: Record<string, number> = {}
  nemesis: Nemesis | undefined

  constructor(
    private readonly options: ScenarioOptions,
    private readonly profile: Profile,
    private readonly cluster: SimCluster,
    private readonly random: SeededRandom,
    private readonly problems: string[],
    private readonly coverage: Coverage,
    private readonly events: Events | undefined,
  ) {
    this.script = new Script(options.only)
  }

  async run(): Promise<void> {
    const { cluster, coverage, random, options, problems, profile } = this
    await cluster.start()
    const w = await this.#workload()
    const nemesis = new Nemesis(
      cluster,
      random.fork('nemesis'),
      this.script,
      // Aimed faults hit the bucket that is worked on.
      { ...profile, bucket: (profile.versionedShare === 1 ? w.versionedBucket : w.bucket).id },
      problems,
      coverage,
    )
    this.nemesis = nemesis
    w.onAcknowledged = (...what) => nemesis.strikes.onAcknowledged(...what)
    w.onDeletion = (node, operationId) => nemesis.strikes.onDeletion(node, operationId)
    w.onEarlyRead = (operationId) => nemesis.strikes.onEarlyRead(operationId)
    const loadMs = options.loadMs * profile.loadFactor
    const nowMs = cluster.clock.monotonicMs()
    const pace =
      options.lifeMs === undefined
        ? Pace.atOnce(nowMs, loadMs)
        : Pace.drawn(random.fork('pace'), nowMs, loadMs, options.lifeMs)
    const clients = Array.from({ length: CLIENTS }, (_, i) =>
      new SimClient(w, random.fork(`client${i}`), `client${i}`).run(pace),
    )
    const changesLayout = profile.changesLayout !== 'no' && this.script.happens(cluster.clock, 'layout/0')
    const changes = new LayoutChanges({
      ...{ cluster, random, profile, coverage, pace, loadMs },
      bucket: w.bucket,
      readsAt: (node) => this.#readsAt(w, node),
    })
    await Promise.all([
      ...clients,
      changesLayout && changes.run(),
      upgradeAll({ ...{ cluster, pace, coverage }, random: random.fork('upgrade'), everyMs: loadMs / 4 }),
      coverage.watch(cluster, pace),
      new Watch(w, random.fork('watch')).run(pace),
      nemesis.run(pace).then(() => nemesis.end()),
    ])
    this.acts = nemesis.acts
    await this.#readAll(w)
    await w.items?.readAll(random)
    if (w.lifecycle) {
      problems.push(...(await w.lifecycle.end(random, w)))
      this.counts.ended = w.lifecycle.ended()
    }
    for (const bucket of [w.bucket, w.versionedBucket])
      await cluster.retried(random, (node) => node.core!.model.uploads.endAll(bucket.id))
    // The scrub finds the files that were being written at a crash.
    for (const { core } of cluster.nodes) await core!.blocks.scrub.begin()
    const { quietMs = QUIET_COMPARISONS * comparisonsMs(options, profile) } = options
    await cluster.clock.sleep(quietMs)
    if (quietMs > 0) await this.#untilNothingIsQueued()
    const restAt = this.history.moment()
    await this.#readAll(w)
    await this.#readFresh(w)
    await w.tags.readAll(w, random)
    await w.items?.readAll(random)
    if (w.operations.nulls) await readNulls(w, random)
    const mode = profile.consistencyMode
    const seen = mode === 'consistent' ? this.history.check() : checkEventual(this.history, mode, restAt)
    problems.push(...seen, ...w.stacks.check())
    if (quietMs === 0) return
    // The checks ask only once, so no message may get lost.
    cluster.resetPaths({ lossShare: 0 })
    problems.push(...(await checkQuiescent(w)))
    problems.push(...(w.items?.check() ?? []))
    if (w.events) this.counts.told = w.events.told.length
    problems.push(...(w.events?.check(w) ?? []))
    problems.push(...(await checkAvailable(w)), ...(await w.control.check()))
  }

  async #workload(): Promise<Workload> {
    const { cluster, profile, random } = this
    const bucket = await this.#createBucket('plain')
    let versionedBucket = await this.#createBucket('versioned')
    await cluster.retried(random, (node) =>
      node.core!.model.buckets.setDocument(versionedBucket, 'versioning', 'enabled'),
    )
    const known = () => cluster.nodes[0]!.core!.model.buckets.byId(versionedBucket.id)
    while (known()?.versioning !== 'enabled') await cluster.clock.sleep(100)
    versionedBucket = known()!
    const buckets = [bucket, versionedBucket]
    if (this.events) await this.#setDocument(buckets, 'notification', [EVENT_RULE])
    if (profile.hasLifecycle) await this.#setDocument(buckets, 'lifecycle', LIFECYCLE_RULES)
    const key = await cluster.retried(random, (node) => node.core!.model.keys.create('shared'))
    return {
      ...{ cluster, bucket, versionedBucket, keys: profile.keys, versionedKeys: profile.versionedKeys },
      versionedShare: profile.versionedShare,
      history: this.history,
      stacks: new Stacks(),
      versioning: new Map(),
      tags: new Tags(),
      events: this.events,
      lifecycle: profile.hasLifecycle ? new Lifecycle(cluster, this.history) : undefined,
      items: profile.operations.k2v
        ? new K2vItems(cluster, bucket.id, this.problems, this.counts)
        : undefined,
      control: new Control(cluster, key.id),
      operations: profile.operations,
      script: this.script,
      contents: new Contents(profile.blockBytes),
      problems: this.problems,
      coverage: this.coverage,
      freshEveryMs: profile.freshEveryMs,
      freshKeys: new Set(),
      versions: new Map(),
      owners: new Set(),
      deletedVersions: new Map(),
      thinkMs: this.options.thinkMs ?? profile.thinkMs,
      ...{ judgeShare: profile.judgeShare, judgeMs: profile.judgeMs, lookEveryMs: profile.lookEveryMs },
      counts: this.counts,
    }
  }

  /** Makes a bucket, or takes the one that an attempt has made which failed. */
  #createBucket(name: string): Promise<Bucket> {
    return this.cluster.retried(this.random, ({ core }) => {
      const { buckets } = core!.model
      return buckets.create(name).catch(async (error: unknown) => {
        const made = errorCode(error) === 'Conflict' ? await buckets.byName(name, undefined) : undefined
        if (made) return made
        throw error
      })
    })
  }

  /** Sets a document of buckets. Resolves when all nodes know it. */
  async #setDocument<N extends DocumentName>(
    buckets: readonly Bucket[],
    name: N,
    document: BucketDocuments[N],
  ): Promise<void> {
    const { cluster, random } = this
    for (const bucket of buckets)
      await cluster.retried(random, (node) => node.core!.model.buckets.setDocument(bucket, name, document))
    const isKnown = ({ core }: SimNode) =>
      buckets.every(({ id }) => core?.model.buckets.byId(id)?.document(name) !== undefined)
    while (!cluster.nodes.every(isKnown)) await cluster.clock.sleep(100)
  }

  /** Reads each of the keys that were used for a moment, at some node. */
  async #readFresh({ bucket, freshKeys }: Workload): Promise<void> {
    for (const key of freshKeys) {
      const op = this.history.call(key, 'read', null, 'at the end')
      const version = await this.cluster.retried(this.random, ({ core }) =>
        core!.model.objects.get(bucket.id, Buffer.from(key)),
      )
      this.history.answered(op, shownBy(version))
    }
  }

  /** What failed again and again while a node was away for long is tried only now and then. */
  async #untilNothingIsQueued(): Promise<void> {
    const { clock } = this.cluster
    const untilMs = clock.monotonicMs() + QUEUED_MS_MAX
    while (clock.monotonicMs() < untilMs && checkQueues(this.cluster).length > 0) await clock.sleep(60_000)
  }

  /** Reads the keys without versions once at a node, all at the same time. */
  async #readsAt({ bucket, keys }: Workload, node: SimNode): Promise<void> {
    const read = async (key: string) => {
      const op = this.history.call(key, 'read', null, `at node${node.index}`)
      const found = node.core!.model.objects.get(bucket.id, Buffer.from(key))
      await found.then(
        (version) => this.history.answered(op, shownBy(version)),
        () => {},
      )
    }
    await Promise.all(keys.map(read))
  }

  /** Reads every key at every node. */
  async #readAll(w: Workload): Promise<void> {
    for (const node of this.cluster.nodes) {
      if (!node.core!.cluster.layout.view.mayCoordinate) continue
      for (const [bucket, keys, prefix] of [
        [w.bucket, w.keys, ''],
        [w.versionedBucket, w.versionedKeys, 'versioned/'],
      ] as const) {
        for (const key of keys) {
          const op = this.history.call(`${prefix}${key}`, 'read', null, `at the end at node${node.index}`)
          const version = await this.cluster.retried(this.random, () =>
            node.core!.model.objects.get(bucket.id, Buffer.from(key)),
          )
          this.history.answered(op, shownBy(version))
        }
      }
    }
  }
}

/** SHA-256 of many short texts: hashed a good many at a time. */
class TextHash {
  readonly #hash = createHash('sha256')
  #text = ''

  add(text: string): void {
    this.#text += text
    if (this.#text.length < 65_536) return
    this.#hash.update(this.#text)
    this.#text = ''
  }

  digest(): string {
    return this.#hash.update(this.#text).digest('hex')
  }
}
