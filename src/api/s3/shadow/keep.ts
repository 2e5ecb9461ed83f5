/**
 * Shadow buckets: a bucket that has a source reads through to it for what it does not have yet, and keeps what it read. An
 * object comes in only where the key has no row at all: an object that was written here wins, and so does a deletion, of
 * which a delete marker stays, also where versions were never on.
 */

import type { Bucket } from '../../../model/buckets/buckets.js'
import type { PartInfo } from '../../../model/content/refs.js'
import type { NewVersion } from '../../../model/versions/objects.js'
import { lastModifiedMs } from '../../../model/versions/record.js'
import { errorCode } from '../../../util/errors.js'
import type { StreamAnswer } from '../../client/stream-call.js'
import { bucketNow } from '../access/bucket-now.js'
import type { S3Context } from '../context.js'
import { newSealing, sealContent } from '../encryption/requests.js'
import { S3Error } from '../errors.js'
import { defaultChecksum } from '../objects/default-checksum.js'
import { checkQuota } from '../objects/quota.js'
import { Handoff } from './handoff.js'
import { type ThroughRecord, throughRecord } from './record.js'
import { ShadowSource } from './source.js'

/** Objects that are kept at the same time; more are read through and not kept. */
const KEEPING_MAX = 64
/** Parts of an object of which the sizes are asked for, one by one; objects of more parts lose them. */
const PARTS_MAX = 1000

/** The key has a row by now: what was read is not needed. */
class AlreadyHere extends Error {}

/** The source of a bucket; undefined if it has none. */
export function sourceOf({ shadows, clock, random }: S3Context, bucket: Bucket): ShadowSource | undefined {
  const shadow = bucket.document('shadow')
  if (!shadow || !shadows) return undefined
  return new ShadowSource(shadow, { call: shadows.call, clock, random })
}

/** The source's object, for a key of which nothing is known here. @throws S3Error 502, 503 */
export async function findThrough(
  context: S3Context,
  bucket: Bucket,
  key: Buffer,
): Promise<ThroughRecord | undefined> {
  const source = sourceOf(context, bucket)
  if (!source) return undefined
  // A tombstone is a deletion, too, if a short-lived one.
  if (await context.model.objects.current(bucket.id, key)) return undefined
  const headers = await source.head(key.toString())
  return headers && throughRecord(bucket.id, key, headers, bucket.owner)
}

/**
 * Opens a part of a source's object. One that is read whole is kept on its way, unless too many are: the reader waits for
 * the slower of the two, and a failure to keep it is none for the reader.
 * @throws S3Error 502, 503
 */
export async function openThrough(
  context: S3Context,
  bucket: Bucket,
  record: ThroughRecord,
  range: { start: number; end: number },
): Promise<AsyncIterable<Buffer> | Buffer> {
  const source = sourceOf(context, bucket)!
  const { start, end } = range
  const isWhole = start === 0 && end === record.size
  const name = nameOf(bucket, record.key)
  const { keeping } = context.shadows!
  const body = await contentOf(source, record, range)
  if (!isWhole || keeping.has(name) || keeping.size >= KEEPING_MAX) return body
  const handoff = new Handoff()
  const kept = begin(context, bucket, source, record, handoff)
  kept.catch((error: unknown) => {
    const fields = { bucket: bucket.hexId, reason: (error as Error).message }
    context.log.warn(fields, 'an object that was read through was not kept')
  })
  return passed(body, handoff)
}

async function* nothing(): AsyncGenerator<Buffer> {}

/** A part of the source's object as it was found; no question is asked for an empty one. */
async function contentOf(
  source: ShadowSource,
  { key, through }: ThroughRecord,
  range: { start: number; end: number },
): Promise<StreamAnswer['body']> {
  return range.start === range.end ? nothing() : source.open(key.toString(), through.etag, range)
}

async function* passed(body: StreamAnswer['body'], handoff: Handoff): AsyncGenerator<Buffer> {
  let isWhole = false
  try {
    for await (const chunk of body) {
      await handoff.give(chunk)
      yield chunk
    }
    isWhole = true
  } finally {
    if (isWhole) handoff.end()
    else handoff.fail(new AlreadyHere())
  }
}

/**
 * Brings an object in from the source of its bucket, before an operation that needs it here. Does nothing in other buckets,
 * and where the key has a row or the source has no such object.
 * @throws S3Error 502, 503, QuotaExceeded; as Objects.put
 */
export async function bringIn(context: S3Context, bucket: Bucket, key: Buffer): Promise<void> {
  const source = sourceOf(context, bucket)
  if (!source) return
  const underWay = context.shadows!.keeping.get(nameOf(bucket, key))
  if (underWay) await underWay.catch(() => {})
  const record = await findThrough(context, bucket, key)
  if (!record) return
  const body = await contentOf(source, record, { start: 0, end: record.size })
  const handoff = new Handoff()
  const kept = begin(context, bucket, source, record, handoff)
  kept.catch(() => {})
  for await (const _ of passed(body, handoff));
  await kept
}

const nameOf = (bucket: Bucket, key: Buffer) => `${bucket.hexId}/${key.toString('latin1')}`

/** Keeps content that comes by a handoff; the promise rejects if it could not be kept. */
function begin(
  context: S3Context,
  bucket: Bucket,
  source: ShadowSource,
  record: ThroughRecord,
  handoff: Handoff,
): Promise<void> {
  const { keeping } = context.shadows!
  const name = nameOf(bucket, record.key)
  const kept = store(context, bucket, source, record, handoff)
    .catch((error: unknown) => {
      if (!(error instanceof AlreadyHere)) throw error
    })
    .finally(() => {
      handoff.close()
      if (keeping.get(name) === kept) keeping.delete(name)
    })
  keeping.set(name, kept)
  return kept
}

async function store(
  context: S3Context,
  bucket: Bucket,
  source: ShadowSource,
  record: ThroughRecord,
  handoff: Handoff,
): Promise<void> {
  const { model, clock } = context
  const { key, size, through } = record
  await checkQuota(model, bucket, { bytes: size, objects: 1 })
  const byDefault = bucket.document('encryption')?.algorithm
  const sealing = newSealing(context, bucket, byDefault ? { kind: 'SSE-S3' } : undefined)
  const sealed = sealing && sealContent(context, sealing)
  const stream = { length: size, readAll: () => whole(handoff), stream: () => handoff.take() }
  const body = await model.blobs.write(stream, { ...sealed, crc64: true })
  if (body.size !== size || (through.isMd5 && !body.md5.equals(record.etag)))
    throw new S3Error(
      'InternalError',
      'The store that this bucket shadows sent another content than it told.',
      {
        status: 502,
      },
    )
  const text = key.toString()
  const tags = through.tagCount > 0 ? await source.tags(text) : undefined
  const parts = await partsOf(source, text, record)
  const checksum = defaultChecksum(body)
  const modifiedMs = lastModifiedMs(record)
  const version: NewVersion = {
    ...{ bucket: bucket.id, key, etag: record.etag, etagParts: record.etagParts, owner: record.owner },
    ...{ headers: record.headers, metadata: record.metadata },
    // A source that does not tell the time, or a wrong one, is not believed.
    ...(modifiedMs > 0 && modifiedMs <= clock.nowMs() && { modifiedMs }),
    ...(checksum && {
      ...{ checksumAlgorithm: checksum.algorithm, checksum: checksum.value },
      checksumType: 'FULL_OBJECT' as const,
    }),
    ...(parts && { parts }),
    ...(sealing && { encryption: { ...sealing.encryption, iv: sealed!.iv } }),
    mutable: tags ? { tags: [0, tags] } : {},
  }
  const { versioning } = await bucketNow(model, bucket)
  try {
    await model.objects.put(version, body, versioning, (_, row) => {
      if (row) throw new AlreadyHere()
    })
  } catch (error) {
    if (errorCode(error) !== 'Conflict') throw error
  }
}

async function whole(handoff: Handoff): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of handoff.take()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The sizes of the parts that an object was uploaded in, if the source tells them. */
async function partsOf(
  source: ShadowSource,
  key: string,
  { etagParts, size }: ThroughRecord,
): Promise<PartInfo[] | undefined> {
  if (etagParts === 0 || etagParts > PARTS_MAX) return undefined
  const parts: PartInfo[] = []
  for (let number = 1; number <= etagParts; number++) {
    const headers = await source.head(key, number)
    if (!headers || Number(headers['x-amz-mp-parts-count'] ?? etagParts) !== etagParts) return undefined
    parts.push({ number, size: Number(headers['content-length']) })
  }
  return parts.reduce((sum, part) => sum + part.size, 0) === size ? parts : undefined
}
