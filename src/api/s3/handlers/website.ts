import type { WebsiteDocument } from '../../../model/buckets/buckets.js'
import {
  configurationBody,
  configuredBucket,
  deleteDocument,
  needDocument,
} from '../buckets/configuration.js'
import { parseWebsite, websiteXml } from '../buckets/website.js'
import type { S3Context } from '../context.js'
import { xmlResponse } from '../listings/list-objects.js'
import type { S3Request, S3Response } from '../request.js'

/** PutBucketWebsite. */
export async function putBucketWebsite(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketWebsite')
  const website = parseWebsite(await configurationBody(request, 'WebsiteConfiguration', 128 * 1024))
  await context.model.buckets.setDocument(bucket, 'website', website)
  return { status: 200 }
}

/** GetBucketWebsite. */
export async function getBucketWebsite(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketWebsite')
  const website = needDocument<WebsiteDocument>(bucket, 'website', 'NoSuchWebsiteConfiguration', request)
  return xmlResponse('WebsiteConfiguration', websiteXml(website))
}

/** DeleteBucketWebsite. */
export function deleteBucketWebsite(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:DeleteBucketWebsite', 'website')
}
