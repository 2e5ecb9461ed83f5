import type { HttpFront } from '../api/http/front.js'
import { TrustedProxies } from '../api/http/trusted-proxies.js'
import { corsHooks } from '../api/s3/buckets/cors-hooks.js'
import { createS3Front } from '../api/s3/front.js'
import { s3Handlers } from '../api/s3/handlers.js'
import type { S3Request } from '../api/s3/request.js'
import { SignatureVerifier } from '../api/s3/signature/verifier.js'
import { createStsFront } from '../api/sts/assume-role.js'
import { secretLookup } from '../api/sts/secret-lookup.js'
import { Sessions } from '../api/sts/sessions.js'
import { WebIdentityVerifier } from '../api/sts/web-identity.js'
import type { Config } from '../config/config.js'
import { MasterKeys } from '../model/content/ciphers.js'
import type { NodeIdentity } from '../net/identity.js'
import { systemHttpGet } from '../platform/http-get.js'
import { streamCall } from '../platform/stream-call.js'
import { CarportError } from '../util/errors.js'
import type { Core } from './core.js'
import { type ServeDeps, type Serving, serveHttp } from './serve-http.js'

/** A connection to the source of a shadow bucket on which nothing moves for so long is broken, in ms. */
export const SHADOW_IDLE_MS = 30_000

export interface S3Served {
  readonly front: HttpFront<S3Request>
  readonly serving: Serving
  /** Verifies tokens of the identity providers; undefined if there are none. */
  readonly verifier: WebIdentityVerifier | undefined
}

interface S3Deps extends ServeDeps {
  readonly identity: NodeIdentity
}

/**
 * Serves the S3 API where the configuration wants it.
 * @throws CarportError when the address cannot be had
 */
export async function serveS3(
  config: Config,
  { cluster, model, parts }: Core,
  deps: S3Deps,
): Promise<S3Served | undefined> {
  const { bindAddr, region, rootDomain, acceptSignatureV2, acceptStorageClasses, bucketNamespace, tls } =
    config.s3Api
  if (!bindAddr) return undefined
  const { random, log, accessLog, admission } = deps
  const { peers } = parts.hlc
  // Requests are signed with the right time, which the machine's clock may not show.
  const { clock } = peers
  const { keys } = model
  const sessions = new Sessions(Buffer.from(config.secrets.rpcSecret, 'hex'), random)
  const secretOf = secretLookup({ keys, sessions, clock })
  const verifier =
    config.oidc.length > 0
      ? new WebIdentityVerifier(config.oidc, { clock, log, get: systemHttpGet })
      : undefined
  const sts = verifier && createStsFront({ clock, log, keys, sessions, verifier })
  const front = createS3Front({
    clock,
    random,
    log,
    region,
    rootDomains: rootDomain === null ? [] : [rootDomain],
    secretOf,
    acceptSignatureV2,
    handlers: s3Handlers({
      ...{ model, clock, random, log, region, acceptStorageClasses, bucketNamespace },
      masterKeys: new MasterKeys(config.secrets.sseMasterKeys.map((key) => Buffer.from(key, 'hex'))),
      shadows: { call: streamCall(SHADOW_IDLE_MS), keeping: new Map() },
      verifier: new SignatureVerifier({ service: 's3', region, secretOf, acceptV2: acceptSignatureV2 }),
    }),
    hostId: deps.identity.nodeId.slice(0, 16),
    cors: corsHooks(model),
    checkServing: () => {
      if (cluster.layout.view.mayCoordinate) return
      throw new CarportError('LayoutNotReady', 'this node has no role in a cluster layout')
    },
    checkWritable: () => peers.checkMayStamp(),
    ...(sts && { sts }),
    trustedProxies: new TrustedProxies(config.trustedProxies),
    admission,
    memory: model.blobs.memory,
    ...accessLog.of('s3'),
    ...(deps.clientIdleMs !== undefined && { idleTimeoutMs: deps.clientIdleMs }),
  })
  const serving = await serveHttp(front, bindAddr, deps, tls && { files: tls, http2: false })
  return { front, serving, verifier }
}
