/**
 * Unsupported bucket settings: reads return AWS's empty answer; writes are refused unless they change
 * nothing. PutBucketReplication, PutBucketAccelerateConfiguration and the Puts of analytics, inventory,
 * metrics and intelligent tiering are not served at all and answer NotImplemented.
 */

import { xmlText } from '../../xml/writer.js'
import { xmlResponse } from '../answers.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { configurationBody, configuredBucket } from './configuration.js'

type Served = (context: S3Context, request: S3Request) => Promise<S3Response>

/** A handler that answers with an empty document. */
function empty(action: string, root: string, content = ''): Served {
  return async (context, request) => {
    await configuredBucket(context, request, action)
    return xmlResponse(root, content)
  }
}

/** A handler that answers that there is no such configuration. */
function missing(
  action: string,
  code: 'NoSuchConfiguration' | 'ReplicationConfigurationNotFoundError',
): Served {
  return async (context, request) => {
    await configuredBucket(context, request, action)
    throw new S3Error(code, undefined, { extra: { BucketName: request.bucket } })
  }
}

const NOT_TRUNCATED = xmlText('IsTruncated', false)

export const getBucketLogging = empty('s3:GetBucketLogging', 'BucketLoggingStatus')

/** PutBucketLogging: refused, since access logs are not written into buckets; turning them off succeeds. */
export async function putBucketLogging(context: S3Context, request: S3Request): Promise<S3Response> {
  await configuredBucket(context, request, 's3:PutBucketLogging')
  const status = (await configurationBody(request, 'BucketLoggingStatus')).only('LoggingEnabled')
  if (status.child('LoggingEnabled')) {
    throw new S3Error('NotImplemented', 'Server access logging into a bucket is not offered.')
  }
  return { status: 200 }
}

export const getBucketRequestPayment = empty(
  's3:GetBucketRequestPayment',
  'RequestPaymentConfiguration',
  xmlText('Payer', 'BucketOwner'),
)

/** PutBucketRequestPayment: nobody is charged, so only BucketOwner is accepted. */
export async function putBucketRequestPayment(context: S3Context, request: S3Request): Promise<S3Response> {
  await configuredBucket(context, request, 's3:PutBucketRequestPayment')
  const payer = (await configurationBody(request, 'RequestPaymentConfiguration')).oneOf('Payer', [
    'BucketOwner',
    'Requester',
  ])
  if (payer === undefined) throw new S3Error('MalformedXML')
  if (payer === 'Requester') throw new S3Error('NotImplemented', 'Requester Pays is not offered.')
  return { status: 200 }
}

export const getBucketAccelerate = empty('s3:GetAccelerateConfiguration', 'AccelerateConfiguration')

export const getBucketReplication = missing(
  's3:GetReplicationConfiguration',
  'ReplicationConfigurationNotFoundError',
)

/** DeleteBucketReplication: succeeds, since there is never a replication. */
export async function deleteBucketReplication(context: S3Context, request: S3Request): Promise<S3Response> {
  await configuredBucket(context, request, 's3:PutReplicationConfiguration')
  return { status: 204 }
}

export const getBucketAnalytics = missing('s3:GetAnalyticsConfiguration', 'NoSuchConfiguration')
export const deleteBucketAnalytics = missing('s3:PutAnalyticsConfiguration', 'NoSuchConfiguration')
export const listBucketAnalytics = empty(
  's3:GetAnalyticsConfiguration',
  'ListBucketAnalyticsConfigurationResult',
  NOT_TRUNCATED,
)
export const getBucketInventory = missing('s3:GetInventoryConfiguration', 'NoSuchConfiguration')
export const deleteBucketInventory = missing('s3:PutInventoryConfiguration', 'NoSuchConfiguration')
export const listBucketInventory = empty(
  's3:GetInventoryConfiguration',
  'ListInventoryConfigurationsResult',
  NOT_TRUNCATED,
)
export const getBucketMetrics = missing('s3:GetMetricsConfiguration', 'NoSuchConfiguration')
export const deleteBucketMetrics = missing('s3:PutMetricsConfiguration', 'NoSuchConfiguration')
export const listBucketMetrics = empty(
  's3:GetMetricsConfiguration',
  'ListMetricsConfigurationsResult',
  NOT_TRUNCATED,
)
export const getBucketIntelligentTiering = missing(
  's3:GetIntelligentTieringConfiguration',
  'NoSuchConfiguration',
)
export const deleteBucketIntelligentTiering = missing(
  's3:PutIntelligentTieringConfiguration',
  'NoSuchConfiguration',
)
export const listBucketIntelligentTiering = empty(
  's3:GetIntelligentTieringConfiguration',
  'ListBucketIntelligentTieringConfigurationsOutput',
  NOT_TRUNCATED,
)
