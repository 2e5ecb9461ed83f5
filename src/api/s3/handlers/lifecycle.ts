import type { LifecycleRule } from '../../../model/lifecycle/rules.js'
import {
  configurationBody,
  configuredBucket,
  deleteDocument,
  needDocument,
} from '../buckets/configuration.js'
import { lifecycleXml, parseLifecycle } from '../buckets/lifecycle.js'
import type { S3Context } from '../context.js'
import { xmlResponse } from '../listings/list-objects.js'
import type { S3Request, S3Response } from '../request.js'

/** 1000 rules with prefixes and tags of any length. */
const BODY_BYTES_MAX = 4 * 1024 * 1024
/** Bytes of the ids of rules that come without one. */
const ID_BYTES = 24

/** PutBucketLifecycleConfiguration. */
export async function putBucketLifecycle(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutLifecycleConfiguration')
  const body = await configurationBody(request, 'LifecycleConfiguration', BODY_BYTES_MAX)
  const rules = parseLifecycle(body, () => context.random.bytes(ID_BYTES).toString('hex'))
  await context.model.buckets.setDocument(bucket, 'lifecycle', rules)
  return { status: 200 }
}

/** GetBucketLifecycleConfiguration. */
export async function getBucketLifecycle(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetLifecycleConfiguration')
  const rules = needDocument<LifecycleRule[]>(bucket, 'lifecycle', 'NoSuchLifecycleConfiguration', request)
  return xmlResponse('LifecycleConfiguration', lifecycleXml(rules))
}

/** DeleteBucketLifecycle. */
export function deleteBucketLifecycle(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutLifecycleConfiguration', 'lifecycle')
}
