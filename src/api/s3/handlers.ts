import * as buckets from './buckets/buckets.js'
import * as settings from './buckets/fixed-settings.js'
import * as ownership from './buckets/ownership.js'
import * as policy from './buckets/policy.js'
import * as publicAccess from './buckets/public-access.js'
import type { S3Context } from './context.js'
import * as encryption from './encryption/bucket-default.js'
import { postObject } from './forms/post-object.js'
import { deleteBucketCors, getBucketCors, putBucketCors } from './handlers/cors.js'
import { deleteBucketLifecycle, getBucketLifecycle, putBucketLifecycle } from './handlers/lifecycle.js'
import { getBucketNotification, putBucketNotification } from './handlers/notification.js'
import { deleteBucketWebsite, getBucketWebsite, putBucketWebsite } from './handlers/website.js'
import * as listings from './listings/list-objects.js'
import { completeMultipartUpload } from './multipart/complete.js'
import * as multipart from './multipart/uploads.js'
import * as acl from './objects/acl-handlers.js'
import * as attributes from './objects/attributes.js'
import { copyObject } from './objects/copy.js'
import { deleteObjects } from './objects/delete-many.js'
import * as lock from './objects/lock-handlers.js'
import { getObject, headObject } from './objects/read.js'
import * as tagging from './objects/tag-handlers.js'
import { deleteObject, putObject } from './objects/write.js'
import { S3_OPERATIONS, type S3Operation } from './operations.js'
import type { Handler, Handlers, S3Request, S3Response } from './request.js'

type ContextHandler = (context: S3Context, request: S3Request) => Promise<S3Response> | S3Response

/** What is served; every other operation answers NotImplemented. */
const SERVED: Partial<Record<S3Operation, ContextHandler>> = {
  AbortMultipartUpload: multipart.abortMultipartUpload,
  CompleteMultipartUpload: completeMultipartUpload,
  CopyObject: copyObject,
  CreateBucket: buckets.createBucket,
  CreateMultipartUpload: multipart.createMultipartUpload,
  DeleteBucket: buckets.deleteBucket,
  DeleteBucketAnalyticsConfiguration: settings.deleteBucketAnalytics,
  DeleteBucketCors: deleteBucketCors,
  DeleteBucketEncryption: encryption.deleteBucketEncryption,
  DeleteBucketIntelligentTieringConfiguration: settings.deleteBucketIntelligentTiering,
  DeleteBucketInventoryConfiguration: settings.deleteBucketInventory,
  DeleteBucketLifecycle: deleteBucketLifecycle,
  DeleteBucketMetricsConfiguration: settings.deleteBucketMetrics,
  DeleteBucketOwnershipControls: ownership.deleteBucketOwnershipControls,
  DeleteBucketPolicy: policy.deleteBucketPolicy,
  DeleteBucketReplication: settings.deleteBucketReplication,
  DeleteBucketTagging: tagging.deleteBucketTagging,
  DeleteBucketWebsite: deleteBucketWebsite,
  DeleteObject: deleteObject,
  DeleteObjectTagging: tagging.deleteObjectTagging,
  DeleteObjects: deleteObjects,
  DeletePublicAccessBlock: publicAccess.deletePublicAccessBlock,
  GetBucketAccelerateConfiguration: settings.getBucketAccelerate,
  GetBucketAcl: acl.getBucketAcl,
  GetBucketAnalyticsConfiguration: settings.getBucketAnalytics,
  GetBucketCors: getBucketCors,
  GetBucketEncryption: encryption.getBucketEncryption,
  GetBucketIntelligentTieringConfiguration: settings.getBucketIntelligentTiering,
  GetBucketInventoryConfiguration: settings.getBucketInventory,
  GetBucketLifecycleConfiguration: getBucketLifecycle,
  GetBucketLocation: buckets.getBucketLocation,
  GetBucketLogging: settings.getBucketLogging,
  GetBucketMetricsConfiguration: settings.getBucketMetrics,
  GetBucketNotificationConfiguration: getBucketNotification,
  GetBucketOwnershipControls: ownership.getBucketOwnershipControls,
  GetBucketPolicy: policy.getBucketPolicy,
  GetBucketPolicyStatus: policy.getBucketPolicyStatus,
  GetBucketReplication: settings.getBucketReplication,
  GetBucketRequestPayment: settings.getBucketRequestPayment,
  GetBucketTagging: tagging.getBucketTagging,
  GetBucketVersioning: buckets.getBucketVersioning,
  GetBucketWebsite: getBucketWebsite,
  GetObject: getObject,
  GetObjectAcl: acl.getObjectAcl,
  GetObjectAttributes: attributes.getObjectAttributes,
  GetObjectLegalHold: lock.getObjectLegalHold,
  GetObjectLockConfiguration: lock.getObjectLockConfiguration,
  GetObjectRetention: lock.getObjectRetention,
  GetObjectTagging: tagging.getObjectTagging,
  GetPublicAccessBlock: publicAccess.getPublicAccessBlock,
  HeadBucket: buckets.headBucket,
  HeadObject: headObject,
  ListBucketAnalyticsConfigurations: settings.listBucketAnalytics,
  ListBucketIntelligentTieringConfigurations: settings.listBucketIntelligentTiering,
  ListBucketInventoryConfigurations: settings.listBucketInventory,
  ListBucketMetricsConfigurations: settings.listBucketMetrics,
  ListBuckets: listings.listBuckets,
  ListMultipartUploads: multipart.listMultipartUploads,
  ListObjectVersions: listings.listObjectVersions,
  ListObjects: listings.listObjects,
  ListObjectsV2: listings.listObjectsV2,
  ListParts: multipart.listParts,
  PostObject: postObject,
  PutBucketAcl: acl.putBucketAcl,
  PutBucketCors: putBucketCors,
  PutBucketEncryption: encryption.putBucketEncryption,
  PutBucketLifecycleConfiguration: putBucketLifecycle,
  PutBucketLogging: settings.putBucketLogging,
  PutBucketNotificationConfiguration: putBucketNotification,
  PutBucketOwnershipControls: ownership.putBucketOwnershipControls,
  PutBucketPolicy: policy.putBucketPolicy,
  PutBucketRequestPayment: settings.putBucketRequestPayment,
  PutBucketTagging: tagging.putBucketTagging,
  PutBucketVersioning: buckets.putBucketVersioning,
  PutBucketWebsite: putBucketWebsite,
  PutObject: putObject,
  PutObjectAcl: acl.putObjectAcl,
  PutObjectLegalHold: lock.putObjectLegalHold,
  PutObjectLockConfiguration: lock.putObjectLockConfiguration,
  PutObjectRetention: lock.putObjectRetention,
  PutObjectTagging: tagging.putObjectTagging,
  PutPublicAccessBlock: publicAccess.putPublicAccessBlock,
  RestoreObject: attributes.restoreObject,
  UploadPart: multipart.uploadPart,
  UploadPartCopy: multipart.uploadPartCopy,
}

/** The table of the S3 API: a handler for each operation. */
export function s3Handlers(context: S3Context): Handlers {
  const handlers = {} as Record<S3Operation, Handler | 'NotImplemented'>
  for (const operation of S3_OPERATIONS) {
    const serve = SERVED[operation]
    handlers[operation] = serve ? (request) => serve(context, request) : 'NotImplemented'
  }
  return handlers
}
