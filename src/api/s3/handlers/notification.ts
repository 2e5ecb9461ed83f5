import type { EventRule } from '../../../model/events/rules.js'
import { configurationBody, configuredBucket } from '../buckets/configuration.js'
import { notificationXml, parseNotification } from '../buckets/notification.js'
import type { S3Context } from '../context.js'
import { xmlResponse } from '../listings/list-objects.js'
import type { S3Request, S3Response } from '../request.js'

const BODY_BYTES_MAX = 1024 * 1024
/** Bytes of the ids of configurations that come without one. */
const ID_BYTES = 16

/** PutBucketNotificationConfiguration; one without rules turns notifications off. */
export async function putBucketNotification(context: S3Context, request: S3Request): Promise<S3Response> {
  const { model, random } = context
  const bucket = await configuredBucket(context, request, 's3:PutBucketNotification')
  const body = await configurationBody(request, 'NotificationConfiguration', BODY_BYTES_MAX)
  const rules = parseNotification(body, model.events.targets, () => random.bytes(ID_BYTES).toString('hex'))
  await model.buckets.setDocument(bucket, 'notification', rules.length > 0 ? rules : undefined)
  return { status: 200 }
}

/** GetBucketNotificationConfiguration: empty if there are none. */
export async function getBucketNotification(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketNotification')
  return xmlResponse(
    'NotificationConfiguration',
    notificationXml(bucket.document<EventRule[]>('notification') ?? []),
  )
}
