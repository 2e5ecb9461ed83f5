import { isFolderItself, type ListingQuery, listObjects, type ObjectEntry } from '../../net/listing'
import { listVersions, type VersionMarker } from '../../net/versions'
import { turn } from '../../turn'
import type { Read } from './parts'

/** What is listed. */
export interface Asked {
  readonly bucket: string
  readonly folder: string
  /** What is searched for; empty: nothing. */
  readonly search: string
  /** Names in the folder that begin with what is searched for, or keys anywhere below it that contain it. */
  readonly how: 'begins' | 'contains'
  /** Whether deleted objects, of which versions are kept, are listed too. */
  readonly withDeleted: boolean
  /** The key after which it begins; the first one without it. */
  readonly after?: string | undefined
}

export interface Entry extends ObjectEntry {
  readonly isDeleted?: boolean
}

export type Marker = string | VersionMarker

/** So many pages are looked through, or until so many entries were found, before what was found is shown. */
const PAGES_MAX = 20
const FOUND_MIN = 100

/**
 * Reads a part of what is listed: a page, or as many as it takes until some of a search are found.
 * @param onSeen is told how many names were looked at so far
 * @throws ApiError
 */
export async function readPart(
  asked: Asked,
  from: Marker | undefined,
  signal: AbortSignal,
  onSeen: (names: number) => void,
): Promise<Read<Entry, Marker>> {
  const { bucket, folder, search, how, withDeleted, after } = asked
  const isScan = how === 'contains' && search !== ''
  const query: ListingQuery = isScan
    ? { bucket, prefix: folder, after, signal, isWanted: containing(folder, search) }
    : { bucket, prefix: folder + search, delimiter: '/', after, signal }
  const entries: Entry[] = []
  let last: string | undefined
  let next = from
  let seen = 0
  for (let page = 0; page < (isScan ? PAGES_MAX : 1) && entries.length < FOUND_MIN; page++) {
    const read = withDeleted
      ? await latestVersions(query, next as VersionMarker | undefined)
      : await listObjects(query, next as string | undefined)
    for (const entry of read.entries) if (!isFolderItself(entry.key, query.prefix)) entries.push(entry)
    seen += read.seen
    onSeen(seen)
    last = read.last ?? last
    next = read.next
    if (next === undefined) break
    await turn()
  }
  if (!isScan) entries.sort((a, b) => Number(isObject(a)) - Number(isObject(b)))
  return { entries, last, next, seen }
}

/** Whether a key has the text somewhere below the folder, in whatever case. */
function containing(folder: string, search: string): (key: string) => boolean {
  const wanted = search.toLowerCase()
  return (key) => key.toLowerCase().includes(wanted, folder.toLowerCase().length)
}

/** Folders come first, in each page. */
function isObject({ size }: Entry): boolean {
  return size !== undefined
}

async function latestVersions(query: ListingQuery, marker: VersionMarker | undefined) {
  const page = await listVersions(query, marker)
  const entries = page.entries.flatMap((entry): Entry[] => {
    if (!('versionId' in entry)) return [entry]
    const { isLatest, isDeleteMarker, ...version } = entry
    return isLatest ? [{ ...version, isDeleted: isDeleteMarker }] : []
  })
  return { ...page, entries }
}
