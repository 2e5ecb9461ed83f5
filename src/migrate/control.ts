import type { OperationArgs, OperationName } from '../api/admin/operation-schemas.js'
import type { OperationResult } from '../api/admin/operations.js'
import { errorCode } from '../util/errors.js'
import type { SourceBucket, SourceKey } from './admin-source.js'
import type { Journal } from './journal.js'
import type { Report } from './report.js'

/** The administrative operations of this cluster. */
export interface AdminCalls {
  /** @throws CarportError with the code of the node's handler, or of the connection */
  call<N extends OperationName>(operation: N, args: OperationArgs<N>): Promise<OperationResult<N>>
}

/** Of the key by which a migration writes, in the journal, so that a run after a kill goes on with it. */
const WORKER = 'worker key'
const WORKER_NAME = 'carport migration, deleted at its end'

export interface WorkerKey {
  accessKeyId: string
  secret: string
}

/** Takes the key of a run that was killed, or makes one: for as long as objects are copied. */
export async function workerKey(admin: AdminCalls, journal: Journal): Promise<WorkerKey> {
  const known = journal.fact(WORKER)
  if (known !== undefined) {
    const key = JSON.parse(known) as WorkerKey
    if (await admin.call('key.info', { id: key.accessKeyId }).catch(() => undefined)) return key
  }
  const made = await admin.call('key.create', { name: WORKER_NAME })
  const key = { accessKeyId: made.accessKeyId, secret: made.secretAccessKey! }
  await journal.setFact(WORKER, JSON.stringify(key))
  return key
}

export async function dropWorkerKey(admin: AdminCalls, journal: Journal): Promise<void> {
  const known = journal.fact(WORKER)
  if (known === undefined) return
  const { accessKeyId } = JSON.parse(known) as WorkerKey
  await admin.call('key.delete', { id: accessKeyId }).catch((error: unknown) => {
    if (errorCode(error) !== 'NotFound') throw error
  })
  await journal.forgetFact(WORKER)
}

/** Ends that a bucket reads through to another store, and removes the markers by which it hid objects of that. */
export async function endShadow(admin: AdminCalls, id: string): Promise<{ shadow: null; dropped: number }> {
  const { versioning } = await admin.call('bucket.updateSettings', { id, shadow: null })
  let dropped = 0
  // Where versions are kept, markers are what a deletion leaves anyway.
  let start: string | null | undefined = versioning === null ? undefined : null
  while (start !== null) {
    const part: OperationResult<'bucket.dropMarkers'> = await admin.call('bucket.dropMarkers', {
      id,
      ...(start !== undefined && { start }),
    })
    dropped += part.dropped
    start = part.next
  }
  return { shadow: null, dropped }
}

/** Lets the worker's key do everything in a bucket. */
export async function allowWorker(admin: AdminCalls, bucketId: string, key: WorkerKey): Promise<void> {
  const permissions = { read: true, write: true, owner: true }
  await admin.call('bucket.allowKey', { bucketId, accessKeyId: key.accessKeyId, permissions })
}

/** Makes a key with the id and the secret that it has at the source. */
export async function importKey(admin: AdminCalls, key: SourceKey, report: Report): Promise<void> {
  const { accessKeyId, secretAccessKey, name, permissions, expiration } = key
  if (secretAccessKey === null) {
    report.notCarried.add(`key ${accessKeyId} (${name}): the source does not tell its secret`)
    return
  }
  await told(report, `key ${accessKeyId} (${name})`, async () => {
    await admin.call('key.import', { accessKeyId, secretAccessKey, name })
    await admin.call('key.update', {
      id: accessKeyId,
      ...(permissions.createBucket ? { allow: { createBucket: true } } : { deny: { createBucket: true } }),
      ...(expiration !== null && expiration !== undefined && { expiration }),
    })
  })
}

/**
 * Makes a bucket with the names that it has at the source, or takes the one that has them.
 * @returns its id
 * @throws CarportError Conflict when a name is another bucket's
 */
export async function importBucket(admin: AdminCalls, bucket: SourceBucket, report: Report): Promise<string> {
  const [name, ...others] = bucket.globalAliases
  const locals = bucket.keys.flatMap(({ accessKeyId, bucketLocalAliases }) =>
    bucketLocalAliases.map((alias) => ({ accessKeyId, alias })),
  )
  const [local] = locals
  // Ids of Garage's are longer: their first half names the bucket here, so that a later run finds it.
  const id = bucket.id.slice(0, 32)
  const known = await admin
    .call('bucket.info', name === undefined ? { id } : { globalAlias: name })
    .catch((error: unknown) => {
      if (errorCode(error) !== 'NotFound') throw error
      return undefined
    })
  const made =
    known ??
    (await admin.call('bucket.create', {
      ...(id !== '' && { id }),
      ...(name !== undefined ? { globalAlias: name } : local ? { localAlias: local } : {}),
    }))
  const bucketId = made.id
  for (const alias of others.filter((alias) => !made.globalAliases.includes(alias)))
    await told(report, `the name ${alias} of the bucket ${name}`, () =>
      admin.call('bucket.addAlias', { bucketId, globalAlias: alias }),
    )
  for (const { accessKeyId, alias } of locals)
    await told(report, `the name ${alias} that the key ${accessKeyId} has for a bucket`, () =>
      admin.call('bucket.addAlias', { bucketId, accessKeyId, localAlias: alias }),
    )
  for (const { accessKeyId, permissions } of bucket.keys) {
    if (!permissions.read && !permissions.write && !permissions.owner) continue
    const { read, write, owner } = permissions
    await told(report, `permissions of the key ${accessKeyId} in ${name ?? local?.alias}`, () =>
      admin.call('bucket.allowKey', { bucketId, accessKeyId, permissions: { read, write, owner } }),
    )
  }
  return bucketId
}

/** Gives a bucket its quotas, web site and rules, when its objects are there. */
export async function importRules(
  admin: AdminCalls,
  id: string,
  bucket: SourceBucket,
  report: Report,
): Promise<void> {
  const name = bucket.globalAliases[0] ?? bucket.id
  const { quotas, websiteAccess, websiteConfig, corsRules, lifecycleRules } = bucket
  const update = (what: string, change: Omit<OperationArgs<'bucket.update'>, 'id'>) =>
    told(report, `${what} of ${name}`, () => admin.call('bucket.update', { id, ...change }))
  const { maxSize = null, maxObjects = null } = quotas
  if (maxSize !== null || maxObjects !== null) await update('quotas', { quotas: { maxSize, maxObjects } })
  if (websiteAccess && websiteConfig) {
    const { indexDocument, errorDocument = null, routingRules } = websiteConfig
    await update('website', {
      websiteAccess: { enabled: true, indexDocument, errorDocument, ...(routingRules && { routingRules }) },
    })
  }
  if (corsRules && corsRules.length > 0) await update('cors', { corsRules })
  if (lifecycleRules && lifecycleRules.length > 0) await update('lifecycle', { lifecycleRules })
}

async function told(report: Report, what: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!['InvalidArgument', 'Conflict', 'NotFound'].includes(errorCode(error) ?? '')) throw error
    report.notCarried.add(`${what}: refused here (${(error as Error).message})`)
  }
}
