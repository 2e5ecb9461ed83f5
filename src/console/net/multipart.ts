/** Uploads in parts: begun, found again, and completed. */
import { md5 } from '@noble/hashes/legacy.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { childrenOf, decode, s3, s3Xml, textOf } from './s3'

/** An upload that was begun, and neither completed nor given up. */
export interface Unfinished {
  readonly key: string
  readonly uploadId: string
  readonly initiated: string
}

/** A part that the store has. */
export interface StoredPart {
  readonly number: number
  readonly etag: string
  /** In bytes. */
  readonly size: number
}

/** The first unfinished uploads below a prefix, at most a thousand. */
export async function listUploads(bucket: string, prefix: string): Promise<Unfinished[]> {
  const { documentElement: root } = await s3Xml({
    bucket,
    query: { uploads: '', prefix, 'encoding-type': 'url' },
  })
  return childrenOf(root, 'Upload').map((each) => ({
    key: decode(textOf(each, 'Key')),
    uploadId: textOf(each, 'UploadId'),
    initiated: textOf(each, 'Initiated'),
  }))
}

/** All parts of an upload. */
export async function listParts(bucket: string, key: string, uploadId: string): Promise<StoredPart[]> {
  const parts: StoredPart[] = []
  let marker: string | undefined
  do {
    const { documentElement: root } = await s3Xml({
      bucket,
      key,
      query: { uploadId, ...(marker !== undefined && { 'part-number-marker': marker }) },
    })
    for (const each of childrenOf(root, 'Part'))
      parts.push({
        number: Number(textOf(each, 'PartNumber')),
        etag: textOf(each, 'ETag'),
        size: Number(textOf(each, 'Size')),
      })
    marker = textOf(root, 'IsTruncated') === 'true' ? textOf(root, 'NextPartNumberMarker') : undefined
  } while (marker !== undefined)
  return parts
}

export async function beginUpload(
  bucket: string,
  key: string,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const { documentElement } = await s3Xml({ method: 'POST', bucket, key, query: { uploads: '' }, headers })
  return textOf(documentElement, 'UploadId')
}

export async function abortUpload(bucket: string, key: string, uploadId: string): Promise<void> {
  await s3({ method: 'DELETE', bucket, key, query: { uploadId } })
}

/** @param parts ETags by part number */
export async function completeUpload(
  bucket: string,
  key: string,
  uploadId: string,
  parts: ReadonlyMap<number, string>,
): Promise<void> {
  const list = [...parts]
    .sort(([a], [b]) => a - b)
    .map(
      ([number, etag]) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`,
    )
  const body = `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`
  await s3({ method: 'POST', bucket, key, query: { uploadId }, body })
}

/** Bytes hashed in one turn, short enough for the page to stay alive. */
const HASH_BYTES = 1 << 20

/** The MD5 of a blob as ETags have it, with quotes. */
export async function etagOf(blob: Blob, signal: AbortSignal): Promise<string> {
  const hash = md5.create()
  for (let at = 0; at < blob.size; at += HASH_BYTES) {
    signal.throwIfAborted()
    hash.update(new Uint8Array(await blob.slice(at, at + HASH_BYTES).arrayBuffer()))
  }
  return `"${bytesToHex(hash.digest())}"`
}
