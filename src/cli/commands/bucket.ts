import type { BucketKeyPermissions } from '../../api/admin/operation-schemas.js'
import type { BucketInfo } from '../../api/admin/types.js'
import { parseSize } from '../../config/values.js'
import { type AdminClient, CliError, type Output, UsageError } from '../admin-client.js'
import { durationFlag, flagValue } from '../command-line.js'
import {
  abbreviate,
  formatDate,
  formatPermissions,
  formatSizeBoth,
  formatTime,
  shortId,
  table,
} from '../format.js'
import { findBucket, findKey } from '../lookup.js'

/** `bucket list`, oldest first. */
export async function listBuckets(admin: AdminClient): Promise<Output> {
  const buckets = await admin.call('bucket.list', {})
  const sorted = [...buckets].sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : 0))
  return {
    json: buckets,
    text: table([
      ['ID', 'Created', 'Global aliases', 'Local aliases'],
      ...sorted.map((bucket) => [
        shortId(bucket.id),
        formatDate(bucket.created),
        abbreviate(bucket.globalAliases),
        abbreviate(bucket.localAliases.map(({ accessKeyId, alias }) => `${accessKeyId}:${alias}`)),
      ]),
    ]),
  }
}

/** `bucket info`. */
export async function bucketInfo(admin: AdminClient, pattern: string): Promise<Output> {
  return show(await findBucket(admin, pattern))
}

/** `bucket create`. */
export async function createBucket(admin: AdminClient, name: string): Promise<Output> {
  return show(await admin.call('bucket.create', { globalAlias: name }))
}

/** `bucket delete`: refuses a bucket that has another name, since somebody may still use it by that. */
export async function deleteBucket(
  admin: AdminClient,
  pattern: string,
  confirmed: boolean | undefined,
): Promise<Output> {
  const bucket = await findBucket(admin, pattern)
  const others = bucket.globalAliases.filter((alias) => alias !== pattern)
  const namedById = others.length === bucket.globalAliases.length
  if (others.length > (namedById ? 1 : 0)) {
    throw new CliError(
      `bucket "${pattern}" has other aliases (${others.join(', ')}): remove them with "carport bucket unalias" first`,
    )
  }
  const local = bucket.keys.find((key) => key.bucketLocalAliases.length > 0)
  if (local !== undefined) {
    throw new CliError(
      `bucket "${pattern}" is "${local.bucketLocalAliases[0]}" to key ${local.accessKeyId}: remove that alias with "carport bucket unalias --local" first`,
    )
  }
  if (!confirmed) throw new UsageError(`this deletes bucket ${bucket.id} ("${pattern}"): confirm with --yes`)
  await admin.call('bucket.delete', { id: bucket.id })
  return { json: { id: bucket.id }, text: `Bucket ${bucket.id} has been deleted.` }
}

/** `bucket alias`. */
export async function aliasBucket(
  admin: AdminClient,
  pattern: string,
  name: string,
  localKey: string | undefined,
): Promise<Output> {
  const bucket = await findBucket(admin, pattern)
  if (localKey === undefined) {
    return show(await admin.call('bucket.addAlias', { bucketId: bucket.id, globalAlias: name }))
  }
  const { accessKeyId } = await findKey(admin, localKey)
  return show(await admin.call('bucket.addAlias', { bucketId: bucket.id, accessKeyId, localAlias: name }))
}

/** `bucket unalias`. */
export async function unaliasBucket(
  admin: AdminClient,
  name: string,
  localKey: string | undefined,
): Promise<Output> {
  if (localKey === undefined) {
    const bucket = await admin.call('bucket.info', { globalAlias: name })
    return show(await admin.call('bucket.removeAlias', { bucketId: bucket.id, globalAlias: name }))
  }
  const key = await findKey(admin, localKey)
  const bucket = key.buckets.find((b) => b.localAliases.includes(name))
  if (bucket === undefined) {
    throw new CliError(`key ${key.accessKeyId} calls no bucket "${name}": "carport key info" shows its names`)
  }
  const { accessKeyId } = key
  return show(await admin.call('bucket.removeAlias', { bucketId: bucket.id, accessKeyId, localAlias: name }))
}

/** `bucket allow` and `bucket deny`. */
export async function changePermissions(
  admin: AdminClient,
  operation: 'bucket.allowKey' | 'bucket.denyKey',
  pattern: string,
  keyPattern: string,
  permissions: Partial<BucketKeyPermissions>,
): Promise<Output> {
  if (!permissions.read && !permissions.write && !permissions.owner) {
    throw new UsageError('nothing to change: give --read, --write or --owner, or several of them')
  }
  const bucket = await findBucket(admin, pattern)
  const { accessKeyId } = await findKey(admin, keyPattern)
  return show(await admin.call(operation, { bucketId: bucket.id, accessKeyId, permissions }))
}

/** `bucket relax`. */
export async function relaxBucket(admin: AdminClient, pattern: string, relaxed: boolean): Promise<Output> {
  const { id } = await findBucket(admin, pattern)
  const settings = await admin.call('bucket.updateSettings', { id, relaxed })
  return {
    json: settings,
    text: relaxed
      ? `Bucket "${pattern}" takes what Garage takes.`
      : `Bucket "${pattern}" takes what S3 takes.`,
  }
}

const MODES = ['consistent', 'degraded'] as const

export interface WebsiteOptions {
  allow?: boolean
  deny?: boolean
  indexDocument: string
  errorDocument?: string
  consistencyMode?: string
}

/** `bucket website`: without --error-document and --consistency-mode, those set before stay. */
export async function setWebsite(
  admin: AdminClient,
  pattern: string,
  options: WebsiteOptions,
): Promise<Output> {
  if (Boolean(options.allow) === Boolean(options.deny)) {
    throw new UsageError('give one of --allow and --deny')
  }
  const mode = MODES.find((known) => known === options.consistencyMode)
  if (options.consistencyMode !== undefined && !mode) {
    throw new UsageError(`--consistency-mode is "${options.consistencyMode}", expected ${MODES.join(' or ')}`)
  }
  const bucket = await findBucket(admin, pattern)
  const websiteAccess = options.allow
    ? {
        enabled: true,
        indexDocument: options.indexDocument,
        errorDocument: options.errorDocument ?? bucket.websiteConfig?.errorDocument ?? null,
        ...(mode && { consistencyMode: mode }),
      }
    : { enabled: false }
  return show(await admin.call('bucket.update', { id: bucket.id, websiteAccess }))
}

/** `bucket set-quotas`: each a value, "none", or as it was. */
export async function setQuotas(
  admin: AdminClient,
  pattern: string,
  options: { maxSize?: string; maxObjects?: string },
): Promise<Output> {
  const { maxSize, maxObjects } = options
  if (maxSize === undefined && maxObjects === undefined) {
    throw new UsageError('nothing to set: give --max-size or --max-objects, or both')
  }
  if (maxObjects !== undefined && maxObjects !== 'none' && !/^\d{1,15}$/.test(maxObjects)) {
    throw new UsageError(`--max-objects is "${maxObjects}", expected a whole number or "none"`)
  }
  const size =
    maxSize === undefined || maxSize === 'none' ? null : flagValue('--max-size', parseSize, maxSize)
  const bucket = await findBucket(admin, pattern)
  const quotas = {
    maxSize: maxSize === undefined ? bucket.quotas.maxSize : size,
    maxObjects:
      maxObjects === undefined ? bucket.quotas.maxObjects : maxObjects === 'none' ? null : Number(maxObjects),
  }
  return show(await admin.call('bucket.update', { id: bucket.id, quotas }))
}

/** `bucket cleanup-incomplete-uploads`. */
export async function cleanupUploads(
  admin: AdminClient,
  patterns: readonly string[],
  olderThan: string,
): Promise<Output> {
  const olderThanSecs = durationFlag('--older-than', olderThan) / 1000
  const results: { bucketId: string; uploadsDeleted: number }[] = []
  for (const pattern of patterns) {
    const { id: bucketId } = await findBucket(admin, pattern)
    const { uploadsDeleted } = await admin.call('bucket.cleanupIncompleteUploads', {
      bucketId,
      olderThanSecs,
    })
    results.push({ bucketId, uploadsDeleted })
  }
  const count = (n: number) => (n === 0 ? 'no uploads' : n === 1 ? '1 upload' : `${n} uploads`)
  return {
    json: results,
    text: results.map((r) => `${shortId(r.bucketId)}: ${count(r.uploadsDeleted)} deleted`).join('\n'),
  }
}

/** `bucket inspect-object`. */
export async function inspectObject(admin: AdminClient, pattern: string, key: string): Promise<Output> {
  const bucket = await findBucket(admin, pattern)
  const object = await admin.call('bucket.inspectObject', { bucketId: bucket.id, key })
  const texts = object.versions.map((version) => {
    const facts = table([
      ['Bucket ID:', object.bucketId],
      ['Key:', object.key],
      ['Version ID:', version.uuid],
      ['Timestamp:', formatTime(version.timestamp)],
      ...(version.size === null ? [] : [['Size:', `${version.size} bytes, ${formatSizeBoth(version.size)}`]]),
      ...(version.blocks.length === 0 ? [] : [['Number of blocks:', String(version.blocks.length)]]),
      ...(version.etag === null ? [] : [['Etag:', version.etag]]),
      ['Encrypted:', String(version.encrypted)],
      ['Uploading:', String(version.uploading)],
      ['Aborted:', String(version.aborted)],
      ['Delete marker:', String(version.deleteMarker)],
      ['Inline data:', String(version.inline)],
      ...version.headers.map(([name, value]) => [name, value]),
    ])
    const blocks = version.blocks.map((b) => [String(b.partNumber), String(b.offset), b.hash, String(b.size)])
    const list = blocks.length === 0 ? '' : `\n\n${table([['Part', 'Offset', 'Block', 'Size'], ...blocks])}`
    return `==== OBJECT VERSION ====\n${facts}${list}`
  })
  return { json: object, text: texts.join('\n\n') }
}

function show(bucket: BucketInfo): Output {
  const rows: string[][] = [
    ['Bucket:', bucket.id],
    ['Created:', formatTime(bucket.created)],
    [],
    ['Size:', formatSizeBoth(bucket.bytes)],
    ['Objects:', String(bucket.objects)],
  ]
  if (bucket.unfinishedUploads > 0) {
    rows.push(
      [
        'Unfinished uploads:',
        `${bucket.unfinishedUploads}, of them ${bucket.unfinishedMultipartUploads} multipart`,
      ],
      ['Unfinished parts:', `${bucket.unfinishedMultipartUploadParts}`],
      ['Size of unfinished parts:', formatSizeBoth(bucket.unfinishedMultipartUploadBytes)],
    )
  }
  rows.push([], ['Website access:', String(bucket.websiteAccess)])
  if (bucket.websiteConfig !== null) {
    rows.push(
      ['  index document:', bucket.websiteConfig.indexDocument],
      ['  error document:', bucket.websiteConfig.errorDocument ?? '(not defined)'],
      ['  consistency:', bucket.websiteConfig.consistencyMode],
    )
  }
  const { maxSize, maxObjects } = bucket.quotas
  if (maxSize !== null || maxObjects !== null) {
    rows.push([], ['Quotas:', 'enabled'])
    if (maxSize !== null) rows.push(['  maximum size:', formatSizeBoth(maxSize)])
    if (maxObjects !== null) rows.push(['  maximum number of objects:', String(maxObjects)])
  }
  if (bucket.globalAliases.length > 0) {
    const title = bucket.globalAliases.length > 1 ? 'Global aliases:' : 'Global alias:'
    rows.push([], ...bucket.globalAliases.map((alias, i) => [i === 0 ? title : '', alias]))
  }
  const keys = bucket.keys.map((key) => [
    formatPermissions(key.permissions),
    key.accessKeyId,
    key.name,
    key.bucketLocalAliases.join(','),
  ])
  const text = [
    '==== BUCKET INFORMATION ====',
    table(rows),
    '',
    '==== KEYS FOR THIS BUCKET ====',
    table([['Permissions', 'Access key', 'Name', 'Local aliases'], ...keys]),
  ]
  return { json: bucket, text: text.join('\n') }
}
