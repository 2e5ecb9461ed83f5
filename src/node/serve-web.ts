import { TrustedProxies } from '../api/http/trusted-proxies.js'
import type { Config } from '../config/config.js'
import { MasterKeys } from '../model/content/ciphers.js'
import { createWebFront } from '../web/front.js'
import type { Core } from './core.js'
import { type ServeDeps, type Serving, serveHttp } from './serve-http.js'

/** Serves buckets as web sites; undefined if the configuration says that they are not. @throws as `serveHttp` */
export async function serveWeb(
  config: Config,
  { model }: Core,
  deps: ServeDeps,
): Promise<Serving | undefined> {
  if (!config.web) return undefined
  const { bindAddr, rootDomain, pageCacheBytesMax, tls } = config.web
  const { clock, random, log, accessLog, admission } = deps
  const front = createWebFront({
    ...{ clock, random, log, model, rootDomain, admission },
    memory: model.blobs.memory,
    cacheBytesMax: pageCacheBytesMax,
    masterKeys: new MasterKeys(config.secrets.sseMasterKeys.map((key) => Buffer.from(key, 'hex'))),
    trustedProxies: new TrustedProxies(config.trustedProxies),
    ...accessLog.of('web'),
    ...(deps.clientIdleMs !== undefined && { idleTimeoutMs: deps.clientIdleMs }),
  })
  return serveHttp(front, bindAddr, deps, tls && { files: tls, http2: true })
}
