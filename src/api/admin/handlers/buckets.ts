import { NO_PERMISSIONS, type Permissions } from '../../../model/buckets/access-keys.js'
import { type Bucket, checkBucketName } from '../../../model/buckets/buckets.js'
import type { Quotas, WebsiteDocument } from '../../../model/buckets/documents.js'
import type { Model } from '../../../model/model.js'
import { CarportError } from '../../../util/errors.js'
import type { BucketKeyPermissionChange, BucketUpdate } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import type { BucketInfo } from '../types.js'
import type { AdminContext } from './context.js'
import { inspectObject } from './inspect.js'
import { bucketById, findBucket, isoTime, keyById } from './lookup.js'

type BucketHandlers = Pick<AdminHandlers, Extract<keyof AdminHandlers, `bucket.${string}`>>

/** Handlers of the operations on buckets. */
export function bucketHandlers(context: AdminContext): BucketHandlers {
  const { model, clock } = context
  const infoOf = async (hexId: string) => bucketInfo(model, await bucketById(model, hexId))
  return {
    'bucket.list': async () =>
      model.buckets.list().map((bucket) => ({
        id: bucket.hexId,
        created: isoTime(bucket.createdMs),
        globalAliases: [...bucket.aliases],
        localAliases: bucket.localAliases.map(({ keyId, alias }) => ({ accessKeyId: keyId, alias })),
      })),
    'bucket.info': async (query) => bucketInfo(model, await findBucket(model, query)),

    async 'bucket.create'({ globalAlias, localAlias }) {
      const key = localAlias ? await keyById(model, localAlias.accessKeyId) : undefined
      // Checked before anything is made, so that a bad name leaves nothing behind.
      if (localAlias) checkBucketName(localAlias.alias)
      if (localAlias && key?.localAliases.has(localAlias.alias)) {
        throw new CarportError('Conflict', `bucket name ${localAlias.alias} is taken for key ${key.id}`)
      }
      const bucket = globalAlias
        ? await model.buckets.create(globalAlias)
        : await model.buckets.createUnnamed()
      if (localAlias && key) {
        await model.buckets.addLocalAlias(bucket, key.id, localAlias.alias)
        const permissions = { ...NO_PERMISSIONS, ...localAlias.allow }
        await model.keys.setPermissions(key.id, bucket.id, permissions)
      }
      return infoOf(bucket.hexId)
    },

    async 'bucket.delete'({ id }) {
      const bucket = await bucketById(model, id)
      if (!(await model.versionListing.isEmpty(bucket.id))) {
        throw new CarportError(
          'Conflict',
          `bucket ${bucket.aliases[0] ?? id} is not empty: delete its objects first, with all their versions`,
        )
      }
      await model.uploads.endAll(bucket.id)
      await model.buckets.delete(bucket)
      return null
    },

    async 'bucket.update'({ id, ...update }) {
      const bucket = await bucketById(model, id)
      const changes = changesOf(bucket, update)
      if ('website' in changes) await model.buckets.setDocument(bucket, 'website', changes.website)
      if ('quotas' in changes) await model.buckets.setDocument(bucket, 'quotas', changes.quotas)
      return infoOf(id)
    },

    async 'bucket.addAlias'(alias) {
      const bucket = await bucketById(model, alias.bucketId)
      if ('globalAlias' in alias) await model.buckets.addAlias(bucket, alias.globalAlias)
      else {
        const key = await keyById(model, alias.accessKeyId)
        await model.buckets.addLocalAlias(bucket, key.id, alias.localAlias)
      }
      return infoOf(bucket.hexId)
    },

    async 'bucket.removeAlias'(alias) {
      const bucket = await bucketById(model, alias.bucketId)
      if (bucket.aliases.length + bucket.localAliases.length <= 1) {
        throw new CarportError(
          'Conflict',
          `bucket ${bucket.hexId} has no other name: give it another one first, or delete the bucket`,
        )
      }
      if ('globalAlias' in alias) await model.buckets.removeAlias(bucket, alias.globalAlias)
      else {
        const key = await keyById(model, alias.accessKeyId)
        if (key.localAliases.get(alias.localAlias) !== bucket.hexId) {
          throw new CarportError('NotFound', `key ${key.id} does not call that bucket ${alias.localAlias}`)
        }
        await model.buckets.removeLocalAlias(bucket, key.id, alias.localAlias)
      }
      return infoOf(bucket.hexId)
    },

    'bucket.allowKey': async (change) => {
      await changePermissions(model, change, true)
      return infoOf(change.bucketId)
    },
    'bucket.denyKey': async (change) => {
      await changePermissions(model, change, false)
      return infoOf(change.bucketId)
    },

    async 'bucket.cleanupIncompleteUploads'({ bucketId, olderThanSecs }) {
      const bucket = await bucketById(model, bucketId)
      const beforeUs = (clock.nowMs() - olderThanSecs * 1000) * 1000
      return { uploadsDeleted: await model.uploads.endAll(bucket.id, beforeUs) }
    },

    'bucket.inspectObject': async ({ bucketId, key }) =>
      inspectObject(model, await bucketById(model, bucketId), key),
  }
}

/** The documents that an update changes; undefined removes one. */
interface DocumentChanges {
  website?: WebsiteDocument | undefined
  quotas?: Quotas | undefined
}

/** @throws CarportError InvalidArgument */
function changesOf(bucket: Bucket, { websiteAccess, quotas }: BucketUpdate): DocumentChanges {
  const changes: DocumentChanges = {}
  if (websiteAccess) changes.website = websiteOf(bucket, websiteAccess)
  if (quotas) {
    const { maxSize, maxObjects } = quotas
    const value = { ...(maxSize !== null && { maxSize }), ...(maxObjects !== null && { maxObjects }) }
    changes.quotas = Object.keys(value).length > 0 ? value : undefined
  }
  return changes
}

function websiteOf(
  bucket: Bucket,
  { enabled, indexDocument, errorDocument }: NonNullable<BucketUpdate['websiteAccess']>,
): WebsiteDocument | undefined {
  if (!enabled) {
    if (!indexDocument && !errorDocument) return undefined
    throw new CarportError('InvalidArgument', 'websiteAccess has documents only when it is enabled')
  }
  if (!indexDocument) {
    throw new CarportError(
      'InvalidArgument',
      'websiteAccess.indexDocument is needed to enable website access',
    )
  }
  const { errorDocument: _, redirectAllRequestsTo: __, ...before } = bucket.document('website') ?? {}
  return { ...before, indexDocument, ...(errorDocument && { errorDocument }) }
}

async function changePermissions(
  model: Model,
  { bucketId, accessKeyId, permissions }: BucketKeyPermissionChange,
  value: boolean,
): Promise<void> {
  const bucket = await bucketById(model, bucketId)
  const key = await keyById(model, accessKeyId)
  await model.keys.changePermissions(key.id, bucket.id, (current) => {
    const changed: Permissions = { ...current }
    for (const name of ['read', 'write', 'owner'] as const) if (permissions[name]) changed[name] = value
    return changed
  })
}

async function bucketInfo(model: Model, bucket: Bucket): Promise<BucketInfo> {
  const counts = await model.usage.of(bucket.id)
  const website = bucket.document('website')
  const localAliases = (keyId: string) =>
    bucket.localAliases.filter((local) => local.keyId === keyId).map(({ alias }) => alias)
  return {
    id: bucket.hexId,
    created: isoTime(bucket.createdMs),
    globalAliases: [...bucket.aliases],
    websiteAccess: website !== undefined,
    websiteConfig: website
      ? { indexDocument: website.indexDocument, errorDocument: website.errorDocument ?? null }
      : null,
    keys: model.keys
      .list()
      .map((key) => ({
        accessKeyId: key.id,
        name: key.name,
        permissions: { ...(key.permissions.get(bucket.hexId) ?? NO_PERMISSIONS) },
        bucketLocalAliases: localAliases(key.id),
      }))
      .filter(({ permissions: { read, write, owner }, bucketLocalAliases }) => {
        return read || write || owner || bucketLocalAliases.length > 0
      }),
    objects: counts.objects,
    bytes: counts.bytes,
    unfinishedUploads: counts.uploads,
    unfinishedMultipartUploads: counts.uploads,
    unfinishedMultipartUploadParts: counts.parts,
    unfinishedMultipartUploadBytes: counts.uploadBytes,
    quotas: { maxSize: bucket.quotas.maxSize ?? null, maxObjects: bucket.quotas.maxObjects ?? null },
  }
}
