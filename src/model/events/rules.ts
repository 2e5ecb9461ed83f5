/**
 * Event notifications: the rules of buckets, which changes of rows are events, and which events a rule wants. Pure.
 */
import { createHash } from 'node:crypto'
import { ballotTimeUs } from '../../table/ballot.js'
import type { VersionId } from '../content/refs.js'
import { isBaseOf, isOfChain } from '../versions/chain.js'
import type { VersionRecord } from '../versions/record.js'
import type { ConditionalRow } from '../versions/row-fate.js'
import { isDeletionOf } from '../versions/tables.js'

/** The events that are sent, by AWS's names without "s3:". */
export const EVENT_NAMES = [
  'ObjectCreated:Put',
  'ObjectCreated:Post',
  'ObjectCreated:Copy',
  'ObjectCreated:CompleteMultipartUpload',
  'ObjectRemoved:Delete',
  'ObjectRemoved:DeleteMarkerCreated',
] as const
export type EventName = (typeof EVENT_NAMES)[number]

/** One configuration of the document "notification". */
export interface EventRule {
  id: string
  /** As it was given, to be shown so again. */
  arn: string
  form: 'queue' | 'topic'
  /** Name of the target in the nodes' configuration. */
  target: string
  /** As given: names with "s3:", or with `*` for their last part. */
  events: string[]
  prefix?: string
  suffix?: string
}

/** A change of a key, with all that a message says of it. */
export interface ObjectEvent {
  name: EventName
  bucket: Buffer
  key: Buffer
  /** Of the version that was made or went away; fields that a removal does not know are left out. */
  versionId: Buffer
  /** Whether the bucket had versions: then messages tell the id. */
  isNull: boolean
  size?: number
  etag?: string
  owner: string
  /** When it happened, HLC time in µs, and the order among the rows of a key. */
  timeUs: number
  generation: number
  /** The row whose change it was, if that was written on a condition: the event is none if another one took its place. */
  row?: Pick<ConditionalRow, 'timeUs' | 'generation' | 'id' | 'isNull'> & { root: VersionId }
}

/** Whether a rule wants an event. */
export function wants(rule: EventRule, event: Pick<ObjectEvent, 'name' | 'key'>): boolean {
  const name = `s3:${event.name}`
  const kind = name.slice(0, name.lastIndexOf(':') + 1)
  if (!rule.events.some((wanted) => wanted === name || wanted === `${kind}*`)) return false
  if (rule.prefix === undefined && rule.suffix === undefined) return true
  const key = event.key.toString()
  return key.startsWith(rule.prefix ?? '') && key.endsWith(rule.suffix ?? '')
}

/**
 * The event that a change of a key's row is, if any. Called on every replica, for rows that arrive in any order: a row
 * that arrives first of all, or after a gap, is judged by itself.
 */
export function eventOf(before: VersionRecord | undefined, after: VersionRecord): ObjectEvent | undefined {
  const had = before && before.state !== 'tombstone' ? before : undefined
  // A row that was not the base of the next one in its chain was never current.
  if (had && !had.id.equals(after.id) && isOfChain(had, after) && isBaseOf(had, after) === 'no')
    return eventOf(undefined, after)
  // A version that became current again is written once more when it is settled: that deletes nothing.
  const isOther = had && (after.state === 'tombstone' || !had.id.equals(after.id))
  const isDeleted = isOther && (isDeletionOf(had, after) || (after.chain?.deletes && isOfChain(had, after)))
  if (had && isDeleted) {
    // Deleted for good; its predecessor, if there is one, is current again.
    return removal('ObjectRemoved:Delete', had, after)
  }
  if (before?.id.equals(after.id)) return undefined
  switch (after.state) {
    case 'object': {
      if (isShownAgain(after)) return undefined
      const hex = after.etag.toString('hex')
      return {
        ...base(
          `ObjectCreated:${after.completes ? 'CompleteMultipartUpload' : (after.origin ?? 'Put')}`,
          after,
          after,
        ),
        size: after.size,
        etag: after.etagParts === 0 ? hex : `${hex}-${after.etagParts}`,
      }
    }
    case 'marker':
      return isShownAgain(after) ? undefined : base('ObjectRemoved:DeleteMarkerCreated', after, after)
    case 'tombstone':
      return had?.state === 'object' ? removal('ObjectRemoved:Delete', had, after) : undefined
  }
}

/** Whether a row shows a version that was there before. */
function isShownAgain(row: VersionRecord): boolean {
  return row.generation > 0 && (!row.chain || row.chain.deletes === true)
}

/** The event that the deletion of a noncurrent version is. @param tombstone what took its place */
export function noncurrentRemoval(version: VersionRecord, atUs: number): ObjectEvent {
  const { row: _, ...event } = base('ObjectRemoved:Delete', version, version)
  return { ...event, timeUs: atUs }
}

function removal(name: EventName, removed: VersionRecord, after: VersionRecord): ObjectEvent {
  return base(name, removed, after)
}

function base(name: EventName, version: VersionRecord, after: VersionRecord): ObjectEvent {
  return {
    name,
    bucket: Buffer.from(version.bucket),
    key: Buffer.from(version.key),
    versionId: Buffer.from(version.id),
    isNull: version.isNull,
    owner: after.owner,
    // A row that was written on a condition has the time of its base.
    timeUs: after.chain ? Math.max(after.timeUs, ballotTimeUs(after.chain.ballot)) : after.timeUs,
    generation: after.generation,
    ...(after.chain && {
      row: {
        ...{ timeUs: after.timeUs, generation: after.generation, isNull: after.isNull },
        ...{ id: Buffer.from(after.id), root: Buffer.from(after.chain.root) },
      },
    }),
  }
}

/** Length of an event's id for one target: target 8, version id 16, kind 1, rule 4 bytes. */
export const EVENT_ID_BYTES = 29
export const TARGET_BYTES = 8

/** The bytes that stand for a target in keys. */
export function targetKey(name: string): Buffer {
  return createHash('sha256').update(name).digest().subarray(0, TARGET_BYTES)
}

/** The same id on every replica, so that one of them can tell the others that it is delivered. */
export function eventId(event: ObjectEvent, rule: EventRule): Buffer {
  const kind = Buffer.of(EVENT_NAMES.indexOf(event.name))
  const ruleKey = createHash('sha256').update(rule.id).digest().subarray(0, 4)
  return Buffer.concat([targetKey(rule.target), event.versionId, kind, ruleKey])
}
