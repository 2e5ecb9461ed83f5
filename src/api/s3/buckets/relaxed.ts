/**
 * Relaxed buckets: an extension of the S3 API, for applications that come from a store with fewer rules. Such a bucket takes
 * what Garage takes: any storage class (told as STANDARD), headers that ask for encryption where there is no master key (stored
 * as it came, and no answer says otherwise), parts of any size, more metadata, and lifecycle rules that do nothing.
 */
import type { Bucket } from '../../../model/buckets/buckets.js'
import { xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket, deleteDocument } from './configuration.js'

/** The limit for user metadata in a relaxed bucket, in bytes: what fits into the head of a request beside the other headers. */
export const RELAXED_METADATA_BYTES_MAX = 12 * 1024

/** Whether a bucket takes what other stores take beyond S3's rules. */
export function isRelaxed(bucket: Bucket): boolean {
  return bucket.document('relaxed') !== undefined
}

/** GetBucketRelaxed: whether the bucket is relaxed. */
export async function getBucketRelaxed(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketRelaxed')
  return xmlResponse('RelaxedConfiguration', xmlText('Status', isRelaxed(bucket) ? 'Enabled' : 'Disabled'))
}

/** PutBucketRelaxed. */
export async function putBucketRelaxed(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketRelaxed')
  const status = (await configurationBody(request, 'RelaxedConfiguration'))
    .only('Status')
    .oneOf('Status', ['Enabled', 'Disabled'])
  if (status === undefined) throw new S3Error('MalformedXML')
  await context.model.buckets.setDocument(bucket, 'relaxed', status === 'Enabled' ? {} : undefined)
  return { status: 200 }
}

/** DeleteBucketRelaxed: S3's rules hold again for what is written from now on. */
export function deleteBucketRelaxed(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutBucketRelaxed', 'relaxed')
}
