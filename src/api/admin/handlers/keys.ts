import type { AccessKey } from '../../../model/buckets/access-keys.js'
import type { Model } from '../../../model/model.js'
import { CarportError } from '../../../util/errors.js'
import { eachLimited } from '../../../util/limited.js'
import type { KeyUpdate } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import type { KeyInfo } from '../types.js'
import type { AdminContext } from './context.js'
import { findKey, isoTime, keyById, pageOf } from './lookup.js'

type KeyHandlers = Pick<AdminHandlers, Extract<keyof AdminHandlers, `key.${string}`>>

const NAME = 'Unnamed key'
/** Keys whose buckets are looked up at the same time. */
const INFOS_IN_FLIGHT = 16

/** Handlers of the operations on access keys. */
export function keyHandlers({ model, clock }: AdminContext): KeyHandlers {
  const info = (key: AccessKey, showSecret: boolean) => keyInfo(model, key, showSecret, clock.nowMs())
  return {
    'key.list': async (page) =>
      (await pageOf(model.keys.walk(page.offset), page)).map((key) => ({
        id: key.id,
        name: key.name,
        ...timesOf(key, clock.nowMs()),
      })),
    async 'key.listInfo'(page) {
      const keys = await pageOf(model.keys.walk(page.offset), page)
      const infos: KeyInfo[] = new Array(keys.length)
      await eachLimited([...keys.entries()], INFOS_IN_FLIGHT, async ([i, key]) => {
        infos[i] = await info(key, false)
      })
      return infos
    },
    'key.info': async (query) => info(await findKey(model, query), query.showSecretKey === true),

    async 'key.create'({ name, ...update }) {
      const changes = changesOf(update)
      const key = await model.keys.create(name ?? NAME)
      const changed = Object.keys(changes).length > 0 ? await model.keys.change(key.id, changes) : key
      return info(changed, true)
    },

    'key.import': async ({ accessKeyId, secretAccessKey, name }) =>
      info(await model.keys.import(accessKeyId, secretAccessKey, name ?? undefined), true),

    async 'key.update'({ id, ...update }) {
      const key = await keyById(model, id)
      const changes = changesOf(update)
      const changed = Object.keys(changes).length > 0 ? await model.keys.change(key.id, changes) : key
      return info(changed, false)
    },

    async 'key.delete'({ id }) {
      const key = await keyById(model, id)
      for (const [alias, hexId] of key.localAliases) {
        const bucket = await model.buckets.refresh(Buffer.from(hexId, 'hex'))
        if (bucket) await model.buckets.removeLocalAlias(bucket, key.id, alias)
      }
      await model.keys.delete(key.id)
      return null
    },
  }
}

/** The fields of the key that an update changes. @throws CarportError InvalidArgument */
function changesOf({ name, expiration, neverExpires, allow, deny }: KeyUpdate): Record<string, unknown> {
  if (expiration && neverExpires) {
    throw new CarportError('InvalidArgument', 'give one of expiration and neverExpires')
  }
  const changes: Record<string, unknown> = {}
  if (name !== undefined && name !== null) changes.name = name
  if (expiration) changes.expires = Date.parse(expiration)
  if (neverExpires) changes.expires = null
  if (allow?.createBucket) changes.createBucket = true
  if (deny?.createBucket) changes.createBucket = false
  return changes
}

function timesOf(key: AccessKey, nowMs: number): Pick<KeyInfo, 'created' | 'expiration' | 'expired'> {
  return {
    created: isoTime(key.createdMs),
    expiration: key.expiresMs === undefined ? null : isoTime(key.expiresMs),
    expired: key.expiresMs !== undefined && nowMs >= key.expiresMs,
  }
}

async function keyInfo(model: Model, key: AccessKey, showSecret: boolean, nowMs: number): Promise<KeyInfo> {
  const named = new Map<string, string[]>()
  for (const [alias, hexId] of key.localAliases) named.set(hexId, [...(named.get(hexId) ?? []), alias])
  const buckets: KeyInfo['buckets'] = []
  for (const hexId of new Set([...key.permissions.keys(), ...named.keys()])) {
    const bucket =
      model.buckets.byId(Buffer.from(hexId, 'hex')) ??
      (await model.buckets.refresh(Buffer.from(hexId, 'hex')))
    if (!bucket) continue
    const { read, write, owner } = key.permissions.get(hexId) ?? { read: false, write: false, owner: false }
    buckets.push({
      id: hexId,
      globalAliases: [...bucket.aliases],
      localAliases: named.get(hexId) ?? [],
      permissions: { read, write, owner },
    })
  }
  return {
    accessKeyId: key.id,
    name: key.name,
    ...timesOf(key, nowMs),
    secretAccessKey: showSecret ? key.secret : null,
    permissions: { createBucket: key.mayCreateBuckets },
    buckets,
  }
}
