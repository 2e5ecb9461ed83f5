import type { EventOptions, EventTarget } from '../src/model/events/delivery.js'
import type { EventRule } from '../src/model/events/rules.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { RegisterOp } from './register-check.js'
import type { RegisterHistory } from './register-history.js'
import type { SeededRandom } from './seeded-random.js'

/** The rule of every bucket that tells its events. */
export const EVENT_RULE: EventRule = {
  ...{ id: 'all', arn: 'arn:carport:sqs::t:webhook', form: 'queue', target: 't' },
  events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*'],
}
/** Share of the messages that the target does not take. */
const REFUSED_SHARE = 0.1
/** The part of a message's id that names the version: after the target's 8 bytes. */
const VERSION_ID_HEX = [16, 48] as const

/** The part of the workload that is used here. */
interface Shared {
  readonly history: RegisterHistory
  readonly keys: readonly string[]
  readonly freshKeys: ReadonlySet<string>
  readonly versionedKeys: readonly string[]
  readonly versions: ReadonlyMap<string, { version: VersionRecord }>
  readonly deletedVersions: ReadonlyMap<string, { version: VersionRecord }>
}

/** What a message told of a key. */
interface Told {
  bucket: string
  key: string
  name: string
  /** The ETag of what was created. */
  etag?: string
  /** The version that was made, or went. */
  id: string
}

/**
 * A target of the events of all nodes, which refuses some at first. In the end:
 *  - each object whose write was acknowledged was told, and each delete marker. In a bucket without versions, one that nobody
 *    read may go untold if another write of its key was under way at the same time;
 *  - so was the deletion of an object that nobody else wrote at that time, and of each version that was deleted by its id;
 *  - no write was told that did not take effect.
 */
export class Events {
  /** What was taken. */
  readonly told: Told[] = []

  constructor(private readonly random: SeededRandom) {}

  options(): EventOptions {
    const target: EventTarget = {
      ...{ name: EVENT_RULE.target, kind: 'webhook', close: async () => {} },
      send: async ({ id, body }) => {
        if (this.random.chance(REFUSED_SHARE)) throw new Error('the target does not take this now')
        const [{ eventName, s3 }] = (JSON.parse(body) as { Records: [Message] }).Records
        const { bucket, object } = s3
        this.told.push({
          ...{ bucket: bucket.name, key: decodeURIComponent(object.key), name: eventName },
          ...(object.eTag !== undefined && { etag: object.eTag.slice(0, 32) }),
          id: id.slice(...VERSION_ID_HEX),
        })
      },
    }
    return { targets: [target], region: 'r', hostId: 'h' }
  }

  /** Descriptions of all that was not told, or should not have been. */
  check(w: Shared): string[] {
    const problems: string[] = []
    const byKey = new Map<string, Told[]>()
    for (const told of this.told) {
      const register = `${told.bucket === 'plain' ? '' : 'versioned/'}${told.key}`
      const ofKey = byKey.get(register)
      if (ofKey) ofKey.push(told)
      else byKey.set(register, [told])
    }
    for (const [bucket, keys, prefix] of [
      ['plain', [...w.keys, ...w.freshKeys], ''],
      ['versioned', w.versionedKeys, 'versioned/'],
    ] as const) {
      for (const key of keys) {
        const told = byKey.get(`${prefix}${key}`) ?? []
        problems.push(...checkKey(w.history, `${prefix}${key}`, told, bucket === 'plain'))
      }
    }
    const markers = [...w.versions.values(), ...w.deletedVersions.values()].filter(
      ({ version }) => version.state === 'marker',
    )
    const told = new Set(
      this.told.filter(({ name }) => name === 'ObjectRemoved:DeleteMarkerCreated').map(({ id }) => id),
    )
    for (const { version } of markers)
      if (!told.has(version.id.toString('hex')))
        problems.push(`the delete marker ${version.id.toString('hex')} of ${version.key} was not told`)
    const removed = new Set(
      this.told.filter(({ name }) => name === 'ObjectRemoved:Delete').map(({ id }) => id),
    )
    for (const [id, { version }] of w.deletedVersions)
      if (!removed.has(version.id.toString('hex')))
        problems.push(`the deletion of version ${id} was not told`)
    return problems
  }
}

/** A target that takes everything, and notes the ETag of each object that was created, or the name of another event. */
export function notingTarget(told: string[]): EventTarget {
  return {
    ...{ name: EVENT_RULE.target, kind: 'webhook', close: async () => {} },
    send: async ({ body }) => {
      const [{ eventName, s3 }] = (JSON.parse(body) as { Records: [Message] }).Records
      told.push(s3.object.eTag ?? eventName)
    },
  }
}

interface Message {
  eventName: string
  s3: { bucket: { name: string }; object: { key: string; eTag?: string } }
}

function checkKey(
  history: RegisterHistory,
  register: string,
  told: readonly Told[],
  isPlain: boolean,
): string[] {
  const problems: string[] = []
  const ops = history.of(register)
  // An attempt that came too late is made again as another version.
  const created = new Map<string, string[]>()
  for (const { etag, id } of told)
    if (etag !== undefined) created.set(etag, [...(created.get(etag) ?? []), id])
  const removed = new Set(told.filter(({ name }) => name === 'ObjectRemoved:Delete').map(({ id }) => id))
  const writes = ops.filter(({ kind }) => kind === 'write' || kind === 'change')
  const seen = new Set(ops.flatMap(({ kind, value }) => (kind === 'read' && value !== null ? [value] : [])))
  for (const write of writes) {
    const { value, returnAt, note } = write
    if (value === null || returnAt === undefined || created.has(value)) continue
    if (isPlain && !seen.has(value) && mayBeHidden(write, writes)) continue
    problems.push(`${register}: a write was not told: ${value} ${note}`)
  }
  const names = new Set(writes.map(({ value }) => value))
  for (const [etag, ids] of created) {
    if (names.has(etag)) continue
    const lost = ops.find(({ kind, value }) => kind === 'refused' && value === etag)
    if (isPlain && lost && mayBeCovered(lost, writes)) continue
    problems.push(`${register}: told of ${etag} (${ids.join()}), which was not written: ${lost?.note}`)
  }
  if (isPlain) problems.push(...checkDeletions(register, writes, created, removed))
  return problems
}

/**
 * Whether another write was made at the same moment, so that it may have taken the place of this one before any node had it. A
 * conditional write is judged on what was there, and takes the place of nothing unseen.
 */
function mayBeHidden(write: RegisterOp, writes: readonly RegisterOp[]): boolean {
  if (write.kind !== 'write') return false
  return writes.some((other) => other !== write && overlap(other, write.callAt, write.returnAt!))
}

/**
 * Whether a plain write was made at the same moment as a conditional one that lost. The row of the plain one does not tell what
 * became of the one that it covers, so that this counts as one that won.
 */
function mayBeCovered(lost: RegisterOp, writes: readonly RegisterOp[]): boolean {
  const until = lost.returnAt ?? Number.POSITIVE_INFINITY
  return writes.some((other) => other.kind === 'write' && overlap(other, lost.callAt, until))
}

function overlap(
  { callAt, returnAt = Number.POSITIVE_INFINITY }: RegisterOp,
  from: number,
  to: number,
): boolean {
  return callAt <= to && returnAt >= from
}

function checkDeletions(
  register: string,
  writes: readonly RegisterOp[],
  created: ReadonlyMap<string, readonly string[]>,
  removed: ReadonlySet<string>,
): string[] {
  const problems: string[] = []
  const inOrder = [...writes].sort((a, b) => a.callAt - b.callAt)
  for (const [i, deletion] of inOrder.entries()) {
    const before = inOrder[i - 1]
    if (deletion.value !== null || deletion.returnAt === undefined || !before?.value) continue
    // Nobody knows what was deleted if another write was under way.
    const isAlone = inOrder.every(
      (op) => op === deletion || op === before || !overlap(op, before.callAt, deletion.returnAt!),
    )
    if (!isAlone || (before.returnAt ?? Number.POSITIVE_INFINITY) > deletion.callAt) continue
    if (!created.get(before.value)?.some((id) => removed.has(id)))
      problems.push(`${register}: a deletion was not told: ${deletion.note}`)
  }
  return problems
}
