/**
 * Settings of buckets that S3 has beyond Garage's admin API. They are read by the S3 API's own parsers, so that both APIs
 * accept and refuse the same; an administrator needs no permission in the bucket.
 */
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { BucketDocuments, PublicAccessBlock, ShadowDocument } from '../../../model/buckets/documents.js'
import type { EventRule } from '../../../model/events/rules.js'
import { CarportError } from '../../../util/errors.js'
import { publicAccessBlock } from '../../s3/access/acl/ownership.js'
import { readVersioning } from '../../s3/buckets/buckets.js'
import { parseNotification } from '../../s3/buckets/notification.js'
import { readOwnership } from '../../s3/buckets/ownership.js'
import { checkedPolicy } from '../../s3/buckets/policy.js'
import { readPublicAccessBlock } from '../../s3/buckets/public-access.js'
import { readEncryption } from '../../s3/encryption/bucket-default.js'
import { S3Error } from '../../s3/errors.js'
import { readObjectLock } from '../../s3/objects/lock-handlers.js'
import { BUCKET_TAGS_MAX, checkedTags } from '../../s3/objects/tags.js'
import { ShadowSource } from '../../s3/shadow/source.js'
import type { OperationArgs } from '../operation-schemas.js'
import type { OperationResult } from '../operations.js'
import { checked, elementOf, type Json } from './bucket-rules.js'
import type { AdminContext } from './context.js'

type Settings = OperationResult<'bucket.settings'>
type Changes = { [N in keyof BucketDocuments]?: BucketDocuments[N] | null }

/** Random bytes in the id of a notification rule that comes without one. */
const RULE_ID_BYTES = 16

/**
 * Changes the settings that are named. All of them are checked before any is written, each as it will be beside the others.
 * @throws CarportError InvalidArgument where S3 would refuse; QuorumUnavailable
 */
export async function applySettings(
  { model, random, clock, api, shadowCall }: AdminContext,
  bucket: Bucket,
  update: Omit<OperationArgs<'bucket.updateSettings'>, 'id'>,
): Promise<void> {
  const changes: Changes = {}
  const read = <T>(
    name: string,
    root: string,
    value: object,
    parse: (root: ReturnType<typeof elementOf>) => T,
  ) => checked(name, () => parse(elementOf(root, value as Json)))
  const { versioning, objectLock, policy, ownership, encryption, notifications, tags } = update
  if (versioning !== undefined) {
    changes.versioning = read('versioning', 'VersioningConfiguration', { Status: versioning }, (root) =>
      readVersioning(root, bucket.objectLock || objectLock !== undefined),
    )
  }
  if (objectLock !== undefined) {
    changes['object-lock'] = read('objectLock', 'ObjectLockConfiguration', objectLock, (root) =>
      readObjectLock(root, changes.versioning ?? bucket.versioning),
    )
  }
  if (update.publicAccessBlock !== undefined) {
    changes['public-access-block'] =
      update.publicAccessBlock &&
      read('publicAccessBlock', 'PublicAccessBlock', update.publicAccessBlock, readPublicAccessBlock)
  }
  if (policy !== undefined) {
    const block: Partial<PublicAccessBlock> | null =
      changes['public-access-block'] === undefined
        ? publicAccessBlock(bucket)
        : changes['public-access-block']
    changes.policy =
      policy &&
      checked('policy', () =>
        checkedPolicy(
          { text: JSON.stringify(policy), bucket: nameOf(bucket) },
          block?.blockPublicPolicy ?? false,
        ),
      )
  }
  if (ownership !== undefined) {
    changes.ownership =
      ownership &&
      read('ownership', 'OwnershipControls', ownership, (root) => readOwnership(root, model, bucket))
  }
  if (encryption !== undefined) {
    changes.encryption =
      encryption &&
      read('encryption', 'ServerSideEncryptionConfiguration', encryption, (root) =>
        readEncryption(root, api.canEncrypt),
      )
  }
  if (notifications !== undefined) {
    const rules =
      notifications &&
      read('notifications', 'NotificationConfiguration', notifications, (root) =>
        parseNotification(root, model.events.targets, () => random.bytes(RULE_ID_BYTES).toString('hex')),
      )
    changes.notification = rules && rules.length > 0 ? rules : null
  }
  if (tags !== undefined) {
    changes.tagging =
      tags &&
      checked('tags', () =>
        checkedTags(
          tags.map(({ Key, Value }) => [Key, Value]),
          BUCKET_TAGS_MAX,
        ),
      )
  }
  if (update.relaxed !== undefined) changes.relaxed = update.relaxed ? {} : null
  if (update.shadow !== undefined) {
    if (update.shadow) checkShadow(update.shadow)
    if (update.shadow && shadowCall)
      await reachShadow(new ShadowSource(update.shadow, { call: shadowCall, clock, random }))
    changes.shadow = update.shadow
  }
  const fields = Object.entries(changes).map(([name, value]) => [`doc:${name}`, value])
  if (fields.length > 0) await model.buckets.change(bucket, Object.fromEntries(fields))
}

/** @throws CarportError InvalidArgument unless the source can be asked for by S3, as the address says, and nothing else */
function checkShadow({ endpoint }: ShadowDocument): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  const isPlain = url && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (isPlain && ['http:', 'https:'].includes(url.protocol)) return
  throw new CarportError(
    'InvalidArgument',
    'shadow: the endpoint is not an address such as https://s3.example.org',
  )
}

/** @throws CarportError InvalidArgument with what the source answers */
async function reachShadow(source: ShadowSource): Promise<void> {
  try {
    await source.check()
  } catch (error) {
    const reason =
      error instanceof S3Error && error.cause instanceof Error ? error.cause.message : String(error)
    throw new CarportError('InvalidArgument', `shadow: the source cannot be listed: ${reason}`)
  }
}

/** The name by which the resources of a bucket's policy call it. @throws CarportError InvalidArgument if it has none */
function nameOf({ aliases, localAliases }: Bucket): string {
  const name = aliases[0] ?? localAliases[0]?.alias
  if (name !== undefined) return name
  throw new CarportError('InvalidArgument', 'policy: the bucket has no name that resources could have')
}

/** All settings of a bucket, as `applySettings` takes them. */
export function settingsOf(bucket: Bucket): Settings {
  const lock = bucket.document('object-lock')
  const policy = bucket.document('policy')
  const block = bucket.document('public-access-block')
  const ownership = bucket.document('ownership')
  const encryption = bucket.document('encryption')
  const notification = bucket.document('notification')
  const tags = bucket.document('tagging')
  const relaxed = bucket.document('relaxed')
  const shadow = bucket.document('shadow')
  return {
    id: bucket.hexId,
    versioning: { off: null, enabled: 'Enabled' as const, suspended: 'Suspended' as const }[
      bucket.versioning
    ],
    objectLock: lock ? lockJson(lock) : null,
    policy: policy ? (JSON.parse(policy.text) as Record<string, unknown>) : null,
    publicAccessBlock: block
      ? {
          BlockPublicAcls: block.blockPublicAcls,
          IgnorePublicAcls: block.ignorePublicAcls,
          BlockPublicPolicy: block.blockPublicPolicy,
          RestrictPublicBuckets: block.restrictPublicBuckets,
        }
      : null,
    ownership: ownership ? { Rule: { ObjectOwnership: ownership.objectOwnership } } : null,
    encryption: encryption ? encryptionJson(encryption) : null,
    notifications: notification ? notificationsJson(notification) : null,
    tags: tags ? Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) : null,
    relaxed: relaxed ? true : null,
    shadow: shadow ? withoutSecret(shadow) : null,
  }
}

function withoutSecret({ secretAccessKey: _, ...shadow }: ShadowDocument): NonNullable<Settings['shadow']> {
  return shadow
}

function lockJson({
  mode,
  days,
  years,
}: BucketDocuments['object-lock']): NonNullable<Settings['objectLock']> {
  const period = { ...(days !== undefined && { Days: days }), ...(years !== undefined && { Years: years }) }
  return {
    ObjectLockEnabled: 'Enabled',
    ...(mode && { Rule: { DefaultRetention: { Mode: mode, ...period } } }),
  }
}

function encryptionJson({
  algorithm,
  bucketKey,
  blocksCustomerKeys,
}: BucketDocuments['encryption']): NonNullable<Settings['encryption']> {
  return {
    Rule: {
      ...(algorithm && { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: algorithm } }),
      ...(bucketKey !== undefined && { BucketKeyEnabled: bucketKey }),
      ...(blocksCustomerKeys && { BlockedEncryptionTypes: { EncryptionType: ['SSE-C'] } }),
    },
  }
}

function notificationsJson(rules: readonly EventRule[]): NonNullable<Settings['notifications']> {
  const common = ({ id, events, prefix, suffix }: EventRule) => {
    const filters = [
      ...(prefix === undefined ? [] : [{ Name: 'prefix', Value: prefix }]),
      ...(suffix === undefined ? [] : [{ Name: 'suffix', Value: suffix }]),
    ]
    return {
      Id: id,
      Event: [...events],
      ...(filters.length > 0 && { Filter: { S3Key: { FilterRule: filters } } }),
    }
  }
  const queues = rules.filter(({ form }) => form === 'queue')
  const topics = rules.filter(({ form }) => form === 'topic')
  return {
    ...(queues.length > 0 && {
      QueueConfiguration: queues.map((rule) => ({ ...common(rule), Queue: rule.arn })),
    }),
    ...(topics.length > 0 && {
      TopicConfiguration: topics.map((rule) => ({ ...common(rule), Topic: rule.arn })),
    }),
  }
}
