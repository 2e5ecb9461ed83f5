import { encode } from '../../../client/sign.js'

/** What the address of a page of objects says. Folders are in the query: browsers take "." and ".." out of paths. */
export interface ObjectsQuery {
  /** The folder. */
  readonly in?: string
  readonly search?: string
  /** "contains": keys anywhere below the folder that contain what is searched for. Without it: names in it that begin so. */
  readonly how?: string
  readonly deleted?: string
  /** The key of the object that is shown. */
  readonly object?: string
  /** What of it. */
  readonly view?: string
  readonly version?: string
  /** Where the listing begins: after this key. */
  readonly after?: string
}

/** The address of a folder; of the bucket itself for the empty one. */
export function folderPlace(bucket: string, folder: string): string {
  const query = folder === '' ? '' : `?in=${encode(folder).replaceAll('%2F', '/')}`
  return `/buckets/${encode(bucket)}${query}`
}
