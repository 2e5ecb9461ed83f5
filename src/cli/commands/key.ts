import type { KeyUpdate } from '../../api/admin/operation-schemas.js'
import type { KeyInfo } from '../../api/admin/types.js'
import { shellWord } from '../../util/shell-word.js'
import { type AdminClient, type Output, UsageError } from '../admin-client.js'
import { type ExpiryFlags, readExpiry } from '../expiry.js'
import {
  abbreviate,
  formatDate,
  formatPermissions,
  formatTime,
  oldestFirst,
  shortId,
  table,
} from '../format.js'
import { findKey, onlyAnswer } from '../lookup.js'

/** `key list`, oldest first. */
export async function listKeys(admin: AdminClient): Promise<Output> {
  const keys = await admin.call('key.list', {})
  const sorted = oldestFirst(keys)
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

export interface KeyInfoOptions {
  showSecret?: boolean
  /** Print the id alone. */
  keyId?: boolean
  /** Print the secret alone. */
  secretKey?: boolean
}

/** `key info`. */
export async function keyInfo(
  admin: AdminClient,
  pattern: string,
  { showSecret, keyId, secretKey }: KeyInfoOptions,
): Promise<Output> {
  const showSecretKey = (showSecret ?? false) || (secretKey ?? false)
  const key = await admin.call('key.info', { search: pattern, showSecretKey })
  if (keyId) return { json: key, text: key.accessKeyId }
  if (secretKey) return { json: key, text: key.secretAccessKey ?? '' }
  return show(key)
}

/** `key export-env`: lines that a shell or an EnvironmentFile of systemd reads. */
export async function exportEnv(admin: AdminClient, pattern: string, prefix: string): Promise<Output> {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$|^$/.test(prefix)) {
    throw new UsageError(
      `--prefix is "${prefix}", expected letters, digits and "_", as in names of variables`,
    )
  }
  const key = await admin.call('key.info', { search: pattern, showSecretKey: true })
  const node = onlyAnswer(await admin.call('node.info', { node: 'self' }))
  const { region, s3Endpoint } = node.connectionParameters
  const variables = {
    [`${prefix}ACCESS_KEY_ID`]: key.accessKeyId,
    [`${prefix}SECRET_ACCESS_KEY`]: key.secretAccessKey ?? '',
    [`${prefix}DEFAULT_REGION`]: region,
    ...(s3Endpoint !== null && { [`${prefix}ENDPOINT_URL`]: s3Endpoint }),
  }
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${shellWord(value)}`)
  return { json: variables, text: lines.join('\n') }
}

/** `key create`. `nowMs` is the time that --expires-in counts from. */
export async function createKey(
  admin: AdminClient,
  name: string,
  expiresIn: string | undefined,
  nowMs: number,
): Promise<Output> {
  const { expiration } = readExpiry({ ...(expiresIn !== undefined && { expiresIn }) }, nowMs)
  return show(await admin.call('key.create', { name, ...(expiration !== undefined && { expiration }) }))
}

/** `key set`. */
export async function setKey(
  admin: AdminClient,
  pattern: string,
  options: ExpiryFlags,
  nowMs: number,
): Promise<Output> {
  const change = readExpiry(options, nowMs)
  if (Object.keys(change).length === 0) {
    throw new UsageError('nothing to set: give one of --expires-in and --never-expires')
  }
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
  if (!createBucket) throw new UsageError('nothing to change: give --create-bucket')
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
    throw new UsageError(`this deletes access key ${key.accessKeyId} ("${key.name}"): confirm with --yes`)
  }
  await admin.call('key.delete', { id: key.accessKeyId })
  return { json: { id: key.accessKeyId }, text: `Access key ${key.accessKeyId} has been deleted.` }
}

/** `key delete-expired`. */
export async function deleteExpiredKeys(admin: AdminClient, confirmed: boolean | undefined): Promise<Output> {
  const expired = (await admin.call('key.list', {})).filter((key) => key.expired)
  if (!confirmed)
    throw new UsageError(`this deletes ${expired.length} expired access keys: confirm with --yes`)
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
    throw new UsageError(
      'this takes a key that was made elsewhere ("carport key create" makes a new one): confirm with --yes',
    )
  }
  return show(await admin.call('key.import', { accessKeyId, secretAccessKey, name }))
}

async function update(admin: AdminClient, pattern: string, change: KeyUpdate): Promise<Output> {
  const { accessKeyId } = await findKey(admin, pattern)
  return show(await admin.call('key.update', { id: accessKeyId, ...change }))
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
