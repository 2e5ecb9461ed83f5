import { hash } from 'node:crypto'
import type { BucketInfo } from '../api/admin/types.js'
import { S3Client, type S3Endpoint, StoreError } from '../api/client/s3-client.js'
import { CarportError, errorCode } from '../util/errors.js'
import { type AdminAddress, AdminSource, type SourceBucket, type SourceKey } from './admin-source.js'
import type { S3Bucket } from './bucket-settings.js'
import { type AdminCalls, allowWorker, importBucket, type WorkerKey } from './control.js'
import type { Report } from './report.js'
import type { MigrationWorld } from './world.js'

/** A bucket of the source: what names it in reports and in the journal, and how it is reached. */
export interface Route {
  label: string
  /** Undefined for a folder. */
  s3?: S3Bucket
  /** What the source's admin API tells of it. */
  facts?: SourceBucket
  /** Whether the facts have no web site, CORS and lifecycle: S3 carries them. */
  rulesByS3?: true
}

/** All buckets that an S3 key sees. */
export async function bucketsOf(client: S3Client): Promise<Route[]> {
  const document = await client.xml({ method: 'GET' }, 'ListAllMyBucketsResult')
  const buckets = document.child('Buckets')?.all('Bucket') ?? []
  return buckets.map((bucket) => {
    const name = bucket.needText('Name')
    return { label: name, s3: { client, name } }
  })
}

/**
 * All buckets and keys that an admin API tells of. Each bucket is read by the key given, if it may read it, else by the
 * first key that may and whose secret is known; buckets that no such key may read are told in the report.
 */
export async function bucketsByAdmin(
  world: MigrationWorld,
  address: AdminAddress,
  at: Omit<S3Endpoint, 'credentials'>,
  given: S3Endpoint['credentials'] | undefined,
  report: Report,
): Promise<{ keys: SourceKey[]; routes: Route[] }> {
  const admin = new AdminSource(address, world)
  const keys = await admin.keys()
  const secrets = new Map(keys.map(({ accessKeyId, secretAccessKey }) => [accessKeyId, secretAccessKey]))
  if (given) secrets.set(given.accessKeyId, given.secret)
  const routes: Route[] = []
  for (const facts of await admin.buckets()) {
    const label = facts.globalAliases[0] ?? facts.id.slice(0, 32)
    const expired = new Set(keys.flatMap((key) => (key.expired ? [key.accessKeyId] : [])))
    const readers = facts.keys.flatMap(({ accessKeyId, permissions, bucketLocalAliases }) => {
      const secret = secrets.get(accessKeyId)
      const name = bucketLocalAliases[0] ?? facts.globalAliases[0]
      if (!permissions.read || !secret || name === undefined || expired.has(accessKeyId)) return []
      // Owners may read the settings, too.
      return [
        {
          name,
          rank: (accessKeyId === given?.accessKeyId ? 2 : 0) + (permissions.owner ? 1 : 0),
          credentials: { accessKeyId, secret },
        },
      ]
    })
    readers.sort((a, b) => b.rank - a.rank)
    const [reader] = readers
    if (!reader) {
      report.failed.add(`${label}: no key of the source may read this bucket: allow one, and run again`)
      continue
    }
    const client = new S3Client({ ...at, credentials: reader.credentials }, world)
    const route = { label, s3: { client, name: reader.name }, facts }
    routes.push(admin.tellsRules ? route : { ...route, rulesByS3: true })
  }
  return { keys, routes }
}

/** Buckets of this cluster, as the worker's key reaches them. */
export class OwnBuckets {
  constructor(
    private readonly admin: AdminCalls,
    private readonly client: S3Client,
    private readonly worker: WorkerKey,
  ) {}

  /** All of them, for an export. */
  async routes(): Promise<Route[]> {
    const routes: Route[] = []
    for (const { id, globalAliases } of await this.admin.call('bucket.list', {})) {
      const facts = await this.admin.call('bucket.info', { id })
      routes.push({ label: globalAliases[0] ?? id, s3: await this.#reach(facts), facts })
    }
    return routes
  }

  /** The bucket for a route, made if there is none. */
  async make(
    { label, facts }: Route,
    report: Report,
    relaxed: boolean,
  ): Promise<{ id: string; s3: S3Bucket; isShadow: boolean }> {
    const id = facts ? await importBucket(this.admin, facts, report) : await this.#named(label)
    if (relaxed) await this.admin.call('bucket.updateSettings', { id, relaxed })
    const { shadow } = await this.admin.call('bucket.settings', { id })
    const s3 = await this.#reach(await this.admin.call('bucket.info', { id }))
    return { id, s3, isShadow: shadow !== null }
  }

  /** The bucket for a route, if there is one. */
  async find({ label, facts }: Route): Promise<S3Bucket | undefined> {
    const global = facts ? facts.globalAliases[0] : label
    const query = global === undefined ? { id: facts!.id.slice(0, 32) } : { globalAlias: global }
    const info = await orNothing(this.admin.call('bucket.info', query))
    return info && this.#reach(info)
  }

  async #named(name: string): Promise<string> {
    const known = await orNothing(this.admin.call('bucket.info', { globalAlias: name }))
    return (known ?? (await this.admin.call('bucket.create', { globalAlias: name }))).id
  }

  async #reach({ id, globalAliases }: BucketInfo): Promise<S3Bucket> {
    await allowWorker(this.admin, id, this.worker)
    const [global] = globalAliases
    if (global !== undefined) return { client: this.client, name: global }
    // A bucket without a global name gets one for the worker's key alone, which goes with it.
    const alias = `migration-${hash('sha256', id).slice(0, 16)}`
    const { accessKeyId } = this.worker
    await this.admin.call('bucket.addAlias', { bucketId: id, accessKeyId, localAlias: alias })
    return { client: this.client, name: alias }
  }
}

async function orNothing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (errorCode(error) === 'NotFound') return undefined
    throw error
  }
}

/** Makes a bucket by S3, unless one is there that the key may use: it need not be its own. @throws StoreError */
export async function makeBucket(client: S3Client, name: string, withLock: boolean): Promise<S3Bucket> {
  try {
    await client.bytes({ method: 'HEAD', bucket: name })
    return { client, name }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
  }
  try {
    const headers: Record<string, string> = withLock ? { 'x-amz-bucket-object-lock-enabled': 'true' } : {}
    await client.bytes({ method: 'PUT', bucket: name, headers })
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'BucketAlreadyOwnedByYou') throw error
  }
  return { client, name }
}

/** The routes of the buckets that were named, or all. @throws CarportError NotFound for a name that the source has not */
export function chosen(routes: readonly Route[], names: readonly string[]): Route[] {
  if (names.length === 0) return [...routes]
  return names.map((name) => {
    const found = routes.find(({ label }) => label === name)
    if (!found) throw new CarportError('NotFound', `the source has no bucket ${name} that can be read`)
    return found
  })
}
