import type { Bucket } from '../../../model/buckets/buckets.js'
import type { BucketDocuments, DocumentName } from '../../../model/buckets/documents.js'
import { parseXml, type XmlElement } from '../../xml/reader.js'
import { authorize } from '../access/authorize.js'
import type { S3Context } from '../context.js'
import { S3Error, type S3ErrorCode } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'

/**
 * Longer documents about a bucket or an object are not read: AWS's limit for most of them. That of policies is lower, and is
 * checked when they are parsed.
 */
export const DOCUMENT_BYTES_MAX = 64 * 1024

/** The bucket, if the caller may read or change its configuration. @throws S3Error NoSuchBucket, AccessDenied */
export async function configuredBucket(
  context: S3Context,
  request: S3Request,
  action: string,
): Promise<Bucket> {
  const { bucket } = await authorize(context.model, request, { permission: 'owner', action })
  return bucket
}

/** The root element of a configuration. @throws S3Error MissingRequestBodyError, MalformedXML */
export async function configurationBody(
  request: S3Request,
  root: string,
  bytesMax = DOCUMENT_BYTES_MAX,
): Promise<XmlElement> {
  const body = await request.payload.readAll(bytesMax, 'MalformedXML')
  if (body.length === 0) throw new S3Error('MissingRequestBodyError')
  return parseXml(body, root)
}

/** The document of that name. @throws S3Error `missing` when the bucket has none */
export function needDocument<N extends DocumentName>(
  bucket: Bucket,
  name: N,
  missing: S3ErrorCode,
  request: S3Request,
): BucketDocuments[N] {
  const document = bucket.document(name)
  if (document === undefined) {
    throw new S3Error(missing, undefined, { extra: { BucketName: request.bucket } })
  }
  return document
}

/** Deletes a document; succeeds if there is none. */
export async function deleteDocument(
  context: S3Context,
  request: S3Request,
  action: string,
  name: DocumentName,
): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, action)
  if (bucket.document(name) !== undefined) await context.model.buckets.setDocument(bucket, name, undefined)
  return { status: 204 }
}
