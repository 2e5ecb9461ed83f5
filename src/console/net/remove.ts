import { listingPage } from './listing'
import { abortUpload, listUploads } from './multipart'
import { type Doomed, decode, deleteObjects, textOf } from './s3'
import { listVersions, type Version, type VersionMarker } from './versions'

/** What was asked to be deleted: objects, and folders with all that is below them. */
export interface ToRemove {
  readonly keys: readonly string[]
  readonly folders: readonly string[]
}

const PAGE = 1000
/** Unfinished uploads that are given up at once. */
const ABORTS_AT_ONCE = 8

/** Deletes pages one after the other, and tells after each how many are gone. Stops at the first that cannot be deleted. */
function remover(bucket: string, onProgress: (deleted: number) => void, signal: AbortSignal) {
  let deleted = 0
  return async (page: readonly Doomed[]) => {
    signal.throwIfAborted()
    if (page.length === 0) return
    const failed = await deleteObjects(bucket, page)
    deleted += page.length - failed.length
    onProgress(deleted)
    if (failed[0]) throw new Error(`${failed[0].key}: ${failed[0].message}`)
  }
}

/**
 * Deletes objects and folders page by page, and tells after each how many are gone. Stops between two pages when `signal`
 * says so, and at the first object that cannot be deleted.
 */
export async function removeAll(
  bucket: string,
  { keys, folders }: ToRemove,
  onProgress: (deleted: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const remove = remover(bucket, onProgress, signal)
  for (let at = 0; at < keys.length; at += PAGE)
    await remove(keys.slice(at, at + PAGE).map((key) => ({ key })))
  for (const prefix of folders) {
    // Asks by the last key deleted, not from the start: what was deleted need not be passed over again.
    for (let after: string | undefined = ''; after !== undefined; ) {
      const page = await keysAfter(bucket, prefix, after, signal)
      await remove(page)
      after = page.length === PAGE ? page.at(-1)!.key : undefined
    }
  }
}

/**
 * Deletes all versions of all objects of a bucket for good, as `removeAll` does, and gives up its unfinished uploads.
 * @throws ApiError; Error at the first version that is locked
 */
export async function emptyBucket(
  bucket: string,
  onProgress: (deleted: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const remove = remover(bucket, onProgress, signal)
  let next: VersionMarker | undefined
  do {
    const page = await listVersions({ bucket, prefix: '', signal }, next)
    await remove((page.entries as Version[]).map(({ key, versionId }) => ({ key, versionId })))
    next = page.next
  } while (next)
  for (;;) {
    const uploads = await listUploads(bucket, '')
    if (uploads.length === 0) return
    for (let at = 0; at < uploads.length; at += ABORTS_AT_ONCE) {
      signal.throwIfAborted()
      const some = uploads.slice(at, at + ABORTS_AT_ONCE)
      await Promise.all(some.map(({ key, uploadId }) => abortUpload(bucket, key, uploadId)))
    }
  }
}

async function keysAfter(bucket: string, prefix: string, after: string, signal: AbortSignal) {
  const query = {
    'list-type': '2',
    prefix,
    'max-keys': String(PAGE),
    ...(after !== '' && { 'start-after': after }),
  }
  const { entries } = await listingPage({ bucket, query, signal }, (entry) => ({
    key: decode(textOf(entry, 'Key')),
  }))
  return entries
}
