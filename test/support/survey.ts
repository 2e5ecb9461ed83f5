import { createHash } from 'node:crypto'
import {
  GetBucketAclCommand,
  GetBucketCorsCommand,
  GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketLocationCommand,
  GetBucketNotificationConfigurationCommand,
  GetBucketOwnershipControlsCommand,
  GetBucketPolicyCommand,
  GetBucketTaggingCommand,
  GetBucketVersioningCommand,
  GetBucketWebsiteCommand,
  GetObjectAclCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectLegalHoldCommand,
  GetObjectLockConfigurationCommand,
  GetObjectRetentionCommand,
  GetObjectTaggingCommand,
  GetPublicAccessBlockCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  ListPartsCommand,
  type S3Client,
} from '@aws-sdk/client-s3'

/** SSE-C headers for the objects whose keys begin with "customer-key/". */
export const CUSTOMER_KEY = Buffer.alloc(32, 7)
export const customerKeyParams = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: CUSTOMER_KEY.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(CUSTOMER_KEY).digest('base64'),
}

/**
 * Everything that a store tells of the given buckets through S3, as plain JSON: configuration, listings, and of each
 * version its headers, content (as SHA-256), tags, lock and ACL. Errors are told by their names.
 */
export async function survey(s3: S3Client, buckets: readonly string[]): Promise<unknown> {
  const named = await answer(() => s3.send(new ListBucketsCommand({})))
  const found: Record<string, unknown> = {}
  for (const bucket of buckets) found[bucket] = await surveyBucket(s3, bucket)
  return { buckets: named, found }
}

async function surveyBucket(s3: S3Client, Bucket: string): Promise<unknown> {
  const listed = await s3.send(new ListObjectVersionsCommand({ Bucket }))
  const versions: unknown[] = []
  for (const { Key, VersionId } of listed.Versions ?? []) {
    versions.push(await surveyVersion(s3, { Bucket, Key: Key!, VersionId: VersionId! }))
  }
  const uploads = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  const parts: unknown[] = []
  for (const { Key, UploadId } of uploads.Uploads ?? []) {
    parts.push(await answer(() => s3.send(new ListPartsCommand({ Bucket, Key, UploadId }))))
  }
  return {
    settings: {
      acl: await answer(() => s3.send(new GetBucketAclCommand({ Bucket }))),
      cors: await answer(() => s3.send(new GetBucketCorsCommand({ Bucket }))),
      encryption: await answer(() => s3.send(new GetBucketEncryptionCommand({ Bucket }))),
      lifecycle: await answer(() => s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))),
      location: await answer(() => s3.send(new GetBucketLocationCommand({ Bucket }))),
      lock: await answer(() => s3.send(new GetObjectLockConfigurationCommand({ Bucket }))),
      notification: await answer(() => s3.send(new GetBucketNotificationConfigurationCommand({ Bucket }))),
      ownership: await answer(() => s3.send(new GetBucketOwnershipControlsCommand({ Bucket }))),
      policy: await answer(() => s3.send(new GetBucketPolicyCommand({ Bucket }))),
      publicAccess: await answer(() => s3.send(new GetPublicAccessBlockCommand({ Bucket }))),
      tagging: await answer(() => s3.send(new GetBucketTaggingCommand({ Bucket }))),
      versioning: await answer(() => s3.send(new GetBucketVersioningCommand({ Bucket }))),
      website: await answer(() => s3.send(new GetBucketWebsiteCommand({ Bucket }))),
    },
    objects: await answer(() => s3.send(new ListObjectsV2Command({ Bucket }))),
    listed: await answer(async () => listed),
    versions,
    uploads: await answer(async () => uploads),
    parts,
  }
}

async function surveyVersion(
  s3: S3Client,
  version: { Bucket: string; Key: string; VersionId: string },
): Promise<unknown> {
  const key = version.Key.startsWith('customer-key/') ? customerKeyParams : {}
  const got = await answer(async () => {
    const { Body, ...headers } = await s3.send(
      new GetObjectCommand({ ...version, ...key, ChecksumMode: 'ENABLED' }),
    )
    const content = await Body!.transformToByteArray()
    return { ...headers, sha256: createHash('sha256').update(content).digest('hex') }
  })
  const ObjectAttributes = ['Checksum', 'ETag', 'ObjectParts', 'ObjectSize', 'StorageClass'] as const
  return {
    got,
    attributes: await answer(() =>
      s3.send(
        new GetObjectAttributesCommand({ ...version, ...key, ObjectAttributes: [...ObjectAttributes] }),
      ),
    ),
    tags: await answer(() => s3.send(new GetObjectTaggingCommand(version))),
    acl: await answer(() => s3.send(new GetObjectAclCommand(version))),
    retention: await answer(() => s3.send(new GetObjectRetentionCommand(version))),
    hold: await answer(() => s3.send(new GetObjectLegalHoldCommand(version))),
  }
}

/** An answer as JSON, without what differs between two requests. */
async function answer(send: () => Promise<object>): Promise<unknown> {
  try {
    const { $metadata: _, ...fields } = (await send()) as Record<string, unknown>
    return JSON.parse(JSON.stringify(fields))
  } catch (error) {
    return { error: (error as Error).name }
  }
}
