import * as buckets from './buckets/buckets.js'
import { deleteBucketCors, getBucketCors, putBucketCors } from './buckets/cors.js'
import * as settings from './buckets/fixed-settings.js'
import { deleteBucketLifecycle, getBucketLifecycle, putBucketLifecycle } from './buckets/lifecycle.js'
import { listBuckets } from './buckets/list.js'
import { getBucketNotification, putBucketNotification } from './buckets/notification.js'
import * as ownership from './buckets/ownership.js'
import * as policy from './buckets/policy.js'
import * as publicAccess from './buckets/public-access.js'
import * as relaxed from './buckets/relaxed.js'
import { deleteBucketWebsite, getBucketWebsite, putBucketWebsite } from './buckets/website.js'
import type { S3Context } from './context.js'
import * as encryption from './encryption/bucket-default.js'
import { postObject } from './forms/post-object.js'
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
import type { Handlers, S3Request, S3Response } from './request.js'

type ContextHandler = (context: S3Context, request: S3Request) => Promise<S3Response> | S3Response

/** A handler for each operation: one that is forgotten does not compile. */
const HANDLERS = {
  AbortMultipartUpload: multipart.abortMultipartUpload,
  CompleteMultipartUpload: completeMultipartUpload,
  CopyObject: copyObject,
  CreateBucket: buckets.createBucket,
  CreateBucketMetadataConfiguration: 'NotImplemented',
  CreateBucketMetadataTableConfiguration: 'NotImplemented',
  CreateMultipartUpload: multipart.createMultipartUpload,
  CreateSession: 'NotImplemented',
  DeleteBucket: buckets.deleteBucket,
  DeleteBucketAnalyticsConfiguration: settings.deleteBucketAnalytics,
  DeleteBucketCors: deleteBucketCors,
  DeleteBucketEncryption: encryption.deleteBucketEncryption,
  DeleteBucketIntelligentTieringConfiguration: settings.deleteBucketIntelligentTiering,
  DeleteBucketInventoryConfiguration: settings.deleteBucketInventory,
  DeleteBucketLifecycle: deleteBucketLifecycle,
  DeleteBucketMetadataConfiguration: 'NotImplemented',
  DeleteBucketMetadataTableConfiguration: 'NotImplemented',
  DeleteBucketMetricsConfiguration: settings.deleteBucketMetrics,
  DeleteBucketOwnershipControls: ownership.deleteBucketOwnershipControls,
  DeleteBucketPolicy: policy.deleteBucketPolicy,
  DeleteBucketRelaxed: relaxed.deleteBucketRelaxed,
  DeleteBucketReplication: settings.deleteBucketReplication,
  DeleteBucketTagging: tagging.deleteBucketTagging,
  DeleteBucketWebsite: deleteBucketWebsite,
  DeleteObject: deleteObject,
  DeleteObjectAnnotation: 'NotImplemented',
  DeleteObjectTagging: tagging.deleteObjectTagging,
  DeleteObjects: deleteObjects,
  DeletePublicAccessBlock: publicAccess.deletePublicAccessBlock,
  GetBucketAbac: 'NotImplemented',
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
  GetBucketMetadataConfiguration: 'NotImplemented',
  GetBucketMetadataTableConfiguration: 'NotImplemented',
  GetBucketMetricsConfiguration: settings.getBucketMetrics,
  GetBucketNotificationConfiguration: getBucketNotification,
  GetBucketOwnershipControls: ownership.getBucketOwnershipControls,
  GetBucketPolicy: policy.getBucketPolicy,
  GetBucketPolicyStatus: policy.getBucketPolicyStatus,
  GetBucketRelaxed: relaxed.getBucketRelaxed,
  GetBucketReplication: settings.getBucketReplication,
  GetBucketRequestPayment: settings.getBucketRequestPayment,
  GetBucketTagging: tagging.getBucketTagging,
  GetBucketVersioning: buckets.getBucketVersioning,
  GetBucketWebsite: getBucketWebsite,
  GetObject: getObject,
  GetObjectAcl: acl.getObjectAcl,
  GetObjectAnnotation: 'NotImplemented',
  GetObjectAttributes: attributes.getObjectAttributes,
  GetObjectLegalHold: lock.getObjectLegalHold,
  GetObjectLockConfiguration: lock.getObjectLockConfiguration,
  GetObjectRetention: lock.getObjectRetention,
  GetObjectTagging: tagging.getObjectTagging,
  GetObjectTorrent: 'NotImplemented',
  GetPublicAccessBlock: publicAccess.getPublicAccessBlock,
  HeadBucket: buckets.headBucket,
  HeadObject: headObject,
  ListBucketAnalyticsConfigurations: settings.listBucketAnalytics,
  ListBucketIntelligentTieringConfigurations: settings.listBucketIntelligentTiering,
  ListBucketInventoryConfigurations: settings.listBucketInventory,
  ListBucketMetricsConfigurations: settings.listBucketMetrics,
  ListBuckets: listBuckets,
  ListDirectoryBuckets: 'NotImplemented',
  ListMultipartUploads: multipart.listMultipartUploads,
  ListObjectAnnotations: 'NotImplemented',
  ListObjectVersions: listings.listObjectVersions,
  ListObjects: listings.listObjects,
  ListObjectsV2: listings.listObjectsV2,
  ListParts: multipart.listParts,
  PostObject: postObject,
  PutBucketAbac: 'NotImplemented',
  PutBucketAccelerateConfiguration: 'NotImplemented',
  PutBucketAcl: acl.putBucketAcl,
  PutBucketAnalyticsConfiguration: 'NotImplemented',
  PutBucketCors: putBucketCors,
  PutBucketEncryption: encryption.putBucketEncryption,
  PutBucketIntelligentTieringConfiguration: 'NotImplemented',
  PutBucketInventoryConfiguration: 'NotImplemented',
  PutBucketLifecycleConfiguration: putBucketLifecycle,
  PutBucketLogging: settings.putBucketLogging,
  PutBucketMetricsConfiguration: 'NotImplemented',
  PutBucketNotificationConfiguration: putBucketNotification,
  PutBucketOwnershipControls: ownership.putBucketOwnershipControls,
  PutBucketPolicy: policy.putBucketPolicy,
  PutBucketRelaxed: relaxed.putBucketRelaxed,
  PutBucketReplication: 'NotImplemented',
  PutBucketRequestPayment: settings.putBucketRequestPayment,
  PutBucketTagging: tagging.putBucketTagging,
  PutBucketVersioning: buckets.putBucketVersioning,
  PutBucketWebsite: putBucketWebsite,

  PutObject: putObject,
  PutObjectAcl: acl.putObjectAcl,
  PutObjectAnnotation: 'NotImplemented',
  PutObjectLegalHold: lock.putObjectLegalHold,
  PutObjectLockConfiguration: lock.putObjectLockConfiguration,
  PutObjectRetention: lock.putObjectRetention,
  PutObjectTagging: tagging.putObjectTagging,
  PutPublicAccessBlock: publicAccess.putPublicAccessBlock,
  RenameObject: 'NotImplemented',
  RestoreObject: attributes.restoreObject,
  SelectObjectContent: 'NotImplemented',
  UpdateBucketMetadataAnnotationTableConfiguration: 'NotImplemented',
  UpdateBucketMetadataInventoryTableConfiguration: 'NotImplemented',
  UpdateBucketMetadataJournalTableConfiguration: 'NotImplemented',
  UpdateObjectEncryption: 'NotImplemented',
  UploadPart: multipart.uploadPart,
  UploadPartCopy: multipart.uploadPartCopy,
  WriteGetObjectResponse: 'NotImplemented',
} satisfies Record<S3Operation, ContextHandler | 'NotImplemented'>

/** The handlers, bound to the context. */
export function s3Handlers(context: S3Context): Handlers {
  const handlers = {} as Handlers
  for (const operation of S3_OPERATIONS) {
    const serve: ContextHandler | 'NotImplemented' = HANDLERS[operation]
    handlers[operation] = serve === 'NotImplemented' ? serve : (request) => serve(context, request)
  }
  return handlers
}
