import { TrustedProxies } from '../api/http/trusted-proxies.js'
import { createK2vFront } from '../api/k2v/front.js'
import { secretLookup } from '../api/sts/secret-lookup.js'
import { Sessions } from '../api/sts/sessions.js'
import type { Config } from '../config/config.js'
import type { Core } from './core.js'
import { type ServeDeps, type Serving, serveHttp } from './serve-http.js'

/** Serves the K2V API; undefined if the configuration says that it is not. @throws as `serveHttp` */
export async function serveK2v(
  config: Config,
  { model, parts }: Core,
  deps: ServeDeps,
): Promise<Serving | undefined> {
  if (!config.k2vApi) return undefined
  const { bindAddr, tls } = config.k2vApi
  const { random, log, accessLog, admission } = deps
  const { peers } = parts.hlc
  const sessions = new Sessions(Buffer.from(config.secrets.rpcSecret, 'hex'), random)
  const secretOf = secretLookup({ keys: model.keys, sessions, clock: peers.clock })
  const front = createK2vFront({
    // Requests are signed with the right time, which the machine's clock may not show.
    ...{ clock: peers.clock, random, log, model, secretOf, admission },
    region: config.s3Api.region,
    checkWritable: () => peers.checkMayStamp(),
    memory: model.blobs.memory,
    trustedProxies: new TrustedProxies(config.trustedProxies),
    ...accessLog.of('k2v'),
    ...(deps.clientIdleMs !== undefined && { idleTimeoutMs: deps.clientIdleMs }),
  })
  const serving = await serveHttp(front, bindAddr, deps, tls && { files: tls, http2: false })
  return {
    listening: serving.listening,
    stop() {
      // Nobody waits for minutes on a node that is about to stop.
      model.k2vPolls.stop()
      return serving.stop()
    },
  }
}
