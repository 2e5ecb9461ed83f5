/**
 * Settings of buckets that S3 has beyond Garage's admin API, as JSON with the names of S3's XML. These schemas check their
 * form; what S3 asks of them beyond that is checked by the S3 API's own parsers (see handlers/bucket-settings.ts).
 */
import { z } from 'zod'

const text = z.string().max(4096)
const optionalText = text.exactOptional()
const optionalInt = z.int().exactOptional()
const optionalFlag = z.boolean().exactOptional()

const notificationRule = {
  Id: optionalText,
  Event: z.array(text).min(1).max(100),
  Filter: z
    .strictObject({
      S3Key: z.strictObject({ FilterRule: z.array(z.strictObject({ Name: text, Value: text })).max(2) }),
    })
    .exactOptional(),
}

const settings = {
  /** Once it was set, it can be suspended but not removed. */
  versioning: z.enum(['Enabled', 'Suspended']),
  /** For good: it needs versioning, and cannot be removed. */
  objectLock: z.strictObject({
    ObjectLockEnabled: z.literal('Enabled'),
    Rule: z
      .strictObject({
        DefaultRetention: z.strictObject({
          Mode: z.enum(['GOVERNANCE', 'COMPLIANCE']),
          Days: optionalInt,
          Years: optionalInt,
        }),
      })
      .exactOptional(),
  }),
  /** The document itself; its resources have the bucket's first name. */
  policy: z.record(z.string(), z.unknown()),
  publicAccessBlock: z.strictObject({
    BlockPublicAcls: optionalFlag,
    IgnorePublicAcls: optionalFlag,
    BlockPublicPolicy: optionalFlag,
    RestrictPublicBuckets: optionalFlag,
  }),
  ownership: z.strictObject({
    Rule: z.strictObject({
      ObjectOwnership: z.enum(['BucketOwnerEnforced', 'BucketOwnerPreferred', 'ObjectWriter']),
    }),
  }),
  encryption: z.strictObject({
    Rule: z.strictObject({
      ApplyServerSideEncryptionByDefault: z.strictObject({ SSEAlgorithm: text }).exactOptional(),
      BucketKeyEnabled: optionalFlag,
      BlockedEncryptionTypes: z.strictObject({ EncryptionType: z.array(text).max(10) }).exactOptional(),
    }),
  }),
  /** Targets are those of the node's configuration, by ARN. */
  notifications: z.strictObject({
    QueueConfiguration: z
      .array(z.strictObject({ ...notificationRule, Queue: text }))
      .max(100)
      .exactOptional(),
    TopicConfiguration: z
      .array(z.strictObject({ ...notificationRule, Topic: text }))
      .max(100)
      .exactOptional(),
  }),
  tags: z.array(z.strictObject({ Key: text, Value: text })).max(1000),
  /** Whether the bucket takes what Garage takes beyond S3's rules. */
  relaxed: z.boolean(),
}

const shadow = {
  /** The address of the S3 API of the store through to which the bucket reads. */
  endpoint: z.string().max(1024),
  region: z.string().min(1).max(100),
  bucket: z.string().min(1).max(255),
  /** What the keys of the source begin with, before those of this bucket. */
  prefix: z.string().max(512).exactOptional(),
  accessKeyId: z.string().min(1).max(256),
}

/** What is absent stays as it is; null removes a setting. */
export const bucketSettingsUpdate = {
  versioning: settings.versioning.exactOptional(),
  objectLock: settings.objectLock.exactOptional(),
  policy: settings.policy.nullable().exactOptional(),
  publicAccessBlock: settings.publicAccessBlock.nullable().exactOptional(),
  ownership: settings.ownership.nullable().exactOptional(),
  encryption: settings.encryption.nullable().exactOptional(),
  notifications: settings.notifications.nullable().exactOptional(),
  tags: settings.tags.nullable().exactOptional(),
  relaxed: settings.relaxed.nullable().exactOptional(),
  shadow: z
    .strictObject({ ...shadow, secretAccessKey: z.string().min(1).max(512) })
    .nullable()
    .exactOptional(),
}

/** All settings; null for one that was never set. */
export const bucketSettings = z.object({
  id: z.string(),
  /** Without the secret. */
  shadow: z.strictObject(shadow).nullable(),
  ...(Object.fromEntries(Object.entries(settings).map(([name, schema]) => [name, schema.nullable()])) as {
    [N in keyof typeof settings]: z.ZodNullable<(typeof settings)[N]>
  }),
})
