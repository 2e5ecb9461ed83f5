import type { K2vItem } from '../../model/k2v/item.js'
import type { K2vRequest } from './request.js'

/** Answers up to so many bytes take no part in the memory of all requests: requests are counted. */
const FREE_BYTES = 64 * 1024
/** What an item takes beside its keys and values, in bytes: roughly. */
const ITEM_BYTES = 200

/**
 * What is read for an answer counts in the memory of all requests until the answer is sent. Its size is known only when it
 * is read: if there is no room for it then, it is let go of, and read again when there is.
 */
export async function readHeld<T>(
  request: K2vRequest,
  read: () => Promise<T>,
  bytesOf: (found: T) => number,
): Promise<T> {
  const bytes = await tryRead(request, read, bytesOf)
  if (typeof bytes !== 'number') return bytes.found
  await request.reader.hold(bytes)
  return read()
}

/** What was read, or how much room it needs. A function of its own, so that nothing keeps what it has read. */
async function tryRead<T>(
  request: K2vRequest,
  read: () => Promise<T>,
  bytesOf: (found: T) => number,
): Promise<{ found: T } | number> {
  const found = await read()
  const bytes = bytesOf(found)
  return bytes <= FREE_BYTES || request.reader.tryHold(bytes) ? { found } : bytes
}

/** Whether an answer with that item takes no part in the memory of all requests. */
export function needsNoRoom(item: K2vItem | undefined): boolean {
  return bytesOfItem(item) <= FREE_BYTES
}

/** About how many bytes items take in memory. */
export function bytesOfItems(items: readonly K2vItem[]): number {
  return items.reduce((sum, item) => sum + bytesOfItem(item), 0)
}

/** About how many bytes an item takes in memory; none of one that is not there. */
export function bytesOfItem(item: K2vItem | undefined): number {
  if (!item) return 0
  let bytes = ITEM_BYTES + item.partitionKey.length + item.sortKey.length
  for (const { values } of item.entries) for (const { size } of values) bytes += Math.max(0, size)
  return bytes
}
