import type { AccessKey } from '../../model/buckets/access-keys.js'
import type { Clock } from '../../util/clock.js'
import type { SecretLookup, SecretOfSession } from '../s3/signature/verifier.js'
import type { Sessions } from './sessions.js'

/** The part of AccessKeys that is needed. */
export interface KeyLookup {
  /** The key as far as this node may tell by itself; others are asked first where it may not. */
  find(id: string): AccessKey | undefined | Promise<AccessKey | undefined>
  /** The key as a majority knows it. */
  refresh(id: string): Promise<AccessKey | undefined>
}

/**
 * The secrets of access keys and of temporary ones. A key that was deleted or has expired has none, nor have
 * the temporary keys that were issued for it. A session token is never ignored: together with an ordinary key
 * it is refused.
 */
export function secretLookup(deps: { keys: KeyLookup; sessions: Sessions; clock: Clock }): SecretLookup {
  const { keys, sessions, clock } = deps
  const isValid = (key: AccessKey) => key.expiresMs === undefined || key.expiresMs > clock.nowMs()
  /** What `use` makes of a valid key; undefined if there is none, which a majority is asked about before. */
  const withKey = <T>(id: string, use: (key: AccessKey) => T): T | undefined | Promise<T | undefined> => {
    const asked = async () => {
      const key = await keys.refresh(id)
      return key && isValid(key) ? use(key) : undefined
    }
    const judge = (key: AccessKey | undefined) => {
      if (!key) return undefined
      // Perhaps somebody has just made it last longer.
      return isValid(key) ? use(key) : asked()
    }
    const known = keys.find(id)
    return known instanceof Promise ? known.then(judge) : judge(known)
  }
  return (keyId, sessionToken) => {
    if (sessionToken === undefined) return withKey(keyId, (key) => key.secret)
    const opened: SecretOfSession = sessions.open(keyId, sessionToken, clock.nowMs())
    return withKey(opened.session.parentKeyId, () => opened)
  }
}
