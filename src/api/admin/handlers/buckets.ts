import { NO_PERMISSIONS, type Permissions } from '../../../model/buckets/access-keys.js'
import type { Bucket } from '../../../model/buckets/buckets.js'
import type { Model } from '../../../model/model.js'
import { CarportError } from '../../../util/errors.js'
import { eachLimited } from '../../../util/limited.js'
import type { BucketKeyPermissionChange, ListPage, OperationArgs } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import type { BucketInfo } from '../types.js'
import { bucketInfo } from './bucket-info.js'
import { applySettings, settingsOf } from './bucket-settings.js'
import { applyUpdate } from './bucket-update.js'
import type { AdminContext } from './context.js'
import { dropMarkers } from './drop-markers.js'
import { inspectObject } from './inspect.js'
import { bucketById, findBucket, isoTime, keyById, pageOf } from './lookup.js'

type BucketHandlers = Pick<AdminHandlers, Extract<keyof AdminHandlers, `bucket.${string}`>>

/** Buckets whose content is counted at the same time. */
const INFOS_IN_FLIGHT = 16

/** Handlers of the operations on buckets. */
export function bucketHandlers(context: AdminContext): BucketHandlers {
  const { model, clock } = context
  const infoOf = async (hexId: string) => bucketInfo(model, await bucketById(model, hexId))
  return {
    'bucket.list': async (page) =>
      (await bucketsOf(model, page)).map((bucket) => ({
        id: bucket.hexId,
        created: isoTime(bucket.createdMs),
        globalAliases: [...bucket.aliases],
        localAliases: bucket.localAliases.map(({ keyId, alias }) => ({ accessKeyId: keyId, alias })),
      })),
    async 'bucket.listInfo'(page) {
      const buckets = await bucketsOf(model, page)
      const infos: BucketInfo[] = new Array(buckets.length)
      await eachLimited([...buckets.entries()], INFOS_IN_FLIGHT, async ([i, bucket]) => {
        infos[i] = await bucketInfo(model, bucket)
      })
      return infos
    },
    'bucket.info': async (query) => bucketInfo(model, await findBucket(model, query)),

    'bucket.create': (args) => createBucket(model, args),

    async 'bucket.delete'({ id }) {
      const bucket = await bucketById(model, id)
      if (!(await model.versionListing.isEmpty(bucket.id))) {
        throw new CarportError(
          'Conflict',
          `bucket ${bucket.aliases[0] ?? id} is not empty: delete its objects first, with all their versions`,
        )
      }
      if (!(await model.k2v.isEmpty(bucket.id))) {
        throw new CarportError('Conflict', `bucket ${bucket.aliases[0] ?? id} is not empty: it has K2V items`)
      }
      await model.uploads.endAll(bucket.id)
      await model.buckets.delete(bucket)
      return null
    },

    async 'bucket.update'({ id, ...update }) {
      const bucket = await bucketById(model, id)
      await applyUpdate(context, bucket, update)
      return infoOf(id)
    },

    'bucket.settings': async ({ id }) => settingsOf(await bucketById(model, id)),

    async 'bucket.updateSettings'({ id, ...update }) {
      await applySettings(context, await bucketById(model, id), update)
      return settingsOf(await bucketById(model, id))
    },

    'bucket.dropMarkers': async ({ id, start }) => dropMarkers(model, await bucketById(model, id), start),

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

/** A part of all buckets. The offset may be any text: ids are compared with it as texts. */
async function bucketsOf({ buckets }: Model, page: ListPage): Promise<Bucket[]> {
  const from = page.offset ?? ''
  const digits = /^[0-9a-f]*/.exec(from)![0]
  async function* walk() {
    for await (const bucket of buckets.walk(Buffer.from(digits.slice(0, digits.length & ~1), 'hex'))) {
      if (bucket.hexId >= from) yield bucket
    }
  }
  return pageOf(walk(), page)
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

/**
 * Makes a bucket. With an id that the caller chose, the call may be repeated: a bucket that has that id, and the names
 * that are asked for, is returned as it is.
 * @throws CarportError Conflict if a name is another bucket's, or the id is taken
 */
async function createBucket(
  model: Model,
  { id: chosenId, globalAlias, localAlias }: OperationArgs<'bucket.create'>,
): Promise<BucketInfo> {
  const key = localAlias ? await keyById(model, localAlias.accessKeyId) : undefined
  // Checked before anything is made, so that a bad name leaves nothing behind.
  if (localAlias) model.buckets.checkName(localAlias.alias)
  const id = chosenId === undefined ? undefined : Buffer.from(chosenId, 'hex')
  const existing = id && (await model.buckets.refresh(id))
  const isNamed =
    existing &&
    (!globalAlias || (await model.buckets.byName(globalAlias, undefined))?.hexId === existing.hexId)
  const localTarget = localAlias && key?.localAliases.get(localAlias.alias)
  if (existing && isNamed && (!localAlias || localTarget === existing.hexId)) {
    return bucketInfo(model, existing)
  }
  if (id) await model.buckets.checkUnusedId(id)
  if (localAlias && localTarget) {
    throw new CarportError('Conflict', `bucket name ${localAlias.alias} is taken for key ${key!.id}`)
  }
  const bucket = globalAlias
    ? await model.buckets.create(globalAlias, { ...(id && { id }) })
    : await model.buckets.createUnnamed(id)
  if (localAlias && key) {
    await model.buckets.addLocalAlias(bucket, key.id, localAlias.alias)
    const permissions = { ...NO_PERMISSIONS, ...localAlias.allow }
    await model.keys.setPermissions(key.id, bucket.id, permissions)
  }
  return bucketInfo(model, await bucketById(model, bucket.hexId))
}
