import type { AccessKey } from '../../model/buckets/access-keys.js'
import type { Clock } from '../../util/clock.js'
import type { SecretLookup, SecretOfSession } from '../s3/signature/verifier.js'
import type { Sessions } from './sessions.js'

/** The part of AccessKeys that is needed. */
export interface KeyLookup {
  /** The key as this node knows it. */
  local(id: string): AccessKey | undefined
  /** The key; a node that does not know it asks others. */
  get(id: string): Promise<AccessKey | undefined>
}

/**
 * The secrets of access keys and of temporary ones. A key that was deleted or has expired has none, nor have
 * the temporary keys that were issued for it. A session token is never ignored: together with an ordinary key
 * it is refused.
 */
export function secretLookup(deps: { keys: KeyLookup; sessions: Sessions; clock: Clock }): SecretLookup {
  const { keys, sessions, clock } = deps
  const valid = (key: AccessKey | undefined) =>
    key?.expiresMs !== undefined && key.expiresMs <= clock.nowMs() ? undefined : key
  return (keyId, sessionToken) => {
    if (sessionToken === undefined) {
      const known = keys.local(keyId)
      return known ? valid(known)?.secret : keys.get(keyId).then((key) => valid(key)?.secret)
    }
    const opened: SecretOfSession = sessions.open(keyId, sessionToken, clock.nowMs())
    const { parentKeyId } = opened.session
    const parent = keys.local(parentKeyId)
    if (parent) return valid(parent) && opened
    return keys.get(parentKeyId).then((key) => valid(key) && opened)
  }
}
