import { createHash } from 'node:crypto'
import { StoreError } from '../api/client/s3-client.js'
import { isCopied, look } from './copy.js'
import { type Journal, printOf } from './journal.js'
import type { K2vEndpoint, K2vItem, K2vValue, K2vWrite } from './k2v-client.js'
import { eachOf } from './pool.js'
import type { Report } from './report.js'
import type { KeyVersions, Version } from './store.js'
import { pairs } from './verify.js'

/** Bytes of values in one request of writes: in base64 they are a third more. */
const BATCH_BYTES_MAX = 2 << 20

export interface K2vCopyOptions {
  /** The bucket's name in reports. */
  label: string
  source: K2vEndpoint
  destination: K2vEndpoint
  journal: Journal
  report: Report
  /** Pages of items that are copied at the same time. */
  parallel: number
  /** Whether to delete, at the destination, copies of what the source has deleted since. */
  removes: boolean
}

/** Under which name the journal has the items of a bucket; no bucket has it. */
const journalName = (label: string) => `k2v:${label}`

/** An item's place in the journal: in the order of keys, whatever characters they have. */
const placeOf = ({ partitionKey, sortKey }: Pick<K2vItem, 'partitionKey' | 'sortKey'>) =>
  `${Buffer.from(partitionKey).toString('hex')}/${Buffer.from(sortKey).toString('hex')}`

function keysOf(place: string): { partitionKey: string; sortKey: string } {
  const [partitionKey = '', sortKey = ''] = place
    .split('/')
    .map((hex) => Buffer.from(hex, 'hex').toString('utf8'))
  return { partitionKey, sortKey }
}

const nameOf = (label: string, { partitionKey, sortKey }: Pick<K2vItem, 'partitionKey' | 'sortKey'>) =>
  `${label}, K2V item ${JSON.stringify(partitionKey)} ${JSON.stringify(sortKey)}`

/** What tells the values of an item from others, in whatever order they come. */
function digestOf(values: readonly K2vValue[]): string {
  const each = values.map((value) =>
    value === null ? 'deleted' : createHash('sha256').update(value).digest('hex'),
  )
  return createHash('sha256')
    .update([...new Set(each)].sort().join(' '))
    .digest('hex')
}

const bytesOf = (values: readonly K2vValue[]) => values.reduce((sum, value) => sum + (value?.length ?? 0), 0)

/** An item as the journal and a comparison see it. */
function versionOf({ values }: K2vItem): Version {
  return { id: '', isMarker: false, bytes: bytesOf(values), etag: digestOf(values), modifiedMs: 0 }
}

async function* listed(endpoint: K2vEndpoint): AsyncGenerator<KeyVersions> {
  for await (const page of endpoint.items())
    for (const item of page) yield { key: placeOf(item), versions: [versionOf(item)] }
}

/** Counts the items of a bucket, and deals with copies of those that are gone from the source. */
export async function lookAtK2v(
  options: Pick<K2vCopyOptions, 'label' | 'source' | 'journal' | 'report' | 'removes'> & {
    /** Undefined where nothing is to be changed. */
    destination: K2vEndpoint | undefined
  },
): Promise<void> {
  const { label, source, destination, journal, report, removes } = options
  const list = { list: () => listed(source) }
  await look({ source: list, journal, report }, journalName(label), async (place, id) => {
    const entry = journal.entry(journalName(label), place, id)
    if (!entry?.isDone || !destination) return
    const keys = keysOf(place)
    // The journal has very long keys in another order than the source: those seem to be gone, and are not.
    const [original] = await source.read([keys])
    if (original?.values.some((value) => value !== null)) return
    if (!removes) return report.gone.add(nameOf(label, keys))
    const [there] = await destination.read([keys])
    // Only what this migration wrote is deleted, not what was written there since.
    if (there && digestOf(there.values) === entry.etag) {
      await destination.insert([{ ...keys, value: null, token: there.token }])
      report.removed++
    }
    await journal.forget(journalName(label), place, id)
  })
}

/**
 * Copies the items of a bucket that the journal does not know as they are now. Values that stand beside each other at the
 * source do so at the destination. An item that cannot be copied is told in the report.
 */
export async function copyK2v(options: K2vCopyOptions): Promise<void> {
  const { source, parallel } = options
  await eachOf(source.items(), parallel, (page) => copyPage(options, page))
}

async function copyPage(options: K2vCopyOptions, page: readonly K2vItem[]): Promise<void> {
  const { label, journal, destination, report } = options
  const name = journalName(label)
  const wanted = page.filter((item) => !isCopied(journal, name, placeOf(item), versionOf(item)))
  try {
    const there = await destination.read(wanted)
    let batch: { item: K2vItem; writes: K2vWrite[] }[] = []
    let bytes = 0
    for (const [i, item] of wanted.entries()) {
      const found = there[i]
      const isThere = found !== undefined && digestOf(found.values) === digestOf(item.values)
      if (isThere) {
        await noteDone(options, item)
        report.unchanged++
        report.toCopy--
        report.toCopyBytes -= bytesOf(item.values)
        continue
      }
      const size = bytesOf(item.values)
      if (batch.length > 0 && bytes + size > BATCH_BYTES_MAX) {
        await write(options, batch)
        batch = []
        bytes = 0
      }
      batch.push({ item, writes: writesOf(item, found?.token) })
      bytes += size
    }
    await write(options, batch)
  } catch (error) {
    if (error instanceof StoreError && error.status === 507) throw error
    for (const item of wanted) report.failed.add(`${nameOf(label, item)}: ${(error as Error).message}`)
  }
}

/** The first value takes the place of what is there, the others stand beside it. */
function writesOf({ partitionKey, sortKey, values }: K2vItem, token: string | undefined): K2vWrite[] {
  return values.map((value, i) => ({ partitionKey, sortKey, value, token: i === 0 ? token : undefined }))
}

async function write(
  options: K2vCopyOptions,
  batch: readonly { item: K2vItem; writes: K2vWrite[] }[],
): Promise<void> {
  const { destination, report, label } = options
  if (batch.length === 0) return
  try {
    await destination.insert(batch.flatMap(({ writes }) => writes))
  } catch (error) {
    if (!(error instanceof StoreError) || error.status >= 500) throw error
    // One item that is refused must not keep the others from being copied.
    if (batch.length > 1) {
      for (const one of batch) await write(options, [one])
      return
    }
    report.failed.add(`${nameOf(label, batch[0]!.item)}: ${error.message}`)
    return
  }
  for (const { item } of batch) {
    await noteDone(options, item)
    report.copied++
    report.copiedBytes += bytesOf(item.values)
    report.movedBytes += bytesOf(item.values)
  }
}

async function noteDone({ journal, label }: K2vCopyOptions, item: K2vItem): Promise<void> {
  const version = versionOf(item)
  const entry = { print: printOf(version), isDone: true, id: '', etag: version.etag }
  await journal.set(journalName(label), placeOf(item), '', entry)
}

/** Reads the items of a bucket on both sides, and tells every difference in the report. */
export async function verifyK2v({
  label,
  source,
  destination,
  report,
}: Pick<K2vCopyOptions, 'label' | 'source' | 'destination' | 'report'>): Promise<void> {
  for await (const { key, from, to } of pairs(listed(source), listed(destination))) {
    const differs = (what: string) => report.differences.add(`${nameOf(label, keysOf(key))}: ${what}`)
    if (from.length > 0) report.verified++
    if (from.length === 0) differs('only the destination has it')
    else if (to.length === 0) differs('the destination does not have it')
    else if (from[0]!.etag !== to[0]!.etag) differs('the values are not the same')
    report.movedBytes += (from[0]?.bytes ?? 0) + (to[0]?.bytes ?? 0)
  }
}
