import type { AdminToken, AdminTokenChanges } from '../../../model/buckets/admin-tokens.js'
import { CarportError } from '../../../util/errors.js'
import type { AdminTokenUpdate } from '../operation-schemas.js'
import type { AdminHandlers } from '../operations.js'
import type { AdminTokenInfo } from '../types.js'
import type { AdminContext } from './context.js'
import { findToken, isoTime, tokenById } from './lookup.js'

type TokenHandlers = Pick<AdminHandlers, Extract<keyof AdminHandlers, `adminToken.${string}`>>

const NAME = 'Unnamed token'

/** Handlers of the operations on tokens of the admin API. */
export function tokenHandlers({ model, clock, api }: AdminContext): TokenHandlers {
  const { adminTokens } = model
  const info = (token: AdminToken) => tokenInfo(token, clock.nowMs())
  return {
    async 'adminToken.list'() {
      const found = [...api.configuredTokens]
      for await (const token of adminTokens.walk()) found.push(info(token))
      return found
    },
    'adminToken.info': async (query) => info(await findToken(model, query)),
    async 'adminToken.create'(update) {
      const { name = NAME, expiresMs = null, scope = [] } = changesOf(update)
      const { token, text } = await adminTokens.create({ name, expiresMs, scope })
      return { ...info(token), secretToken: text }
    },
    async 'adminToken.update'({ id, ...update }) {
      const token = await tokenById(model, id)
      const changes = changesOf(update)
      return info(Object.keys(changes).length > 0 ? await adminTokens.change(token.id, changes) : token)
    },
    async 'adminToken.delete'({ id }) {
      await adminTokens.delete((await tokenById(model, id)).id)
      return null
    },
  }
}

/** Everything about a token but its secret, of which only a hash is kept. */
export function tokenInfo(token: AdminToken, nowMs: number): AdminTokenInfo {
  const { id, name, createdMs, expiresMs, scope } = token
  return {
    id,
    name,
    created: isoTime(createdMs),
    expiration: expiresMs === undefined ? null : isoTime(expiresMs),
    expired: expiresMs !== undefined && nowMs >= expiresMs,
    scope: [...scope],
  }
}

/** @throws CarportError InvalidArgument */
function changesOf({ name, expiration, neverExpires, scope }: AdminTokenUpdate): AdminTokenChanges {
  if (expiration && neverExpires) {
    throw new CarportError('InvalidArgument', 'give one of expiration and neverExpires')
  }
  return {
    ...(typeof name === 'string' && { name }),
    ...(expiration && { expiresMs: Date.parse(expiration) }),
    ...(neverExpires && { expiresMs: null }),
    ...(scope && { scope }),
  }
}
