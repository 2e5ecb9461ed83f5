import { join } from 'node:path'
import { StoreError } from '../api/client/s3-client.js'
import type { Content } from '../api/client/stream-call.js'
import {
  type ByteRange,
  compareKeys,
  type Destination,
  type Extras,
  type KeyVersions,
  NO_EXTRAS,
  type Opened,
  type Source,
  type Version,
  type Written,
} from './store.js'
import type { FolderEntry, Folders } from './world.js'

/** As rclone keeps a file's time: seconds since the epoch. */
const MTIME = 'x-amz-meta-mtime'
/** Ends the names of files that are being written. */
const UNFINISHED = '.carport-part'

/** Types by the ends of names, for what web sites and media consist of. */
const TYPES: Readonly<Record<string, string>> = {
  avif: 'image/avif',
  css: 'text/css',
  csv: 'text/csv',
  gif: 'image/gif',
  gz: 'application/gzip',
  html: 'text/html',
  htm: 'text/html',
  ico: 'image/vnd.microsoft.icon',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript',
  json: 'application/json',
  md: 'text/markdown',
  mjs: 'text/javascript',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  ogg: 'audio/ogg',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  tar: 'application/x-tar',
  txt: 'text/plain',
  wasm: 'application/wasm',
  webm: 'video/webm',
  webp: 'image/webp',
  woff2: 'font/woff2',
  xml: 'application/xml',
  zip: 'application/zip',
}

/** A folder as a store: its folders are buckets, the files below them objects. */
export class FolderStore implements Source, Destination {
  /** @param onProblem told of each entry that cannot be read, and so is left out */
  constructor(
    private readonly root: string,
    private readonly folders: Folders,
    private readonly onProblem: (path: string, problem: string) => void = () => {},
  ) {}

  /** The entries of a folder, below the root, that can be read. */
  async #entries(path: string): Promise<FolderEntry[] | undefined> {
    const entries = await this.folders.list(join(this.root, path))
    return entries?.filter(({ name, problem }) => {
      if (problem !== undefined) this.onProblem(join(path, name), problem)
      return problem === undefined
    })
  }

  async buckets(): Promise<string[]> {
    const entries = await this.#entries('')
    if (!entries) throw new StoreError('NoSuchFolder', `there is no folder ${this.root}`, 404)
    return entries.flatMap(({ name, isFolder }) => (isFolder ? [name] : [])).sort()
  }

  /** Files that lie beside the folders, and so in no bucket. */
  async strays(): Promise<string[]> {
    const entries = (await this.#entries('')) ?? []
    return entries.flatMap(({ name, isFolder }) => (isFolder ? [] : [name])).sort()
  }

  list(bucket: string): AsyncGenerator<KeyVersions> {
    return this.#walk(bucket, '')
  }

  async *#walk(folder: string, prefix: string): AsyncGenerator<KeyVersions> {
    const entries = ((await this.#entries(folder)) ?? []).filter(({ name }) => !name.endsWith(UNFINISHED))
    const ordered = entries
      .map((entry) => ({ ...entry, key: entry.isFolder ? `${entry.name}/` : entry.name }))
      .sort((a, b) => compareKeys(a.key, b.key))
    for (const { name, key, isFolder, ...entry } of ordered) {
      if (isFolder) yield* this.#walk(join(folder, name), prefix + key)
      else yield { key: prefix + key, versions: [versionOf(entry)] }
    }
  }

  async head(_bucket: string, key: string, version: Version): Promise<Omit<Opened, 'content'>> {
    const dot = key.slice(key.lastIndexOf('/') + 1).lastIndexOf('.')
    const type = dot > 0 ? TYPES[key.slice(key.lastIndexOf('.') + 1).toLowerCase()] : undefined
    const headers = {
      [MTIME]: String(version.modifiedMs / 1000),
      ...(type !== undefined && { 'content-type': type }),
    }
    const { bytes, modifiedMs } = version
    return { bytes, etag: '', modifiedMs, headers, lock: {}, tagCount: 0 }
  }

  async open(bucket: string, key: string, version: Version, range?: ByteRange): Promise<Opened> {
    const head = await this.head(bucket, key, version)
    const path = this.#path(bucket, key)
    const content = this.folders.read(path, range)
    return { ...head, bytes: range ? range.end - range.start : head.bytes, content }
  }

  async parts(): Promise<undefined> {
    return undefined
  }

  async extras(): Promise<Extras> {
    return NO_EXTRAS
  }

  async put(bucket: string, key: string, object: Opened): Promise<Written> {
    const mtime = Number(object.headers[MTIME]) * 1000
    const modifiedMs = Number.isFinite(mtime) && mtime > 0 ? mtime : object.modifiedMs
    await this.folders.write(this.#path(bucket, key), object.content, modifiedMs)
    return { id: '', etag: '' }
  }

  /** A file has no parts: they are written one behind the other. */
  putParts(
    bucket: string,
    key: string,
    object: Omit<Opened, 'content'>,
    _extras: Extras,
    parts: readonly number[],
    part: (range: ByteRange) => Promise<Opened>,
  ): Promise<Written> {
    return this.put(bucket, key, { ...object, content: joined(parts, part) })
  }

  async finish(): Promise<void> {}

  async remove(bucket: string, key: string): Promise<Written> {
    await this.folders.remove(this.#path(bucket, key))
    return { id: '', etag: '' }
  }

  mark(bucket: string, key: string): Promise<Written> {
    return this.remove(bucket, key)
  }

  async versions(bucket: string, key: string): Promise<Version[]> {
    const entry = await this.folders.stat(this.#path(bucket, key))
    return entry && !entry.isFolder ? [versionOf(entry)] : []
  }

  /** @throws StoreError for keys that no file can have, and that would lead out of the folder */
  #path(bucket: string, key: string): string {
    const names = key.split('/')
    const isName = (name: string) =>
      name !== '' && name !== '.' && name !== '..' && !name.includes('\0') && Buffer.byteLength(name) <= 255
    if (!names.every(isName) || !isName(bucket) || bucket.includes('/') || key.endsWith(UNFINISHED))
      throw new StoreError('NoFileName', 'no file can have this name', 400)
    return join(this.root, bucket, ...names)
  }
}

async function* joined(
  parts: readonly number[],
  part: (range: ByteRange) => Promise<Opened>,
): AsyncGenerator<Buffer> {
  let start = 0
  for (const bytes of parts) {
    yield* (await part({ start, end: start + bytes })).content satisfies Content
    start += bytes
  }
}

const versionOf = ({ bytes, modifiedMs }: Pick<FolderEntry, 'bytes' | 'modifiedMs'>): Version => ({
  ...{ id: '', isMarker: false, bytes, modifiedMs },
  etag: '',
})
