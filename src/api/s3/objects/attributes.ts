import type { VersionRecord } from '../../../model/versions/record.js'
import { httpDateOf } from '../../http/date.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { authorize } from '../access/authorize.js'
import { parseMax, xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { openVersion } from '../encryption/requests.js'
import { invalidArgument, S3Error } from '../errors.js'
import { CHECKSUM_ELEMENT } from '../payload/checksum.js'
import type { S3Request, S3Response } from '../request.js'
import { versioned, versionIdHeader } from '../version-id.js'
import { existingVersion } from './find.js'
import { checksumText, etagOf, lastModifiedMs } from './headers.js'

const ATTRIBUTES = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const
type Attribute = (typeof ATTRIBUTES)[number]

const PARTS_MAX = 1000
const PART_NUMBER_MAX = 10_000

/** GetObjectAttributes: the data of HeadObject, and the parts of a multipart object. */
export async function getObjectAttributes(context: S3Context, request: S3Request): Promise<S3Response> {
  const wanted = wantedAttributes(request)
  await authorize(context.model, request, {
    permission: 'read',
    action: versioned(request, 's3:GetObject', 's3:GetObjectVersion'),
  })
  const { bucket, version } = await existingVersion(context, request, {
    permission: 'read',
    action: versioned(request, 's3:GetObjectAttributes', 's3:GetObjectVersionAttributes'),
  })
  openVersion(context, request, version)
  const has = (attribute: Attribute) => wanted.has(attribute)
  return xmlResponse(
    'GetObjectAttributesResponse',
    (has('ETag') ? xmlText('ETag', etagOf(version).slice(1, -1)) : '') +
      (has('Checksum') ? checksumXml(version) : '') +
      (has('ObjectParts') ? await partsXml(context, request, version) : '') +
      (has('StorageClass') ? xmlText('StorageClass', version.storageClass ?? 'STANDARD') : '') +
      (has('ObjectSize') ? xmlText('ObjectSize', version.size) : ''),
    {
      'last-modified': httpDateOf(lastModifiedMs(version)),
      ...versionIdHeader(bucket.versioning, version),
    },
  )
}

/** @throws S3Error InvalidArgument without x-amz-object-attributes, and for unknown names in it */
function wantedAttributes(request: S3Request): ReadonlySet<Attribute> {
  const header = request.header('x-amz-object-attributes')
  const names = (header ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  const known = ATTRIBUTES.filter((attribute) => names.includes(attribute))
  if (names.length === 0 || names.some((name) => !(ATTRIBUTES as readonly string[]).includes(name))) {
    throw invalidArgument('Invalid attribute name specified.', 'x-amz-object-attributes', header)
  }
  return new Set(known)
}

function checksumXml(version: VersionRecord): string {
  const { checksum, checksumAlgorithm, checksumType } = version
  if (!checksum || !checksumAlgorithm) return ''
  return xmlElement(
    'Checksum',
    xmlText(CHECKSUM_ELEMENT[checksumAlgorithm], checksumText(version)) +
      xmlText('ChecksumType', checksumType ?? 'FULL_OBJECT'),
  )
}

/** The parts; empty for objects that were not made of parts. */
async function partsXml({ model }: S3Context, request: S3Request, version: VersionRecord): Promise<string> {
  const parts = await model.blobs.partsOf(version)
  if (parts.length === 0) return ''
  const limit = parseMax(request.header('x-amz-max-parts'), 'x-amz-max-parts', PARTS_MAX)
  const marker = parseMax(
    request.header('x-amz-part-number-marker') ?? '0',
    'x-amz-part-number-marker',
    PART_NUMBER_MAX,
  )
  const rest = parts.filter((part) => part.number > marker)
  const page = rest.slice(0, limit)
  const algorithm = version.checksumAlgorithm
  const rendered = page.map((part) =>
    xmlElement(
      'Part',
      xmlText('PartNumber', part.number) +
        xmlText('Size', part.size) +
        (part.checksum && algorithm
          ? xmlText(CHECKSUM_ELEMENT[algorithm], part.checksum.toString('base64'))
          : ''),
    ),
  )
  return xmlElement(
    'ObjectParts',
    xmlText('PartsCount', parts.length) +
      xmlText('PartNumberMarker', marker) +
      xmlText('NextPartNumberMarker', page.at(-1)?.number ?? marker) +
      xmlText('MaxParts', limit) +
      xmlText('IsTruncated', rest.length > page.length) +
      rendered.join(''),
  )
}

/** RestoreObject: refused, since there is no archive to restore from. */
export async function restoreObject(context: S3Context, request: S3Request): Promise<S3Response> {
  await existingVersion(context, request, { permission: 'write', action: 's3:RestoreObject' })
  throw new S3Error('InvalidObjectState', 'Restore is not allowed for the object’s current storage class', {
    extra: { StorageClass: 'STANDARD' },
  })
}
