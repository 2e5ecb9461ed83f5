import { createHash } from 'node:crypto'
import { isSameSecond } from './copy.js'
import { eachOf } from './pool.js'
import type { Report } from './report.js'
import type { Destination, KeyVersions, Opened, Source, Version } from './store.js'

export interface VerifyOptions {
  source: Source
  destination: Source & Pick<Destination, 'versions'>
  report: Report
  parallel: number
  /** Whether headers, tags and locks are compared: a folder has none. */
  comparesHeaders: boolean
  /** Whether Last-Modified is compared, where the source says that time, in ms. */
  comparesTime(modifiedMs: number): boolean
  retried<T>(attempt: () => Promise<T>): Promise<T>
}

/** Reads a bucket on both sides, whole, and tells every difference in the report. */
export async function verifyBucket(options: VerifyOptions, bucket: string): Promise<void> {
  const { source, destination, parallel, report } = options
  await eachOf(pairs(source.list(bucket), destination.list(bucket)), parallel, async ({ key, from, to }) => {
    try {
      await compareKey(options, bucket, key, from, to)
    } catch (error) {
      report.failed.add(`${bucket}/${key}: ${(error as Error).message}`)
    }
  })
}

interface Pair {
  key: string
  from: Version[]
  to: Version[]
}

/** The keys of both listings, in order. */
export async function* pairs(
  from: AsyncIterable<KeyVersions>,
  to: AsyncIterable<KeyVersions>,
): AsyncGenerator<Pair> {
  const a = from[Symbol.asyncIterator]()
  const b = to[Symbol.asyncIterator]()
  let [left, right] = [await a.next(), await b.next()]
  while (!left.done || !right.done) {
    const order = left.done
      ? 1
      : right.done
        ? -1
        : Buffer.compare(Buffer.from(left.value.key), Buffer.from(right.value.key))
    const key = order <= 0 ? left.value.key : right.value.key
    yield {
      key,
      from: order <= 0 ? left.value.versions : [],
      to: order >= 0 ? right.value.versions : [],
    }
    if (order <= 0) left = await a.next()
    if (order >= 0) right = await b.next()
  }
}

async function compareKey(
  options: VerifyOptions,
  bucket: string,
  key: string,
  from: readonly Version[],
  to: readonly Version[],
): Promise<void> {
  const { report } = options
  const differs = (what: string) => report.differences.add(`${bucket}/${key}: ${what}`)
  if (from.length === 0) return differs('only the destination has it')
  if (to.length === 0) return differs('the destination does not have it')
  if (from.length !== to.length)
    return differs(`the source has ${from.length} versions, the destination ${to.length}`)
  for (const [index, version] of from.entries()) {
    const copy = to[index]!
    const which = from.length > 1 ? ` (version ${index + 1} of ${from.length})` : ''
    report.verified++
    if (version.isMarker !== copy.isMarker) differs(`a delete marker on one side only${which}`)
    else if (!version.isMarker)
      await compareVersion(options, bucket, key, version, copy, (what) => differs(what + which))
  }
}

async function compareVersion(
  { source, destination, report, comparesHeaders, comparesTime, retried }: VerifyOptions,
  bucket: string,
  key: string,
  version: Version,
  copy: Version,
  differs: (what: string) => void,
): Promise<void> {
  if (version.bytes !== copy.bytes) return differs(`${version.bytes} bytes, ${copy.bytes} at the destination`)
  const digest = (store: Source, which: Version) =>
    retried(async () => {
      const { content, ...opened } = await store.open(bucket, key, which)
      const hash = createHash('sha256')
      for await (const chunk of content) {
        hash.update(chunk)
        report.movedBytes += chunk.length
      }
      const { tags } = await store.extras(bucket, key, which, opened)
      return { opened, tags: [...tags].sort().join('\n'), sha256: hash.digest('hex') }
    })
  const [a, b] = await Promise.all([digest(source, version), digest(destination, copy)])
  if (a.sha256 !== b.sha256) return differs('the content is not the same')
  const [before, after] = [a.opened.modifiedMs, b.opened.modifiedMs]
  if (comparesTime(before) && !isSameSecond(before, after)) differs('Last-Modified is not the same')
  if (!comparesHeaders) return
  for (const name of new Set([...Object.keys(a.opened.headers), ...Object.keys(b.opened.headers)])) {
    const isTheSame = a.opened.headers[name] === b.opened.headers[name]
    if (!isTheSame && !isStandard(name, a.opened, b.opened)) differs(`the header ${name} is not the same`)
  }
  if (a.tags !== b.tags) differs('the tags are not the same')
}

/** Stores say a content type of their own where none was given. */
function isStandard(name: string, ...sides: Omit<Opened, 'content'>[]): boolean {
  if (name !== 'content-type') return false
  return sides.every(({ headers }) =>
    [undefined, 'binary/octet-stream', 'application/octet-stream', 'blob'].includes(headers[name]),
  )
}
