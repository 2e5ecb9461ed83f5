import { parseXml } from '../../xml/reader.js'
import { authorize } from '../access/authorize.js'
import { xmlResponse } from '../answers.js'
import {
  configurationBody,
  configuredBucket,
  DOCUMENT_BYTES_MAX,
  deleteDocument,
  needDocument,
} from '../buckets/configuration.js'
import type { S3Context } from '../context.js'
import type { S3Request, S3Response } from '../request.js'
import { bringIn } from '../shadow/keep.js'
import { versioned, versionIdHeader, versionSelector } from '../version-id.js'
import { deleteMarker, existingVersion, notFound } from './find.js'
import { BUCKET_TAGS_MAX, documentTags, OBJECT_TAGS_MAX, type Tags, tagSetXml } from './tags.js'

/** GetObjectTagging: an empty set if the version has no tags. */
export async function getObjectTagging(context: S3Context, request: S3Request): Promise<S3Response> {
  const { bucket, version } = await existingVersion(context, request, {
    permission: 'read',
    action: versioned(request, 's3:GetObjectTagging', 's3:GetObjectVersionTagging'),
  })
  return xmlResponse(
    'Tagging',
    tagSetXml(version.mutable.tags?.[1] ?? {}),
    versionIdHeader(bucket.versioning, version),
  )
}

/** PutObjectTagging: replaces the tags of a version. */
export async function putObjectTagging(context: S3Context, request: S3Request): Promise<S3Response> {
  let read: Promise<Tags> | undefined
  const tags = () => {
    read ??= readObjectTags(request)
    return read
  }
  return changeTags(context, request, {
    action: versioned(request, 's3:PutObjectTagging', 's3:PutObjectVersionTagging'),
    tags,
    status: 200,
  })
}

async function readObjectTags(request: S3Request): Promise<Tags> {
  const body = await request.payload.readAll(DOCUMENT_BYTES_MAX, 'MalformedXML')
  return documentTags(await parseXml(body, 'Tagging'), OBJECT_TAGS_MAX)
}

/** DeleteObjectTagging. */
export async function deleteObjectTagging(context: S3Context, request: S3Request): Promise<S3Response> {
  return changeTags(context, request, {
    action: versioned(request, 's3:DeleteObjectTagging', 's3:DeleteObjectVersionTagging'),
    status: 204,
  })
}

async function changeTags(
  context: S3Context,
  request: S3Request,
  { action, tags, status }: { action: string; tags?: () => Promise<Tags>; status: number },
): Promise<S3Response> {
  const { model } = context
  const selector = versionSelector(request)
  const { bucket } = await authorize(model, request, {
    permission: 'write',
    action,
    ...(tags && { requestTags: tags }),
  })
  const next = (await tags?.()) ?? null
  if (selector === undefined) await bringIn(context, bucket, Buffer.from(request.key!))
  const version = await model.objects.update(bucket.id, Buffer.from(request.key!), selector, (found) => {
    if (found.state === 'marker') throw deleteMarker(request, found, selector)
    return { tags: next }
  })
  if (!version) throw notFound(request, selector)
  return { status, headers: versionIdHeader(bucket.versioning, version) }
}

/** GetBucketTagging. */
export async function getBucketTagging(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:GetBucketTagging')
  return xmlResponse('Tagging', tagSetXml(needDocument(bucket, 'tagging', 'NoSuchTagSet', request)))
}

/** PutBucketTagging. */
export async function putBucketTagging(context: S3Context, request: S3Request): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketTagging')
  const tags = documentTags(await configurationBody(request, 'Tagging'), BUCKET_TAGS_MAX)
  await context.model.buckets.setDocument(bucket, 'tagging', tags)
  return { status: 204 }
}

/** DeleteBucketTagging. */
export function deleteBucketTagging(context: S3Context, request: S3Request): Promise<S3Response> {
  return deleteDocument(context, request, 's3:PutBucketTagging', 'tagging')
}
