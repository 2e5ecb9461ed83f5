import {
  configurationBody,
  configuredBucket,
  deleteDocument,
  needDocument,
} from '../buckets/configuration.js'
import { type CorsRule, corsXml, parseCors } from '../buckets/cors.js'
import type { S3Context } from '../context.js'
import { xmlResponse } from '../listings/list-objects.js'
import type { S3Request, S3Response } from '../request.js'

/** PutBucketCors. */
export async function putBucketCors(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketCORS')
  const rules = parseCors(await configurationBody(request, 'CORSConfiguration'))
  await context.model.buckets.setDocument(bucket, 'cors', rules)
  return { status: 200 }
}

/** GetBucketCors. */
export async function getBucketCors(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketCORS')
  const rules = needDocument<CorsRule[]>(bucket, 'cors', 'NoSuchCORSConfiguration', request)
  return xmlResponse('CORSConfiguration', corsXml(rules))
}

/** DeleteBucketCors. */
export function deleteBucketCors(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutBucketCORS', 'cors')
}
