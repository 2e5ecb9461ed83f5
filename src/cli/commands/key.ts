import type { KeyUpdate } from '../../api/admin/operation-schemas.js'
import type { KeyInfo } from '../../api/admin/types.js'
import { parseDuration } from '../../config/values.js'
import { type AdminClient, CliError, type Output } from '../admin-client.js'
import { abbreviate, formatDate, formatPermissions, formatTime, shortId, table } from '../format.js'
import { findKey } from '../lookup.js'

/** `key list`, oldest first. */
export async function listKeys(admin: AdminClient): Promise<Output> {
  const keys = await admin.call('key.list', {})
  const sorted = [...keys].sort((a, b) => {
    const [x, y] = [a.created ?? '', b.created ?? '']
    return x < y ? -1 : x > y ? 1 : 0
  })
  return {
    json: keys,
    text: table([
      ['ID', 'Created', 'Name', 'Expiration'],
      ...sorted.map((key) => [
        key.id,
        formatDate(key.created),
        key.name,
        key.expired ? 'expired' : formatExpiration(key.expiration),
      ]),
    ]),
  }
}

/** `key info`. */
export async function keyInfo(admin: AdminClient, pattern: string, showSecretKey: boolean): Promise<Output> {
  return show(await admin.call('key.info', { search: pattern, showSecretKey }))
}

/** `key create`. `nowMs` is the time that --expires-in counts from. */
export async function createKey(
  admin: AdminClient,
  name: string,
  expiresIn: string | undefined,
  nowMs: number,
): Promise<Output> {
  return show(await admin.call('key.create', { name, ...expiration(expiresIn, nowMs) }))
}

/** `key set`. */
export async function setKey(
  admin: AdminClient,
  pattern: string,
  options: { expiresIn?: string; neverExpires?: boolean },
  nowMs: number,
): Promise<Output> {
  if ((options.expiresIn === undefined) === !options.neverExpires) {
    throw new CliError('give one of --expires-in and --never-expires')
  }
  const change = options.neverExpires ? { neverExpires: true } : expiration(options.expiresIn, nowMs)
  return update(admin, pattern, change)
}

/** `key rename`. */
export function renameKey(admin: AdminClient, pattern: string, name: string): Promise<Output> {
  return update(admin, pattern, { name })
}

/** `key allow` and `key deny`. */
export function changeKeyPermissions(
  admin: AdminClient,
  change: 'allow' | 'deny',
  pattern: string,
  createBucket: boolean | undefined,
): Promise<Output> {
  if (!createBucket) throw new CliError('nothing to change: give --create-bucket')
  return update(admin, pattern, { [change]: { createBucket: true } })
}

/** `key delete`. */
export async function deleteKey(
  admin: AdminClient,
  pattern: string,
  confirmed: boolean | undefined,
): Promise<Output> {
  const key = await findKey(admin, pattern)
  if (!confirmed) {
    throw new CliError(`this deletes access key ${key.accessKeyId} ("${key.name}"): confirm with --yes`)
  }
  await admin.call('key.delete', { id: key.accessKeyId })
  return { json: { id: key.accessKeyId }, text: `Access key ${key.accessKeyId} has been deleted.` }
}

/** `key delete-expired`. */
export async function deleteExpiredKeys(admin: AdminClient, confirmed: boolean | undefined): Promise<Output> {
  const expired = (await admin.call('key.list', {})).filter((key) => key.expired)
  if (!confirmed) throw new CliError(`this deletes ${expired.length} expired access keys: confirm with --yes`)
  for (const key of expired) await admin.call('key.delete', { id: key.id })
  return {
    json: expired.map((key) => key.id),
    text: [
      ...expired.map((key) => `Access key ${key.id} has been deleted.`),
      `${expired.length} access keys have been deleted.`,
    ].join('\n'),
  }
}

/** `key import`. */
export async function importKey(
  admin: AdminClient,
  accessKeyId: string,
  secretAccessKey: string,
  name: string,
  confirmed: boolean | undefined,
): Promise<Output> {
  if (!confirmed) {
    throw new CliError(
      'this takes a key that was made elsewhere ("carport key create" makes a new one): confirm with --yes',
    )
  }
  return show(await admin.call('key.import', { accessKeyId, secretAccessKey, name }))
}

async function update(admin: AdminClient, pattern: string, change: KeyUpdate): Promise<Output> {
  const { accessKeyId } = await findKey(admin, pattern)
  return show(await admin.call('key.update', { id: accessKeyId, ...change }))
}

function expiration(expiresIn: string | undefined, nowMs: number): { expiration?: string } {
  if (expiresIn === undefined) return {}
  try {
    return { expiration: new Date(nowMs + parseDuration(expiresIn)).toISOString() }
  } catch (error) {
    throw new CliError(`--expires-in ${(error as Error).message}`)
  }
}

function formatExpiration(time: string | null): string {
  return time === null ? 'never' : formatTime(time)
}

function show(key: KeyInfo): Output {
  const buckets = key.buckets.map((bucket) => [
    formatPermissions(bucket.permissions),
    shortId(bucket.id),
    abbreviate(bucket.globalAliases),
    bucket.localAliases.join(','),
  ])
  const text = [
    '==== ACCESS KEY INFORMATION ====',
    table([
      ['Key ID:', key.accessKeyId],
      ['Key name:', key.name],
      ['Secret key:', key.secretAccessKey ?? '(redacted)'],
      ...(key.created === null ? [] : [['Created:', formatTime(key.created)]]),
      ['Validity:', key.expired ? 'EXPIRED' : 'valid'],
      ['Expiration:', formatExpiration(key.expiration)],
      [],
      ['Can create buckets:', String(key.permissions.createBucket)],
    ]),
    '',
    '==== BUCKETS FOR THIS KEY ====',
    table([['Permissions', 'ID', 'Global aliases', 'Local aliases'], ...buckets]),
  ]
  return { json: key, text: text.join('\n') }
}
