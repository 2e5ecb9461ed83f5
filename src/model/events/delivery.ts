import { replicaOrder } from '../../cluster/partition-leader.js'
import type { Placement } from '../../cluster/placement.js'
import type { Db, Tx } from '../../db/db.js'
import { type NodeId, Priority, type Transport } from '../../net/transport.js'
import { backoffMs } from '../../util/backoff.js'
import type { Clock } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import type { Service } from '../../util/service.js'
import { Worker } from '../../util/worker.js'
import type { Bucket, Buckets } from '../buckets/buckets.js'
import { bucketPartition } from '../sort-keys.js'
import type { VersionRecord } from '../versions/record.js'
import type { ConditionalRow } from '../versions/row-fate.js'
import { eventMessage } from './message.js'
import { EventQueue, type QueuedEvent } from './queue.js'
import {
  EVENT_ID_BYTES,
  type EventRule,
  eventId,
  eventOf,
  noncurrentRemoval,
  type ObjectEvent,
  TARGET_BYTES,
  targetKey,
  wants,
} from './rules.js'
import { BACKOFF, TargetState } from './target-state.js'

/** Where messages go: made from the configuration by src/platform. */
export interface EventTarget {
  readonly name: string
  /** webhook, nats or redis: the last part of its ARN. */
  readonly kind: string
  /** Resolves once the other end has taken the message. */
  send(message: EventMessage): Promise<void>
  close(): Promise<void>
}

export interface EventMessage {
  /** Unique for event and target, in hex: the same again when a message is sent again. */
  id: string
  /** JSON. */
  body: string
}

export interface EventOptions {
  targets: readonly EventTarget[]
  /** awsRegion and x-amz-id-2 of the messages. */
  region: string
  hostId: string
  /** How many events may wait for one target on a node; default BACKLOG_MAX. */
  backlogMax?: number
}

/** How long a conditional write has to take effect before anybody asks, in ms. */
const UNDECIDED_MS = 1_000
/** How long after an answer that it is still open it is asked about again, in ms. */
const OPEN_MS = 5_000
/** A node that is not the first to deliver waits so long for each one before it, in ms. */
const GRACE_MS = 20_000
/** An event is given up after this time, in ms; a row older than this is no news when it arrives. */
const AGE_MAX_MS = 24 * 3600_000
/** Deliveries are remembered so long, in ms: longer than a row can be news. */
const DONE_KEPT_MS = 2 * AGE_MAX_MS
const BACKLOG_MAX = 1_000_000
const BATCH = 64
const IN_FLIGHT = 8
/** The longest time until a node asks again for an event that another one is to deliver, in ms. */
const ASK_MS_MAX = 5 * 60_000
const IDLE_MS = 10 * 60_000
const ASK_TIMEOUT_MS = 5_000
const METHOD = 'model/events'
const EMPTY = Buffer.alloc(0)

/**
 * Event notifications, at least once each. Every replica that takes a row over enqueues the row's event in the same
 * transaction. The first replica that is up delivers it at once and tells the others; these wait a while, then ask those
 * before them, and deliver themselves what none of these has. So an event is sent once as a rule, again when nodes fail in
 * between, and lost only if its target takes no messages for a day.
 */
export class EventDelivery implements Service {
  readonly name = 'events'
  readonly queue: EventQueue
  /** Since the start of the node. */
  readonly counts = { delivered: 0, failed: 0, dropped: 0 }
  readonly #workers = new Map<string, Worker>()
  readonly #states = new Map<string, TargetState>()
  /** Looks through the events that wait at the start: there may be millions. */
  readonly #leftovers: Worker
  #dropped = 0

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      random: Random
      log: Log
      placement: Placement
      transport: Transport
      buckets: Buckets
      /** What became of a row that was written on a condition (see tookEffect). */
      tookEffect(row: ConditionalRow): Promise<'yes' | 'no' | 'open'>
    },
    private readonly options: EventOptions,
  ) {
    const { db, clock, random, log, transport } = deps
    this.queue = new EventQueue(db)
    for (const target of options.targets) {
      this.#states.set(target.name, new TargetState(deps))
      this.#workers.set(
        target.name,
        new Worker(`events to ${target.name}`, { clock, random, log }, () => this.#deliver(target)),
      )
    }
    this.#leftovers = new Worker('events of before', { clock, random, log }, () => this.#lookThrough())
    transport.handle(METHOD, (body) => this.#serve(body))
  }

  get targets(): readonly EventTarget[] {
    return this.options.targets
  }

  start(): void {
    this.#leftovers.start()
    for (const worker of this.#workers.values()) worker.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#leftovers, ...this.#workers.values()].map((worker) => worker.stop()))
    await Promise.allSettled(this.options.targets.map((target) => target.close()))
  }

  /** Drops the next events of targets that are gone, then counts the others; returns how long to wait before more, in ms. */
  async #lookThrough(): Promise<number> {
    const { targets } = this.options
    const dropped = await this.queue.keepOnly(targets.map(({ name }) => targetKey(name)))
    this.#dropped += dropped
    if (dropped > 0) return 0
    if (this.#dropped > 0)
      this.deps.log.warn({ events: this.#dropped }, 'events of targets that are gone are dropped')
    this.#dropped = 0
    if (this.queue.countSome()) return 0
    return Number.POSITIVE_INFINITY
  }

  /** In the transaction that changes the row of a key. */
  changed(tx: Tx, before: VersionRecord | undefined, after: VersionRecord): void {
    const rules = this.#rulesOf(after.bucket)
    if (!rules) return
    const event = eventOf(before, after)
    if (event) this.#enqueue(tx, rules, event)
  }

  /** In the transaction that deletes a noncurrent version. */
  noncurrentDeleted(tx: Tx, version: VersionRecord): void {
    const rules = this.#rulesOf(version.bucket)
    if (rules)
      this.#enqueue(tx, rules, noncurrentRemoval(version, Math.floor(this.deps.clock.nowMs() * 1000)))
  }

  #rulesOf(bucket: Buffer): EventRule[] | undefined {
    if (this.#workers.size === 0) return undefined
    return this.deps.buckets.byId(bucket)?.document('notification')
  }

  #enqueue(tx: Tx, rules: readonly EventRule[], event: ObjectEvent): void {
    const { clock } = this.deps
    const nowMs = clock.nowMs()
    // A row that comes late, by a repair or because the partition moved here.
    if (event.timeUs / 1000 < nowMs - AGE_MAX_MS) return
    for (const rule of rules) {
      if (!this.#workers.has(rule.target) || !wants(rule, event)) continue
      const id = eventId(event, rule)
      if (this.#isFull(rule.target, id)) continue
      const waitMs = this.#before(event.bucket).length * GRACE_MS
      const dueMs = nowMs + waitMs + (event.row ? UNDECIDED_MS : 0)
      this.queue.add(tx, { id, event, ruleId: rule.id, dueMs })
      tx.onCommit(() => this.#workers.get(rule.target)?.wake())
    }
  }

  /** Whether a new event for a target has to be dropped. Others do not go without for one that takes none. */
  #isFull(target: string, id: Buffer): boolean {
    const { backlogMax = BACKLOG_MAX } = this.options
    const state = this.#states.get(target)!
    const isFull = this.queue.waiting(id.subarray(0, TARGET_BYTES)) >= backlogMax
    if (isFull && !state.isFull)
      this.deps.log.error({ target, events: backlogMax }, 'too many events wait: new ones are dropped')
    state.isFull = isFull
    if (isFull) this.counts.dropped++
    return isFull
  }

  /** Sends what is due to a target; returns how long to wait for more, in ms. */
  async #deliver(target: EventTarget): Promise<number> {
    const { clock, log } = this.deps
    const state = this.#states.get(target.name)!
    // New events wake the worker, though their target is down.
    const pauseMs = state.pauseMs()
    if (pauseMs > 0) return pauseMs
    const key = targetKey(target.name)
    while (clock.doubt?.() === undefined && (await this.queue.trim((clock.nowMs() - DONE_KEPT_MS) * 1000))) {
      // Goes on until nothing old is left.
    }
    const due = await this.queue.due(key, clock.nowMs(), BATCH)
    const mine = await this.#mineOf(due)
    const sent: QueuedEvent[] = []
    let failure: { error: unknown } | undefined
    await eachLimited(mine, IN_FLIGHT, async (queued) => {
      // One failure is enough to know that the target does not take messages now.
      if (failure || !(await this.#hasHappened(queued))) return
      try {
        await this.#send(target, queued)
        sent.push(queued)
      } catch (error) {
        failure ??= { error }
        await this.#postpone(queued)
      }
    })
    if (sent.length > 0) {
      await this.queue.done(sent.map(({ id }) => id))
      this.counts.delivered += sent.length
      this.#tell(sent)
      state.works()
    }
    if (failure) {
      this.counts.failed++
      // What a target refuses that takes other messages does not hold these up.
      const waitMs = sent.length > 0 ? 0 : state.pause()
      log.warn({ target: target.name, error: failure.error, waitMs }, 'an event could not be delivered')
      return waitMs
    }
    if (due.length === BATCH) return 0
    const next = this.queue.nextDueMs(key)
    return next === undefined ? IDLE_MS : Math.max(0, next - clock.nowMs())
  }

  /**
   * Whether the row of an event took effect. One that was written on a condition is at first only proposed, and another one may
   * take its place: such an event is taken out. One that is not decided is asked about later.
   */
  async #hasHappened(queued: QueuedEvent): Promise<boolean> {
    const { id, event, attempts } = queued
    const { clock, log, tookEffect } = this.deps
    if (!event.row) return true
    const { root, ...row } = event.row
    const chain = { root, ballot: EMPTY, lineage: EMPTY }
    const { bucket, key } = event
    const fate = await tookEffect({ ...row, bucket, key, chain }).catch((error: unknown) => {
      log.debug({ error }, 'whether an event has happened is not known yet')
      return 'open' as const
    })
    if (fate === 'yes') return true
    if (fate === 'no') await this.queue.drop(id)
    else if (this.#isTooOld(event)) await this.#giveUp(queued)
    else await this.queue.postpone([{ id, dueMs: clock.nowMs() + OPEN_MS, attempts }])
    return false
  }

  async #postpone(queued: QueuedEvent): Promise<void> {
    const { clock, random } = this.deps
    const nowMs = clock.nowMs()
    if (this.#isTooOld(queued.event)) return this.#giveUp(queued)
    const waitMs = backoffMs(BACKOFF, queued.attempts, random)
    await this.queue.postpone([{ id: queued.id, dueMs: nowMs + waitMs, attempts: queued.attempts + 1 }])
  }

  #isTooOld({ timeUs }: ObjectEvent): boolean {
    const { clock } = this.deps
    return clock.doubt?.() === undefined && timeUs / 1000 < clock.nowMs() - AGE_MAX_MS
  }

  async #giveUp({ id, event, ruleId }: QueuedEvent): Promise<void> {
    this.counts.dropped++
    this.deps.log.error({ event: event.name, rule: ruleId }, 'an event was given up undelivered')
    await this.queue.drop(id)
  }

  /**
   * Which of the events this node has to deliver; the others are settled or postponed. Those before it in order are asked,
   * and of an event that is not new, all: it may have been delivered while this node was away.
   */
  async #mineOf(due: readonly QueuedEvent[]): Promise<QueuedEvent[]> {
    const { clock } = this.deps
    const nowMs = clock.nowMs()
    const byNode = new Map<NodeId, QueuedEvent[]>()
    for (const queued of due) {
      const { bucket, timeUs } = queued.event
      const isNew = timeUs / 1000 > nowMs - GRACE_MS
      for (const node of isNew ? this.#before(bucket) : this.#others(bucket)) {
        const asked = byNode.get(node)
        if (asked) asked.push(queued)
        else byNode.set(node, [queued])
      }
    }
    const done = new Set<QueuedEvent>()
    const waiting = new Set<QueuedEvent>()
    const answers = await Promise.all([...byNode].map(([node, asked]) => this.#ask(node, asked)))
    for (const [i, [node, asked]] of [...byNode].entries()) {
      for (const [j, queued] of asked.entries()) {
        const state = answers[i]![j]
        if (state === 'done') done.add(queued)
        else if (state === 'waiting' && this.#before(queued.event.bucket).includes(node)) waiting.add(queued)
      }
    }
    if (done.size > 0) await this.queue.done([...done].map(({ id }) => id))
    const later = [...waiting].filter((queued) => !done.has(queued))
    if (later.length > 0) {
      await this.queue.postpone(
        later.map(({ id, attempts, event }) => {
          // Events that have waited long are asked for rarely.
          const ageMs = nowMs - event.timeUs / 1000
          return { id, attempts, dueMs: nowMs + Math.min(ASK_MS_MAX, Math.max(GRACE_MS, ageMs / 2)) }
        }),
      )
    }
    return due.filter((queued) => !done.has(queued) && !waiting.has(queued))
  }

  /** The other nodes that hold the bucket and are up. */
  #others(bucket: Buffer): NodeId[] {
    const { placement, transport } = this.deps
    const nodes = placement.storageSet(bucketPartition(bucket))
    return nodes.filter((node) => node !== transport.self && transport.isConnected(node))
  }

  /** The replicas that are up and deliver before this node does. */
  #before(bucket: Buffer): NodeId[] {
    const { placement, transport } = this.deps
    const order = replicaOrder(placement, bucketPartition(bucket))
    const at = order.indexOf(transport.self)
    return (at < 0 ? order : order.slice(0, at)).filter((node) => transport.isConnected(node))
  }

  async #send(target: EventTarget, { id, event, ruleId }: QueuedEvent): Promise<void> {
    const { region, hostId } = this.options
    const bucket = this.deps.buckets.byId(event.bucket)
    const body = eventMessage(event, {
      region,
      hostId,
      bucketName: nameOf(bucket) ?? event.bucket.toString('hex'),
      bucketOwner: bucket?.owner ?? '',
      configurationId: ruleId,
      requestId: id.toString('hex'),
    })
    await target.send({ id: id.toString('hex'), body })
  }

  /** Tells the other replicas which events are delivered. A replica that does not hear of it asks later. */
  #tell(sent: readonly QueuedEvent[]): void {
    const { transport } = this.deps
    const byNode = new Map<NodeId, Buffer[]>()
    for (const { id, event } of sent) {
      for (const node of this.#others(event.bucket)) {
        const ids = byNode.get(node)
        if (ids) ids.push(id)
        else byNode.set(node, [id])
      }
    }
    for (const [node, ids] of byNode) {
      const options = { timeoutMs: ASK_TIMEOUT_MS, priority: Priority.background }
      transport.call(node, METHOD, ['tell', ids], options).catch((error: unknown) => {
        this.deps.log.debug({ node, error }, 'a replica was not told of delivered events')
      })
    }
  }

  /** Asks a node for the state of events: 'done', 'waiting' or null each; nothing if it does not answer. */
  async #ask(node: NodeId, events: readonly QueuedEvent[]): Promise<unknown[]> {
    const body = ['ask', events.map(({ id }) => id)]
    const options = { timeoutMs: ASK_TIMEOUT_MS, priority: Priority.background }
    try {
      const reply = await this.deps.transport.call(node, METHOD, body, options)
      return Array.isArray(reply.body) ? reply.body : []
    } catch {
      return []
    }
  }

  async #serve(body: unknown): Promise<{ body: unknown }> {
    const [verb, ids] = Array.isArray(body) ? (body as unknown[]) : []
    if (!Array.isArray(ids) || !ids.every((id) => Buffer.isBuffer(id) && id.length === EVENT_ID_BYTES)) {
      throw new CarportError('InvalidArgument', 'malformed message about events')
    }
    if (verb === 'ask') return { body: (ids as Buffer[]).map((id) => this.queue.stateOf(id) ?? null) }
    if (verb !== 'tell') throw new CarportError('InvalidArgument', 'malformed message about events')
    await this.queue.done(ids as Buffer[])
    return { body: null }
  }
}

/** The name that clients most likely know a bucket by. */
function nameOf(bucket: Bucket | undefined): string | undefined {
  return bucket?.aliases[0] ?? bucket?.localAliases[0]?.alias
}
