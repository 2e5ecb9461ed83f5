import type { VersionRecord } from '../versions/record.js'
import type { BlobStore } from './blobs.js'
import { contentOpener, partsOpener } from './block-ciphers.js'
import type { ContentEncryption } from './ciphers.js'
import type { BlockOpener } from './refs.js'

/** The cipher that opens a version's content, whose data key was unwrapped or came with the request. */
export async function versionOpener(
  blobs: Pick<BlobStore, 'partsOf'>,
  version: VersionRecord,
  { iv, format }: ContentEncryption,
  dataKey: Buffer,
): Promise<BlockOpener> {
  if (iv) return contentOpener(format, dataKey, iv, version.size)
  return partsOpener(format, dataKey, await blobs.partsOf(version))
}
