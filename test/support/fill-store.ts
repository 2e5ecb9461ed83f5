/** A store with something of everything that the first release knows, for what later releases must find in it. */
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutBucketCorsCommand,
  PutBucketEncryptionCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketNotificationConfigurationCommand,
  PutBucketOwnershipControlsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutBucketWebsiteCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectLockConfigurationCommand,
  PutObjectTaggingCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { customerKeyParams } from './survey.js'

export interface AccessKey {
  accessKeyId: string
  secretAccessKey: string
}

/** Who uses a store that is filled: Alice owns the buckets, Bob may read some of it. */
export interface FilledStore {
  alice: AccessKey
  bob: AccessKey
  /** What names of buckets begin with. */
  prefix: string
}

/** Runs a command of the store's command line. */
export type RunCommand = (...args: string[]) => unknown

/** The buckets of a filled store, by their roles. */
export function bucketsOf({ prefix }: Pick<FilledStore, 'prefix'>) {
  return {
    plain: `${prefix}plain`,
    locked: `${prefix}locked`,
    versions: `${prefix}versions`,
    settings: `${prefix}settings`,
  }
}

/** Makes keys, names, permissions and quotas by the command line. */
export async function giveNames(store: FilledStore, carport: RunCommand): Promise<void> {
  const { alice, bob, prefix } = store
  const { plain } = bucketsOf(store)
  const key = (name: string, { accessKeyId, secretAccessKey }: AccessKey) =>
    carport('key', 'import', accessKeyId, secretAccessKey, '-n', name, '--yes')
  await key(`${prefix}alice`, alice)
  await key(`${prefix}bob`, bob)
  await carport('key', 'allow', alice.accessKeyId, '--create-bucket')
  await carport('bucket', 'create', plain)
  await carport('bucket', 'allow', plain, '--key', alice.accessKeyId, '--read', '--write', '--owner')
  await carport('bucket', 'allow', plain, '--key', bob.accessKeyId, '--read')
  await carport('bucket', 'alias', plain, `${prefix}second-name`)
  await carport('bucket', 'alias', plain, '--local', bob.accessKeyId, 'mine')
  await carport('bucket', 'set-quotas', plain, '--max-size', '1GiB', '--max-objects', '1000')
}

/** Makes the other buckets through S3. @param s3 a client with Alice's key */
export async function makeBuckets(store: FilledStore, s3: S3Client): Promise<void> {
  const { locked, versions, settings } = bucketsOf(store)
  await s3.send(new CreateBucketCommand({ Bucket: locked, ObjectLockEnabledForBucket: true }))
  await s3.send(new CreateBucketCommand({ Bucket: versions }))
  await s3.send(new CreateBucketCommand({ Bucket: settings, ObjectOwnership: 'ObjectWriter' }))
}

/**
 * Fills the buckets through S3.
 * @param s3 a client with Alice's key
 * @param target where the bucket "settings" tells its events; nowhere unless told
 */
export async function fillStore(store: FilledStore, s3: S3Client, target?: string): Promise<void> {
  const { plain, locked, versions, settings } = bucketsOf(store)
  const bob = store.bob.accessKeyId
  const put = (Bucket: string, Key: string, bytes: number, more: object = {}) =>
    s3.send(new PutObjectCommand({ Bucket, Key, Body: text(Key, bytes), ...more }))

  // Contents of all shapes: none, in the row, in blocks, in lists of blocks.
  await put(plain, 'empty', 0)
  await put(plain, 'inline', 3000, {
    ContentType: 'text/plain',
    CacheControl: 'no-cache',
    Metadata: { colour: 'blue', name: 'green' },
    Tagging: 'a=1&b=2',
    ChecksumAlgorithm: 'SHA256',
  })
  await put(plain, 'blocks', 300_000, { ChecksumAlgorithm: 'CRC32C' })
  await put(plain, 'lists', 66 * 65_536 + 1)
  await put(plain, 'folder/ümlaut\u0001', 10)
  await put(plain, 'deleted', 100_000)
  await s3.send(new DeleteObjectCommand({ Bucket: plain, Key: 'deleted' }))
  await s3.send(new CopyObjectCommand({ Bucket: plain, Key: 'copy', CopySource: `${plain}/blocks` }))
  await s3.send(
    new PutObjectTaggingCommand({
      Bucket: plain,
      Key: 'blocks',
      Tagging: { TagSet: [{ Key: 'c', Value: '3' }] },
    }),
  )
  await put(plain, 'customer-key/inline', 1000, customerKeyParams)
  await put(plain, 'customer-key/blocks', 100_000, customerKeyParams)
  await put(plain, 'master-key/inline', 1000, { ServerSideEncryption: 'AES256' })
  await put(plain, 'master-key/blocks', 100_000, { ServerSideEncryption: 'AES256' })

  // Uploads: one completed, one open.
  for (const Key of ['completed', 'open']) {
    const upload = { Bucket: plain, Key }
    const { UploadId } = await s3.send(
      new CreateMultipartUploadCommand({
        ...upload,
        ContentType: 'x/y',
        Metadata: { of: Key },
        ChecksumAlgorithm: 'CRC32',
      }),
    )
    const parts: { PartNumber: number; ETag: string; ChecksumCRC32: string }[] = []
    for (const [i, bytes] of [5 << 20, 70_000, 100].entries()) {
      const PartNumber = i + 1
      const done = await s3.send(
        new UploadPartCommand({
          ...upload,
          UploadId,
          PartNumber,
          Body: text(Key, bytes),
          ChecksumAlgorithm: 'CRC32',
        }),
      )
      parts.push({ PartNumber, ETag: done.ETag!, ChecksumCRC32: done.ChecksumCRC32! })
      if (Key === 'completed' && i === 1) break
    }
    if (Key === 'completed')
      await s3.send(
        new CompleteMultipartUploadCommand({ ...upload, UploadId, MultipartUpload: { Parts: parts } }),
      )
  }

  // Versions: of a key, a null one, delete markers, locks.
  await s3.send(
    new PutObjectLockConfigurationCommand({
      Bucket: locked,
      ObjectLockConfiguration: {
        ObjectLockEnabled: 'Enabled',
        Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
      },
    }),
  )
  await put(locked, 'kept', 2000, {
    ObjectLockMode: 'COMPLIANCE',
    ObjectLockRetainUntilDate: new Date('2036-01-01'),
  })
  await put(locked, 'kept', 100_000)
  await s3.send(new PutObjectLegalHoldCommand({ Bucket: locked, Key: 'kept', LegalHold: { Status: 'ON' } }))
  await put(versions, 'key', 100)
  await s3.send(
    new PutBucketVersioningCommand({ Bucket: versions, VersioningConfiguration: { Status: 'Enabled' } }),
  )
  for (const bytes of [200, 70_000, 300]) await put(versions, 'key', bytes)
  await s3.send(new DeleteObjectCommand({ Bucket: versions, Key: 'key' }))
  await put(versions, 'key', 400)
  const gone = await put(versions, 'key', 500)
  await s3.send(new DeleteObjectCommand({ Bucket: versions, Key: 'key', VersionId: gone.VersionId! }))
  await put(versions, 'hidden', 600)
  await s3.send(new DeleteObjectCommand({ Bucket: versions, Key: 'hidden' }))
  await s3.send(
    new PutBucketVersioningCommand({ Bucket: versions, VersioningConfiguration: { Status: 'Suspended' } }),
  )
  await put(versions, 'suspended', 700)

  // Settings of buckets.
  await s3.send(
    new PutBucketOwnershipControlsCommand({
      Bucket: settings,
      OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerPreferred' }] },
    }),
  )
  await s3.send(
    new PutBucketEncryptionCommand({
      Bucket: settings,
      ServerSideEncryptionConfiguration: {
        Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }],
      },
    }),
  )
  await s3.send(
    new PutBucketCorsCommand({
      Bucket: settings,
      CORSConfiguration: {
        CORSRules: [{ AllowedMethods: ['GET'], AllowedOrigins: ['https://example.org'], MaxAgeSeconds: 60 }],
      },
    }),
  )
  await s3.send(
    new PutBucketLifecycleConfigurationCommand({
      Bucket: settings,
      LifecycleConfiguration: {
        Rules: [
          {
            ID: 'old',
            Status: 'Enabled',
            Filter: { Prefix: 'tmp/' },
            Expiration: { Days: 3650 },
            AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 },
          },
        ],
      },
    }),
  )
  await s3.send(
    new PutBucketWebsiteCommand({
      Bucket: settings,
      WebsiteConfiguration: { IndexDocument: { Suffix: 'index.html' }, ErrorDocument: { Key: 'error.html' } },
    }),
  )
  if (target !== undefined)
    await s3.send(
      new PutBucketNotificationConfigurationCommand({
        Bucket: settings,
        NotificationConfiguration: {
          QueueConfigurations: [
            { Id: 'all', QueueArn: `arn:carport:sqs::${target}:webhook`, Events: ['s3:ObjectCreated:*'] },
          ],
        },
      }),
    )
  await s3.send(
    new PutBucketPolicyCommand({
      Bucket: settings,
      Policy: JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Principal: { AWS: bob },
            Action: 's3:GetObject',
            Resource: `arn:aws:s3:::${settings}/shared/*`,
          },
        ],
      }),
    }),
  )
  await put(settings, 'shared/note', 50)
  await s3.send(new PutObjectAclCommand({ Bucket: settings, Key: 'shared/note', GrantRead: `id=${bob}` }))
}

/** Text that depends on its name, and compresses. */
function text(name: string, bytes: number): Buffer {
  return Buffer.from(`${name} `.repeat(Math.ceil(bytes / (name.length + 1)))).subarray(0, bytes)
}
