import type { Precondition } from '../../../model/versions/conditional-writes.js'
import { etagOf, lastModifiedMs, type VersionRecord } from '../../../model/versions/record.js'
import { errorCode } from '../../../util/errors.js'
import { etagListed } from '../../http/conditions.js'
import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'

/** @throws S3Error PreconditionFailed naming the condition */
export function preconditionFailed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', undefined, { extra: { Condition: condition } })
}

/**
 * What a new object replaces, by If-Match and If-None-Match of PutObject, CopyObject and CompleteMultipartUpload. Both take
 * lists of entity tags, and "*" for any; AWS takes one tag for If-Match, and only "*" for If-None-Match. A delete marker is
 * nothing.
 * @returns undefined if the request has no condition
 */
export function writePrecondition(request: S3Request): Precondition | undefined {
  const ifMatch = request.header('if-match')
  const ifNoneMatch = request.header('if-none-match')
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined
  return (current) => {
    const object = current?.state === 'object' ? current : undefined
    if (ifMatch !== undefined) {
      if (!object) throw new S3Error('NoSuchKey', undefined, { extra: { Key: request.key } })
      if (!etagListed(ifMatch, bareEtag(object))) throw preconditionFailed('If-Match')
    }
    if (ifNoneMatch !== undefined && object && etagListed(ifNoneMatch, bareEtag(object))) {
      throw preconditionFailed('If-None-Match')
    }
  }
}

/** What is to be deleted, as the request or an entry of DeleteObjects says: the texts of its conditions. */
export interface DeleteConditions {
  readonly etag: string | undefined
  readonly lastModified: string | undefined
  readonly size: string | undefined
}

/** A deletion on a condition finds nothing that it could delete: that is no error, and nothing is written. */
class NothingThere extends Error {}

/**
 * The conditions of DeleteObject, by its headers.
 * @throws S3Error InvalidArgument
 */
export function deletePreconditionOf(request: S3Request): Precondition | undefined {
  return deletePrecondition({
    etag: request.header('if-match'),
    lastModified: request.header('x-amz-if-match-last-modified-time'),
    size: request.header('x-amz-if-match-size'),
  })
}

/**
 * Refuses to delete another object than the one that is meant. AWS has conditions on time and size for directory buckets only.
 * @throws S3Error InvalidArgument
 */
export function deletePrecondition({ etag, lastModified, size }: DeleteConditions): Precondition | undefined {
  if (etag === undefined && lastModified === undefined && size === undefined) return undefined
  const modifiedMs = lastModified === undefined ? undefined : parseTime(lastModified)
  const bytes = size === undefined ? undefined : parseSize(size)
  return (current) => {
    if (!current || current.state === 'tombstone') throw new NothingThere()
    const isObject = current.state === 'object'
    if (etag !== undefined && etag.trim() !== '*' && !(isObject && etagListed(etag, bareEtag(current)))) {
      throw preconditionFailed('If-Match')
    }
    if (modifiedMs !== undefined && modifiedMs !== inSeconds(lastModifiedMs(current))) {
      throw preconditionFailed('x-amz-if-match-last-modified-time')
    }
    if (bytes !== undefined && !(isObject && current.size === bytes)) {
      throw preconditionFailed('x-amz-if-match-size')
    }
  }
}

/** x-amz-if-match-initiated-time of AbortMultipartUpload. @throws S3Error PreconditionFailed, InvalidArgument */
export function checkInitiated(request: S3Request, initiatedUs: number): void {
  const text = request.header('x-amz-if-match-initiated-time')
  if (text === undefined || parseTime(text) === inSeconds(Math.floor(initiatedUs / 1000))) return
  throw preconditionFailed('x-amz-if-match-initiated-time')
}

/**
 * Runs a write that may be on a condition. Others that kept being in the way are told as S3 tells them; nothing was written
 * then. @param nothing the answer if there was nothing to delete
 */
export async function onCondition<T>(
  precondition: Precondition | undefined,
  run: () => Promise<T>,
): Promise<T>
export async function onCondition<T, N>(
  precondition: Precondition | undefined,
  run: () => Promise<T>,
  nothing: N,
): Promise<T | N>
export async function onCondition<T>(
  precondition: Precondition | undefined,
  run: () => Promise<T>,
  nothing?: T,
): Promise<T> {
  if (!precondition) return run()
  try {
    return await run()
  } catch (error) {
    if (error instanceof NothingThere) return nothing as T
    if (errorCode(error) === 'Conflict') {
      throw new S3Error('ConditionalRequestConflict', undefined, { cause: error })
    }
    throw error
  }
}

function bareEtag(version: VersionRecord): string {
  return etagOf(version).slice(1, -1)
}

/** Times are compared in whole seconds, as headers show them. */
function inSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000
}

function parseTime(text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new S3Error('InvalidArgument', `Not a time: ${text.slice(0, 100)}`)
  return inSeconds(ms)
}

function parseSize(text: string): number {
  const bytes = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(bytes)) {
    throw new S3Error('InvalidArgument', `Not a size in bytes: ${text.slice(0, 100)}`)
  }
  return bytes
}
