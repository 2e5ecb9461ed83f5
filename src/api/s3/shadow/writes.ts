import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Versioning } from '../../../model/buckets/documents.js'
import type { Precondition } from '../../../model/versions/conditional-writes.js'
import type { Awaitable } from '../../../util/awaitable.js'
import { errorCode } from '../../../util/errors.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import { preconditionFailed } from '../objects/preconditions.js'
import type { S3Operation } from '../operations.js'
import type { S3Request } from '../request.js'
import { findThrough } from './keep.js'

/**
 * How others ask a shadow bucket. "fill" is a migration: it sees what is here alone, and writes only where a key has no row at
 * all. "read" is a shadow bucket that has this one as its source.
 */
const HEADER = 'x-carport-shadow'

const FILLING: ReadonlySet<S3Operation> = new Set(['PutObject', 'CopyObject', 'CompleteMultipartUpload'])

/**
 * Whether a request to a shadow bucket is about what is here alone.
 * @throws S3Error InvalidBucketState for the question of another shadow bucket, or of this one: they could ask each other for ever
 */
export function asksForOwn(request: S3Request): boolean {
  const asked = request.headers[HEADER]
  if (asked !== 'read') return asked === 'fill'
  throw new S3Error(
    'InvalidBucketState',
    'The bucket reads through to another store itself: it cannot be the source of a shadow bucket.',
  )
}

/**
 * The condition of a write: in a shadow bucket it is judged on what is here and at the source together.
 * @throws S3Error 502, 503
 */
export function onUnion(
  context: S3Context,
  request: S3Request,
  bucket: Bucket,
  precondition: Precondition | undefined,
  key = request.key!,
): Awaitable<Precondition | undefined> {
  if (bucket.document('shadow') === undefined) return precondition
  if (asksForOwn(request) && FILLING.has(request.operation)) {
    return (_, row) => {
      if (row) throw preconditionFailed('If-None-Match')
    }
  }
  if (!precondition) return undefined
  return findThrough(context, bucket, Buffer.from(key)).then(
    (through): Precondition =>
      (current, row) =>
        precondition(row ? current : through, row ?? through),
  )
}

/** How to delete a key: in a shadow bucket a marker must stay, so that the source's object never comes back. */
export function deletionVersioning(bucket: Bucket): Versioning {
  return bucket.versioning === 'off' && bucket.document('shadow') ? 'suspended' : bucket.versioning
}

/** The key has something: there is nothing to hide. */
class HasRow extends Error {}

/** Hides the source's object of a key of which a deletion by id left nothing: its tombstone does not last. */
export async function hideSource(
  { model }: S3Context,
  bucket: Bucket,
  key: Buffer,
  owner: string,
): Promise<void> {
  if (bucket.document('shadow') === undefined) return
  try {
    await model.objects.delete(bucket.id, key, owner, deletionVersioning(bucket), (current) => {
      if (current) throw new HasRow()
    })
  } catch (error) {
    if (!(error instanceof HasRow) && errorCode(error) !== 'Conflict') throw error
  }
}
