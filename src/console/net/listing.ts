/** Pages of listings, read in pieces so that no task of the page gets long. */
import { turn } from '../turn'
import { decode, type S3Call, s3, textOf } from './s3'

/** An entry of a listing, in the text of a page. Nothing in an entry has the name of an entry. */
const ENTRY = /<(Contents|CommonPrefixes|Version|DeleteMarker)>.*?<\/\1>/gs
/** An entry's key, or that of a folder, in the text of the entry. */
const KEY = /<(?:Key|Prefix)>([^<]*)</
/** Entries that are parsed in one task. */
const PIECE = 100

/** What a page of a listing says. */
export interface ListingPage<T> {
  /** The page without its entries. */
  readonly root: Element
  /** In the order of the page. */
  readonly entries: T[]
  /** How many entries the page has, those included that were not wanted. */
  readonly seen: number
  /** The last key or folder of all of these; undefined if there are none. */
  readonly last: string | undefined
}

/**
 * One page of a listing of objects or versions, with URL-encoded keys.
 * @param read makes of an element what is wanted of it
 * @param isWanted tells of a key whether its entry is read at all: the others cost next to nothing
 * @throws ApiError
 */
export async function listingPage<T>(
  call: S3Call,
  read: (entry: Element) => T,
  isWanted?: (key: string) => boolean,
): Promise<ListingPage<T>> {
  const query = { 'encoding-type': 'url', ...call.query }
  const text = await (await s3({ ...call, query })).text()
  const all = text.match(ENTRY) ?? []
  const wanted = isWanted ? all.filter((entry) => isWanted(keyOf(entry))) : all
  const entries: T[] = []
  for (let at = 0; at < wanted.length; at += PIECE) {
    await turn()
    call.signal?.throwIfAborted()
    const piece = parse(`<piece>${wanted.slice(at, at + PIECE).join('')}</piece>`)
    for (const entry of piece.children) entries.push(read(entry))
  }
  return { root: parse(text.replace(ENTRY, '')), entries, seen: all.length, last: lastOf(all) }
}

function keyOf(entry: string): string {
  return decode(KEY.exec(entry)?.[1] ?? '')
}

/** Pages have the keys first, and then the folders. */
function lastOf(entries: readonly string[]): string | undefined {
  const isFolder = (entry: string) => entry.startsWith('<CommonPrefixes>')
  const ends = [entries.findLast((entry) => !isFolder(entry)), entries.findLast(isFolder)]
  return ends
    .flatMap((entry) => (entry === undefined ? [] : keyOf(entry)))
    .sort(compareKeys)
    .at(-1)
}

/** The order of keys: that of their UTF-8, which is not that of JavaScript's strings. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

/** Surrogates stand for characters behind all that need none. */
function rank(unit: number): number {
  return unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

function parse(text: string): Element {
  return new DOMParser().parseFromString(text, 'application/xml').documentElement
}

export interface ObjectEntry {
  readonly key: string
  /** Undefined for a folder. */
  readonly size?: number
  readonly modified?: string
  readonly etag?: string
}

/** What of a listing is asked for. */
export interface ListingQuery {
  readonly bucket: string
  readonly prefix: string
  /** Without it, there are no folders. */
  readonly delimiter?: string | undefined
  /** The key after which a listing begins. */
  readonly after?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Which keys are wanted; all without it. */
  readonly isWanted?: ((key: string) => boolean) | undefined
}

export interface ObjectPage {
  readonly entries: ObjectEntry[]
  readonly seen: number
  readonly last: string | undefined
  readonly next: string | undefined
}

/** A page of folders and objects below a prefix, by key. @param next the page that the one before told of */
export async function listObjects(asked: ListingQuery, next?: string): Promise<ObjectPage> {
  const { bucket, prefix, delimiter, after, signal, isWanted } = asked
  const query = {
    ...{ 'list-type': '2', prefix, 'max-keys': '1000' },
    ...(delimiter !== undefined && { delimiter }),
    ...(next !== undefined && { 'continuation-token': next }),
    ...(after !== undefined && { 'start-after': after }),
  }
  const call = { bucket, query, ...(signal && { signal }) }
  const { root, ...page } = await listingPage(call, objectOf, isWanted)
  return { ...page, next: textOf(root, 'NextContinuationToken') || undefined }
}

function objectOf(entry: Element): ObjectEntry {
  if (entry.localName === 'CommonPrefixes') return { key: decode(textOf(entry, 'Prefix')) }
  return {
    key: decode(textOf(entry, 'Key')),
    size: Number(textOf(entry, 'Size')),
    modified: textOf(entry, 'LastModified'),
    etag: textOf(entry, 'ETag'),
  }
}

/** Whether a key is that of the folder listed, as some programs make them to keep empty folders. */
export function isFolderItself(key: string, prefix: string): boolean {
  return key === prefix && prefix.endsWith('/')
}
