import type { Versioning } from '../../../model/buckets/documents.js'
import { mayReplaceRetention, type ObjectLockDocument, type Retention } from '../../../model/versions/lock.js'
import type { MutableChange, VersionRecord } from '../../../model/versions/record.js'
import { isoDate, parseIsoDate } from '../../http/date.js'
import type { XmlElement } from '../../xml/reader.js'
import { xmlElement, xmlText } from '../../xml/writer.js'
import { authorize } from '../access/authorize.js'
import { bucketNow } from '../access/bucket-now.js'
import type { RequestedLock } from '../access/question.js'
import { xmlResponse } from '../answers.js'
import { configurationBody, configuredBucket } from '../buckets/configuration.js'
import type { S3Context } from '../context.js'
import { S3Error } from '../errors.js'
import type { S3Request, S3Response } from '../request.js'
import { bringIn } from '../shadow/keep.js'
import { versionIdHeader, versionSelector } from '../version-id.js'
import { deleteMarker, existingVersion, notFound } from './find.js'
import { checkFuture, isRetentionMode, mayBypassGovernance, needObjectLock, protectedByLock } from './lock.js'

const DAYS_MAX = 36_500
const YEARS_MAX = 100

/**
 * PutObjectLockConfiguration: turns object lock on for a bucket with versioning, for good, and sets its
 * default.
 */
export async function putObjectLockConfiguration(
  context: S3Context,
  request: S3Request,
): Promise<S3Response> {
  const bucket = await configuredBucket(context, request, 's3:PutBucketObjectLockConfiguration')
  const root = await configurationBody(request, 'ObjectLockConfiguration')
  const { versioning } = await bucketNow(context.model, bucket, request.bucket)
  const document = readObjectLock(root, versioning)
  await context.model.buckets.setDocument(bucket, 'object-lock', document)
  return { status: 200 }
}

/** @throws S3Error MalformedXML, InvalidRetentionPeriod; InvalidBucketState unless versioning is enabled */
export function readObjectLock(root: XmlElement, versioning: Versioning): ObjectLockDocument {
  const document = readConfiguration(root)
  if (versioning !== 'enabled') {
    throw new S3Error(
      'InvalidBucketState',
      "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
    )
  }
  return document
}

function readConfiguration(root: XmlElement): ObjectLockDocument {
  root.only('ObjectLockEnabled', 'Rule').need('ObjectLockEnabled')
  root.oneOf('ObjectLockEnabled', ['Enabled'])
  const rule = root.child('Rule')
  if (!rule) return {}
  const retention = rule.only('DefaultRetention').need('DefaultRetention').only('Mode', 'Days', 'Years')
  const mode = retention.oneOf('Mode', ['GOVERNANCE', 'COMPLIANCE'])
  const days = retention.integer('Days')
  const years = retention.integer('Years')
  if (mode === undefined || (days === undefined) === (years === undefined)) throw new S3Error('MalformedXML')
  const period = days ?? years!
  if (period < 1) {
    throw new S3Error('InvalidRetentionPeriod', 'Default retention period must be a positive integer value.')
  }
  if (period > (days === undefined ? YEARS_MAX : DAYS_MAX)) {
    throw new S3Error('InvalidRetentionPeriod', 'Default retention period is too large.')
  }
  return { mode, ...(days !== undefined && { days }), ...(years !== undefined && { years }) }
}

/** GetObjectLockConfiguration. */
export async function getObjectLockConfiguration(
  context: S3Context,
  request: S3Request,
): Promise<S3Response> {
  const { bucket } = await authorize(context.model, request, {
    permission: 'read',
    action: 's3:GetBucketObjectLockConfiguration',
  })
  const document = bucket.document('object-lock')
  if (!document) {
    throw new S3Error('ObjectLockConfigurationNotFoundError', undefined, {
      extra: { BucketName: request.bucket },
    })
  }
  const { mode, days, years } = document
  const rule = mode
    ? xmlElement(
        'Rule',
        xmlElement(
          'DefaultRetention',
          xmlText('Mode', mode) + xmlText('Days', days) + xmlText('Years', years),
        ),
      )
    : ''
  return xmlResponse('ObjectLockConfiguration', xmlText('ObjectLockEnabled', 'Enabled') + rule)
}

/**
 * PutObjectRetention: sets or prolongs the retention of a version, or weakens it if the caller may bypass it.
 */
export async function putObjectRetention(context: S3Context, request: S3Request): Promise<S3Response> {
  const document = once(async () => {
    const root = await configurationBody(request, 'Retention')
    const retention = readRetention(root, context.clock.nowMs())
    return { retention, mode: retention?.mode, until: root.text('RetainUntilDate')?.trim() }
  })
  return changeLock(context, request, 's3:PutObjectRetention', document, async ({ retention }) => {
    const bypass = await mayBypassGovernance(context, request, undefined, document)
    const nowMs = context.clock.nowMs()
    return ({ mutable }) => {
      if (!mayReplaceRetention(mutable.retention?.[1], retention, { nowMs, bypass })) throw protectedByLock()
      return { retention }
    }
  })
}

/** An empty element removes the retention. @throws S3Error MalformedXML, InvalidArgument */
function readRetention(root: XmlElement, nowMs: number): Retention | null {
  root.only('Mode', 'RetainUntilDate')
  if (root.children.length === 0) return null
  const mode = root.text('Mode')
  const untilMs = parseIsoDate(root.needText('RetainUntilDate').trim())
  if (!isRetentionMode(mode) || untilMs === undefined) throw new S3Error('MalformedXML')
  checkFuture(untilMs, nowMs)
  return { mode, untilMs }
}

/** GetObjectRetention. */
export async function getObjectRetention(context: S3Context, request: S3Request): Promise<S3Response> {
  const version = await lockableVersion(context, request, 's3:GetObjectRetention')
  const retention = version.mutable.retention?.[1]
  if (!retention)
    throw new S3Error('NoSuchObjectLockConfiguration', undefined, { extra: { Key: request.key } })
  return xmlResponse(
    'Retention',
    xmlText('Mode', retention.mode) + xmlText('RetainUntilDate', isoDate(retention.untilMs)),
  )
}

/** PutObjectLegalHold. */
export async function putObjectLegalHold(context: S3Context, request: S3Request): Promise<S3Response> {
  const document = once(async () => {
    const root = await configurationBody(request, 'LegalHold')
    const legalHold = root.only('Status').oneOf('Status', ['ON', 'OFF'])
    if (legalHold === undefined) throw new S3Error('MalformedXML')
    return { legalHold }
  })
  return changeLock(context, request, 's3:PutObjectLegalHold', document, async ({ legalHold }) => () => ({
    legalHold: legalHold === 'ON',
  }))
}

/** GetObjectLegalHold. */
export async function getObjectLegalHold(context: S3Context, request: S3Request): Promise<S3Response> {
  const version = await lockableVersion(context, request, 's3:GetObjectLegalHold')
  const { legalHold } = version.mutable
  if (!legalHold)
    throw new S3Error('NoSuchObjectLockConfiguration', undefined, { extra: { Key: request.key } })
  return xmlResponse('LegalHold', xmlText('Status', legalHold[1] ? 'ON' : 'OFF'))
}

async function lockableVersion(
  context: S3Context,
  request: S3Request,
  action: string,
): Promise<VersionRecord> {
  const { bucket, version } = await existingVersion(context, request, { permission: 'read', action })
  needObjectLock(bucket)
  return version
}

/** Reads a document at the first call; all calls get the same. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined
  return () => {
    reading ??= read()
    return reading
  }
}

/**
 * @param document reads the body: once the request was authorized, or while it is, where a policy depends on what the body says
 * @param changeBy called with the document after the request was authorized
 */
async function changeLock<T extends RequestedLock>(
  context: S3Context,
  request: S3Request,
  action: string,
  document: () => Promise<T>,
  changeBy: (document: T) => Promise<(version: VersionRecord) => MutableChange>,
): Promise<S3Response> {
  const { model } = context
  const selector = versionSelector(request)
  const { bucket } = await authorize(model, request, { permission: 'write', action, requestLock: document })
  needObjectLock(bucket)
  const change = await changeBy(await document())
  if (selector === undefined) await bringIn(context, bucket, Buffer.from(request.key!))
  const version = await model.objects.updateLock(bucket.id, Buffer.from(request.key!), selector, (found) => {
    if (found.state === 'marker') throw deleteMarker(request, found, selector)
    return change(found)
  })
  if (!version) throw notFound(request, selector)
  return { status: 200, headers: versionIdHeader(bucket.versioning, version) }
}
