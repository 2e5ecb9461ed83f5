import type { ClusterSystem } from '../cluster/system.js'
import { type Env, readEnv } from '../config/secrets.js'
import type { AccessKey } from '../model/buckets/access-keys.js'
import { checkBucketName } from '../model/buckets/names.js'
import type { Model } from '../model/model.js'
import { CarportError } from '../util/errors.js'

/** Capacity of the node when the size of its data disk cannot be found out, in bytes: 1 TiB. */
const CAPACITY_UNKNOWN_BYTES = 2 ** 40
const ZONE = 'dc1'
/** The name by which the key that was made at the first start is found again. */
const KEY_NAME = 'default'
const BUCKET_NAME = 'default-bucket'

export interface DefaultAccess {
  accessKeyId: string
  /** Only of a key that this start made: logs of later ones do not repeat it. */
  secretAccessKey: string | undefined
  /** Undefined where a key alone was asked for. */
  bucket: string | undefined
}

/**
 * Prepares a node of `server --single-node` at each start, without changing anything that is there: applies a layout
 * of this node alone, with `defaultAccessKey` makes sure that there is a key, and with `defaultBucket` that there are a key
 * and a bucket that it owns.
 *
 * The key is the one of CARPORT_DEFAULT_ACCESS_KEY and CARPORT_DEFAULT_SECRET_KEY, else the one named "default", which
 * the first start makes; the bucket is named by CARPORT_DEFAULT_BUCKET, else "default-bucket".
 * @throws CarportError InvalidArgument for a fault in the environment; Conflict for a key that was deleted, and in a cluster
 * of several nodes
 */
export async function bootstrapSingleNode(
  { cluster, model }: { cluster: ClusterSystem; model: Model },
  options: { defaultAccessKey: boolean; defaultBucket: boolean; env: Env },
): Promise<DefaultAccess | undefined> {
  const { defaultAccessKey, defaultBucket, env } = options
  const wanted = defaultAccessKey || defaultBucket ? readDefaults(env) : undefined
  await applyFirstLayout(cluster)
  if (!wanted) return undefined
  const { key, isNew } = await provideKey(model, wanted.key)
  const bucket = defaultBucket ? wanted.bucket : undefined
  if (bucket !== undefined) await provideBucket(model, key, bucket)
  return { accessKeyId: key.id, secretAccessKey: isNew ? key.secret : undefined, bucket }
}

/**
 * Makes this node the whole cluster, unless that was done before.
 * @throws CarportError Conflict if there are other nodes: a layout of this one alone would part them
 */
async function applyFirstLayout(cluster: ClusterSystem): Promise<void> {
  const [own, ...others] = cluster.status()
  const isNew = cluster.layout.layoutVersion === 0
  if (others.some(({ role }) => isNew || role !== null)) {
    throw new CarportError(
      'Conflict',
      'this cluster has other nodes: start this one without --single-node, and give it a role by "carport layout assign"',
    )
  }
  if (!isNew) return
  const capacityBytes = cluster.ownStatus().dataDisk?.total ?? CAPACITY_UNKNOWN_BYTES
  await cluster.stageLayout({ roles: [{ node: own!.id, role: { zone: ZONE, capacityBytes, tags: [] } }] })
  await cluster.applyLayout(1)
}

interface Defaults {
  key: { id: string; secret: string } | undefined
  bucket: string
}

function readDefaults(env: Env): Defaults {
  const id = readEnv(env, 'DEFAULT_ACCESS_KEY')
  const secret = readEnv(env, 'DEFAULT_SECRET_KEY')
  if ((id === undefined) !== (secret === undefined)) {
    const [set, missing] = id
      ? [id.variable, 'CARPORT_DEFAULT_SECRET_KEY']
      : [secret!.variable, 'CARPORT_DEFAULT_ACCESS_KEY']
    throw new CarportError(
      'InvalidArgument',
      `${set} is set without ${missing}: set both, or none for a random key`,
    )
  }
  const name = readEnv(env, 'DEFAULT_BUCKET')
  const bucket = name?.value ?? BUCKET_NAME
  try {
    checkBucketName(bucket, true)
  } catch (error) {
    throw new CarportError('InvalidArgument', `${name?.variable}: ${(error as Error).message}`)
  }
  return { key: id && secret && { id: id.value, secret: secret.value }, bucket }
}

async function provideKey(
  model: Model,
  wanted: Defaults['key'],
): Promise<{ key: AccessKey; isNew: boolean }> {
  const { keys } = model
  const known = wanted ? keys.local(wanted.id) : await defaultKey(model)
  let key = known
  key ??= wanted ? await keys.import(wanted.id, wanted.secret, KEY_NAME) : await keys.create(KEY_NAME)
  if (wanted && key.secret !== wanted.secret) key = await keys.change(key.id, { secret: wanted.secret })
  if (!key.mayCreateBuckets) key = await keys.change(key.id, { createBucket: true })
  return { key, isNew: known === undefined }
}

async function defaultKey({ keys }: Model): Promise<AccessKey | undefined> {
  for await (const key of keys.walk()) if (key.name === KEY_NAME) return key
  return undefined
}

async function provideBucket(model: Model, key: AccessKey, name: string): Promise<void> {
  const bucket =
    model.buckets.localByName(name, undefined) ?? (await model.buckets.create(name, { owner: key.id }))
  const has = key.permissions.get(bucket.hexId)
  if (has?.read && has.write && has.owner) return
  await model.keys.setPermissions(key.id, bucket.id, { read: true, write: true, owner: true })
}
