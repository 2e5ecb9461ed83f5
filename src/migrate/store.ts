import type { Content, Headers } from '../api/client/stream-call.js'

/** A version of an object, or a delete marker, as a listing tells it. */
export interface Version {
  /** Empty where the bucket has no versions. */
  id: string
  isMarker: boolean
  bytes: number
  /** Without quotes; empty where the source has none. */
  etag: string
  /** Ms since the epoch. */
  modifiedMs: number
}

/** A key with its versions, the oldest first. */
export interface KeyVersions {
  key: string
  versions: Version[]
}

/** An object's content with what belongs to it. */
export interface Opened {
  bytes: number
  etag: string
  modifiedMs: number
  /** Those that are stored with the object: content-type, x-amz-meta-*, x-amz-website-redirect-location, … */
  headers: Headers
  /** x-amz-object-lock-* headers. */
  lock: Headers
  tagCount: number
  content: Content
}

/** What an object has beside its content and headers. */
export interface Extras {
  tags: readonly (readonly [key: string, value: string])[]
  /** The AccessControlPolicy as the source tells it; undefined where access lists do not count. */
  acl: string | undefined
}

/** From `start` to before `end`, in bytes. */
export interface ByteRange {
  start: number
  end: number
}

/** Where objects come from. */
export interface Source {
  /** Names of the buckets, in order. */
  buckets(): Promise<string[]>
  /** All keys of a bucket in the order of their UTF-8 bytes. */
  list(bucket: string): AsyncIterable<KeyVersions>
  /** @param range opens a part of the content, of which `bytes` tells the length then */
  open(bucket: string, key: string, version: Version, range?: ByteRange): Promise<Opened>
  /** Sizes of the parts of an object that was uploaded in parts; undefined if it was not, or nobody can tell. */
  parts(bucket: string, key: string, version: Version): Promise<number[] | undefined>
  /** What `open` would tell, without content. */
  head(bucket: string, key: string, version: Version): Promise<Omit<Opened, 'content'>>
  extras(bucket: string, key: string, version: Version, opened: Omit<Opened, 'content'>): Promise<Extras>
}

export interface Written {
  /** The version's id; empty where there are none. */
  id: string
  etag: string
}

/** Where objects go. */
export interface Destination {
  /** Writes an object whole, with the Last-Modified that it has if the store takes that. @throws StoreError with the code of the store */
  put(bucket: string, key: string, object: Opened, extras: Extras): Promise<Written>
  /** Writes an object part by part; `part` opens them. */
  putParts(
    bucket: string,
    key: string,
    object: Omit<Opened, 'content'>,
    extras: Extras,
    parts: readonly number[],
    part: (range: ByteRange) => Promise<Opened>,
  ): Promise<Written>
  /** Gives an object that is there already the access list of the source, if there is one. */
  finish(bucket: string, key: string, id: string, extras: Extras): Promise<void>
  /** Deletes an object, or with an id that version of it, for good. */
  remove(bucket: string, key: string, id?: string): Promise<Written>
  /** Writes a delete marker, or deletes the object where there are no versions. @param modifiedMs the marker's time */
  mark(bucket: string, key: string, modifiedMs: number): Promise<Written>
  /** The versions of one key, the oldest first. */
  versions(bucket: string, key: string): Promise<Version[]>
}

export const NO_EXTRAS: Extras = { tags: [], acl: undefined }

/** Orders keys by their UTF-8 bytes, as S3 lists them. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
