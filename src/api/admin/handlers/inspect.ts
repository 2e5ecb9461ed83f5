import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import type { UploadRow } from '../../../model/uploads/tables.js'
import { lastModifiedMs, type VersionRecord } from '../../../model/versions/record.js'
import type { ObjectInspection, ObjectVersionInfo } from '../types.js'
import { isoTime } from './lookup.js'
import { UnknownThing } from './lookup-error.js'

/** The largest number of uploads, and of versions that are not the current one, shown for one key. */
const UPLOADS_MAX = 1000
const VERSIONS_MAX = 1000

/**
 * Everything stored under a key: uploads under way, the current version, noncurrent ones, newest first.
 * @throws CarportError NotFound
 */
export async function inspectObject(model: Model, bucket: Bucket, key: string): Promise<ObjectInspection> {
  const keyBytes = Buffer.from(key)
  const [row, uploads] = await Promise.all([
    model.objects.current(bucket.id, keyBytes),
    model.uploads.page(bucket.id, { prefix: key, delimiter: '', limit: UPLOADS_MAX }),
  ])
  const current = row?.state === 'tombstone' ? undefined : row
  const noncurrent = await model.objects.noncurrent.list(bucket.id, keyBytes, row, { limit: VERSIONS_MAX })
  const older = noncurrent.versions.slice(0, VERSIONS_MAX)
  const versions: ObjectVersionInfo[] = uploads.uploads.filter((u) => u.key.equals(keyBytes)).map(uploadInfo)
  for (const version of current ? [current, ...older] : older) {
    versions.push(await versionInfo(model, version))
  }
  if (versions.length === 0) {
    throw new UnknownThing('Key', `no object "${key}" in bucket ${bucket.aliases[0] ?? bucket.hexId}`)
  }
  return { bucketId: bucket.hexId, key, versions }
}

function uploadInfo(upload: UploadRow): ObjectVersionInfo {
  return {
    uuid: upload.id.toString('hex'),
    timestamp: isoTime(upload.timeUs / 1000),
    encrypted: upload.encryption !== undefined,
    uploading: true,
    aborted: false,
    deleteMarker: false,
    inline: false,
    size: null,
    etag: null,
    headers: headersOf(upload),
    blocks: [],
  }
}

async function versionInfo(model: Model, version: VersionRecord): Promise<ObjectVersionInfo> {
  const isObject = version.state === 'object'
  const etag = version.etag.toString('hex')
  return {
    uuid: version.id.toString('hex'),
    timestamp: isoTime(lastModifiedMs(version)),
    encrypted: version.encryption !== undefined,
    uploading: false,
    aborted: false,
    deleteMarker: version.state === 'marker',
    inline: version.content.kind === 'inline',
    size: isObject ? version.size : null,
    etag: isObject ? (version.etagParts > 0 ? `${etag}-${version.etagParts}` : etag) : null,
    headers: headersOf(version),
    blocks: isObject ? await blocksOf(model, version) : [],
  }
}

function headersOf({ headers, metadata }: Pick<VersionRecord, 'headers' | 'metadata'>): [string, string][] {
  return [
    ...Object.entries(headers),
    ...Object.entries(metadata).map(([name, value]): [string, string] => [`x-amz-meta-${name}`, value]),
  ]
}

/**
 * The blocks with their part and their offset in it; a version that was not uploaded in parts counts as one
 * part.
 */
async function blocksOf(model: Model, version: VersionRecord): Promise<ObjectVersionInfo['blocks']> {
  const parts = await model.blobs.partsOf(version)
  const blocks: ObjectVersionInfo['blocks'] = []
  let part = 0
  let partStart = 0
  for await (const { offset, ref } of model.blobs.blocksOf(version.bucket, version.id, version.content)) {
    while (part < parts.length - 1 && offset >= partStart + parts[part]!.size)
      partStart += parts[part++]!.size
    blocks.push({
      partNumber: parts[part]?.number ?? 1,
      offset: offset - partStart,
      hash: ref.hash.toString('hex'),
      size: ref.size,
    })
  }
  return blocks
}
