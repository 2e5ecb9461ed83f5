import { childrenOf, decode, deleteObjects, s3Xml, textOf } from './s3'

/** What was asked to be deleted: objects, and folders with all that is below them. */
export interface ToRemove {
  readonly keys: readonly string[]
  readonly folders: readonly string[]
}

const PAGE = 1000

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
  let deleted = 0
  const remove = async (page: readonly string[]) => {
    signal.throwIfAborted()
    if (page.length === 0) return
    const failed = await deleteObjects(bucket, page)
    deleted += page.length - failed.length
    onProgress(deleted)
    if (failed[0]) throw new Error(`${failed[0].key}: ${failed[0].message}`)
  }
  for (let at = 0; at < keys.length; at += PAGE) await remove(keys.slice(at, at + PAGE))
  for (const prefix of folders) {
    // Asks by the last key deleted, not from the start: what was deleted need not be passed over again.
    for (let after: string | undefined = ''; after !== undefined; ) {
      const page = await keysAfter(bucket, prefix, after, signal)
      await remove(page)
      after = page.length === PAGE ? page.at(-1) : undefined
    }
  }
}

async function keysAfter(bucket: string, prefix: string, after: string, signal: AbortSignal) {
  const query = { 'list-type': '2', prefix, 'max-keys': String(PAGE), 'encoding-type': 'url' }
  const { documentElement: root } = await s3Xml({
    bucket,
    query: { ...query, ...(after !== '' && { 'start-after': after }) },
    signal,
  })
  return childrenOf(root, 'Contents').map((each) => decode(textOf(each, 'Key')))
}
