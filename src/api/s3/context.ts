import type { MasterKeys } from '../../model/content/ciphers.js'
import type { Model } from '../../model/model.js'
import type { Clock } from '../../util/clock.js'
import type { Log } from '../../util/log.js'
import type { Random } from '../../util/random.js'
import type { Shadows } from './shadow/shadows.js'
import type { SignatureVerifier } from './signature/verifier.js'

/** The context of the handlers of the S3 API. */
export interface S3Context {
  model: Model
  clock: Clock
  random: Random
  log: Log
  /** The region of the configuration. */
  region: string
  /** The master keys of SSE-S3; without any, SSE-S3 is refused. */
  masterKeys: MasterKeys
  /** Whether storage classes other than STANDARD are taken, and told back. */
  acceptStorageClasses: boolean
  /** Whose the names are that CreateBucket gives: everybody's, or the calling key's alone. */
  bucketNamespace: 'global' | 'local'
  /** Reads through to the sources of shadow buckets. */
  shadows?: Shadows
  /** Verifies the signatures of POST forms. */
  verifier: SignatureVerifier
}
