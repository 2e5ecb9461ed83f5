import { endShadow } from '../../migrate/control.js'
import { type AdminClient, type Output, UsageError } from '../admin-client.js'
import type { CliIo } from '../io.js'
import { findBucket } from '../lookup.js'
import { secretOf } from '../secret-of.js'

export interface ShadowOptions {
  region?: string
  from?: string
  prefix?: string
  off?: true
}

/** `bucket shadow`: sets, shows or ends that a bucket reads through to another store. */
export async function shadowBucket(
  admin: AdminClient,
  io: CliIo,
  pattern: string,
  source: string | undefined,
  { region = 'us-east-1', from = pattern, prefix, off }: ShadowOptions,
): Promise<Output> {
  const { id } = await findBucket(admin, pattern)
  if (off) {
    if (source !== undefined) throw new UsageError('give the address of a store, or --off, not both')
    return {
      json: await endShadow(admin, id),
      text: `Bucket "${pattern}" has what it has, and reads through no more.`,
    }
  }
  if (source === undefined) {
    const { shadow } = await admin.call('bucket.settings', { id })
    const text = shadow
      ? `Bucket "${pattern}" reads through to ${shadow.bucket}/${shadow.prefix ?? ''} of ${shadow.endpoint} (${shadow.region}).`
      : `Bucket "${pattern}" reads through to no other store.`
    return { json: { shadow }, text }
  }
  const accessKeyId = secretOf(io, 'MIGRATE_ACCESS_KEY_ID')
  const secretAccessKey = secretOf(io, 'MIGRATE_SECRET_ACCESS_KEY')
  if (!accessKeyId || !secretAccessKey)
    throw new UsageError(
      'set CARPORT_MIGRATE_ACCESS_KEY_ID and CARPORT_MIGRATE_SECRET_ACCESS_KEY, or …_FILE, to a key of that store',
    )
  const shadow = { endpoint: source, region, bucket: from, accessKeyId, secretAccessKey }
  const settings = await admin.call('bucket.updateSettings', {
    id,
    shadow: { ...shadow, ...(prefix !== undefined && { prefix }) },
  })
  return {
    json: { shadow: settings.shadow },
    text: `Bucket "${pattern}" reads through to ${from} of ${source}, and keeps what it reads.`,
  }
}
