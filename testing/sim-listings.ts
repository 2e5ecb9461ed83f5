import type { Bucket } from '../src/model/buckets/buckets.js'
import type { ListPage } from '../src/model/listing/objects.js'
import type { PageEntry } from '../src/model/listing/page.js'
import type { VersionPosition } from '../src/model/listing/version-page.js'
import type { VersionPage } from '../src/model/listing/versions.js'
import type { Model } from '../src/model/model.js'
import type { UploadPage } from '../src/model/uploads/uploads.js'
import { readListed } from '../src/model/versions/codec.js'
import { successor } from '../src/table/row-keys.js'
import type { SeededRandom } from './seeded-random.js'
import type { ClientRequest } from './sim-request.js'
import type { Workload } from './sim-workload.js'

const EMPTY = Buffer.alloc(0)
const LIMIT_MAX = 1000
/** Share of the listings that have a prefix, a delimiter, and a key to start after. */
const PREFIX_SHARE = 0.3
const DELIMITER_SHARE = 0.25
const START_SHARE = 0.25

/** What a listing is asked for. */
interface Form {
  prefix: string
  delimiter: string
  startAfter: string
}

const WHOLE: Form = { prefix: '', delimiter: '', startAfter: '' }

/**
 * Lists objects in pages: a read of every key that it speaks of. Of keys that it folds it says only whether there are any.
 * @param isWhole lists the whole bucket, key by key
 */
export async function listObjects(request: ClientRequest<Workload>, isWhole = false): Promise<void> {
  const { w, random, target } = request
  const { bucket } = target
  const keys = keysOf(w, bucket)
  const form = isWhole ? WHOLE : drawForm(random, keys)
  const limit = random.chance(0.5) ? LIMIT_MAX : 1 + random.below(keys.length)
  const asked = keys.filter((key) => isAsked(key, form))
  const reads = asked.map((key) =>
    w.history.call(registerOf(w, bucket, key), 'read', null, request.note('list')),
  )
  const entries = await request.try(`list ${told(form)}`, async (model) => {
    const { prefix, delimiter, startAfter } = form
    const listed: PageEntry[] = []
    const first = startAfter === '' ? EMPTY : successor(Buffer.from(startAfter))
    for (let start: Buffer | undefined = first; start; ) {
      const asking = {
        bucket: bucket.id,
        prefix: Buffer.from(prefix),
        delimiter: Buffer.from(delimiter),
        limit,
      }
      const page: ListPage = await model.listing.page({ ...asking, start })
      listed.push(...page.entries)
      start = page.more ? page.next : undefined
    }
    return listed
  })
  if (!entries) return
  const heads = new Map(entries.map(({ key, head }) => [key.toString(), head]))
  for (const [i, key] of asked.entries()) {
    const folded = foldOf(key, form)
    if (folded !== undefined) {
      if (!heads.has(folded)) w.history.answered(reads[i]!, null)
      continue
    }
    const head = heads.get(key)
    w.history.answered(reads[i]!, head ? readListed(head).etag.slice(0, 32) : null)
  }
}

/**
 * Lists versions in pages: a read of each key, whose latest version is marked. Each version that was acknowledged before is in it
 * unless somebody has begun to delete it, and none is whose deletion was acknowledged before.
 */
export async function listVersions(request: ClientRequest<Workload>): Promise<void> {
  const { w, random } = request
  const bucket = w.versionedBucket
  const prefix = drawForm(random, w.versionedKeys).prefix
  const limit = random.chance(0.5) ? LIMIT_MAX : 3 + random.below(40)
  const asked = w.versionedKeys.filter((key) => key.startsWith(prefix))
  const reads = asked.map((key) =>
    w.history.call(registerOf(w, bucket, key), 'read', null, request.note('list of versions')),
  )
  const there = [...w.versions].flatMap(([id, { key }]) => (key.startsWith(prefix) ? [id] : []))
  const gone = new Set(w.deletedVersions.keys())
  const listed = await request.try(`list-versions ${prefix}`, async (model) => {
    const found = new Set<string>()
    const latest = new Map<string, string | null>()
    let at: VersionPosition | undefined = { start: EMPTY, afterVersion: EMPTY }
    while (at) {
      const asking = { bucket: bucket.id, prefix: Buffer.from(prefix), delimiter: EMPTY, limit }
      const page: VersionPage = await model.versionListing.page({ ...asking, ...at })
      for (const { key, head, latest: isLatest } of page.entries) {
        const { id, etag, isMarker } = readListed(head!)
        found.add(`${key}/${id.toString('hex')}`)
        if (isLatest) latest.set(key.toString(), isMarker ? null : etag.slice(0, 32))
      }
      at = page.more ? (page.next ?? behind(page)) : undefined
    }
    return { found, latest }
  })
  if (!listed) return
  for (const [i, key] of asked.entries()) w.history.answered(reads[i]!, listed.latest.get(key) ?? null)
  for (const id of there)
    if (!listed.found.has(id) && w.versions.has(id))
      w.problems.push(`${request.note('list of versions')}: acknowledged version ${id} is not listed`)
  for (const id of listed.found)
    if (gone.has(id)) w.problems.push(`${request.note('list of versions')}: deleted version ${id} is listed`)
}

/** Whether an upload is among those of the keys with a prefix: lists them in pages. */
export async function isUploadListed(
  { uploads }: Model,
  upload: { bucket: Buffer; key: Buffer; id: Buffer },
  prefix: string,
  limit: number,
): Promise<boolean> {
  let after: { key: Buffer; id?: Buffer } | undefined
  do {
    const page: UploadPage = await uploads.page(upload.bucket, {
      ...{ prefix, delimiter: '', limit },
      ...(after && { after }),
    })
    if (page.uploads.some(({ id }) => id.equals(upload.id))) return true
    const { next } = page
    after = next && { key: Buffer.from(next.key), ...(next.id && { id: Buffer.from(next.id, 'hex') }) }
  } while (after)
  return false
}

function drawForm(random: SeededRandom, keys: readonly string[]): Form {
  const key = random.pick(keys)
  return {
    prefix: random.chance(PREFIX_SHARE) ? key.slice(0, 1 + random.below(key.length)) : '',
    delimiter: random.chance(DELIMITER_SHARE) ? '/' : '',
    startAfter: random.chance(START_SHARE) ? random.pick(keys) : '',
  }
}

function told({ prefix, delimiter, startAfter }: Form): string {
  return [prefix && `${prefix}*`, delimiter, startAfter && `> ${startAfter}`].filter(Boolean).join(' ')
}

function isAsked(key: string, { prefix, startAfter }: Form): boolean {
  return key.startsWith(prefix) && (startAfter === '' || key > startAfter)
}

/** The common prefix as which a key is listed, if it is folded. */
function foldOf(key: string, { prefix, delimiter }: Form): string | undefined {
  const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
  return cut < 0 ? undefined : key.slice(0, cut + delimiter.length)
}

/** The position behind the last entry of a page. */
function behind({ entries }: VersionPage): VersionPosition {
  const { key, head } = entries.at(-1)!
  return { start: key, afterVersion: readListed(head!).id }
}

function keysOf(w: Workload, bucket: Bucket): readonly string[] {
  return bucket === w.versionedBucket ? w.versionedKeys : w.keys
}

function registerOf(w: Workload, bucket: Bucket, key: string): string {
  return bucket === w.versionedBucket ? `versioned/${key}` : key
}
