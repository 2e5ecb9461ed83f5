import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { versionId } from '../content/refs.js'
import type { VersionRecord } from '../versions/record.js'
import { tombstoneOf } from '../versions/tables.js'
import { eventMessage } from './message.js'
import { EVENT_ID_BYTES, EVENT_NAMES, type EventRule, eventId, eventOf, wants } from './rules.js'

const bucket = Buffer.alloc(16, 1)
const key = Buffer.from('photos/a b.jpg')
const rule = (changes: Partial<EventRule> = {}): EventRule => ({
  id: 'r',
  arn: 'arn:carport:sqs::t:webhook',
  form: 'queue',
  target: 't',
  events: ['s3:ObjectCreated:*'],
  ...changes,
})

let lastUs = 1_767_225_600_000_000
function version(changes: Partial<VersionRecord> = {}): VersionRecord {
  const timeUs = ++lastUs
  const id = versionId(timeUs, Buffer.alloc(8, lastUs % 256))
  return {
    ...tombstoneOf({ bucket, key, isNull: false, timeUs }, id),
    ...{ state: 'object', size: 5, etag: Buffer.alloc(16, 0xab), owner: 'GK1' },
    ...changes,
  }
}
const gone = (of: VersionRecord): VersionRecord => ({
  ...tombstoneOf({ bucket, key, isNull: of.isNull, timeUs: of.timeUs }, of.id),
  generation: of.generation + 1,
})

describe('changes of rows as events', () => {
  test.each([
    [{}, 'ObjectCreated:Put'],
    [{ origin: 'Copy' as const }, 'ObjectCreated:Copy'],
    [{ origin: 'Post' as const }, 'ObjectCreated:Post'],
    [{ completes: Buffer.alloc(16) }, 'ObjectCreated:CompleteMultipartUpload'],
  ])('a new object %j is %s, whatever was there before', (changes, name) => {
    for (const before of [undefined, version(), version({ state: 'marker' })]) {
      const made = version(changes)
      expect(eventOf(before, made)).toMatchObject({
        name,
        versionId: made.id,
        size: 5,
        etag: 'ab'.repeat(16),
      })
    }
  })
  test('a deleted key is a removal where there was an object, a marker always', () => {
    const before = version()
    const tombstone = version({ state: 'tombstone' })
    expect(eventOf(before, tombstone)).toMatchObject({ name: 'ObjectRemoved:Delete', versionId: before.id })
    expect(eventOf(undefined, tombstone)).toBeUndefined()
    expect(eventOf(version({ state: 'tombstone' }), version({ state: 'tombstone' }))).toBeUndefined()
    const marker = version({ state: 'marker' })
    expect(eventOf(before, marker)).toMatchObject({
      name: 'ObjectRemoved:DeleteMarkerCreated',
      versionId: marker.id,
    })
  })
  test('a deleted version is a removal of that version, also where another becomes current again', () => {
    const older = version()
    const newer = version()
    const promoted = { ...older, timeUs: newer.timeUs, generation: 1 }
    expect(eventOf(newer, promoted)).toMatchObject({ name: 'ObjectRemoved:Delete', versionId: newer.id })
    expect(eventOf(newer, gone(newer))).toMatchObject({ name: 'ObjectRemoved:Delete', versionId: newer.id })
    // A replica that has not seen the newer one takes it for no news.
    expect(eventOf(undefined, promoted)).toBeUndefined()
    expect(eventOf(older, promoted)).toBeUndefined()
  })
  test('tags and locks are no events', () => {
    const before = version()
    expect(eventOf(before, { ...before, mutable: { tags: [1, { a: 'b' }] } })).toBeUndefined()
  })
  test('ids are the same on every replica and differ by event, target and rule', () => {
    const before = version()
    const after = version()
    const made = eventOf(before, after)!
    expect(eventId(made, rule())).toHaveLength(EVENT_ID_BYTES)
    expect(eventId(eventOf(undefined, after)!, rule())).toEqual(eventId(made, rule()))
    const others = [
      eventId(made, rule({ target: 'u' })),
      eventId(made, rule({ id: 's' })),
      eventId(eventOf(after, gone(after))!, rule()),
      eventId(eventOf(after, version())!, rule()),
    ].map((id) => id.toString('hex'))
    expect(new Set([...others, eventId(made, rule()).toString('hex')]).size).toBe(5)
  })
})

describe('rules', () => {
  const event = { name: 'ObjectCreated:Copy' as const, key }
  test.each([
    [{ events: ['s3:ObjectCreated:*'] }, true],
    [{ events: ['s3:ObjectCreated:Put', 's3:ObjectCreated:Copy'] }, true],
    [{ events: ['s3:ObjectCreated:Put'] }, false],
    [{ events: ['s3:ObjectRemoved:*'] }, false],
    [{ prefix: 'photos/', suffix: '.jpg' }, true],
    [{ prefix: 'photos/', suffix: '.png' }, false],
    [{ prefix: 'Photos/' }, false],
  ])('%j: %s', (changes, wanted) => {
    expect(wants(rule(changes), event)).toBe(wanted)
  })
  test('a kind as a whole takes all of its events and no others', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...EVENT_NAMES),
        fc.constantFrom('ObjectCreated', 'ObjectRemoved'),
        (name, kind) => {
          expect(wants(rule({ events: [`s3:${kind}:*`] }), { name, key })).toBe(name.startsWith(`${kind}:`))
        },
      ),
    )
  })
})

test('a message has the form of those of AWS', () => {
  const made = version({ size: 7 })
  const message = JSON.parse(
    eventMessage(eventOf(undefined, made)!, {
      region: 'garage',
      bucketName: 'b',
      bucketOwner: 'GK2',
      configurationId: 'r',
      requestId: 'id',
      hostId: 'host',
    }),
  )
  expect(message).toEqual({
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: 'garage',
        eventTime: new Date(Math.floor(made.timeUs / 1000)).toISOString(),
        eventName: 'ObjectCreated:Put',
        userIdentity: { principalId: 'GK1' },
        requestParameters: { sourceIPAddress: '' },
        responseElements: { 'x-amz-request-id': 'id', 'x-amz-id-2': 'host' },
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: 'r',
          bucket: { name: 'b', ownerIdentity: { principalId: 'GK2' }, arn: 'arn:aws:s3:::b' },
          object: {
            key: 'photos/a+b.jpg',
            size: 7,
            eTag: 'ab'.repeat(16),
            versionId: made.id.toString('hex'),
            sequencer: expect.stringMatching(/^[0-9A-F]{18}$/),
          },
        },
      },
    ],
  })
})
