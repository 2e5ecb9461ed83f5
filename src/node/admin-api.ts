import type { NodeFacts } from '../api/admin/handlers/context.js'
import type { AdminService } from '../api/admin/serve.js'
import type { AdminTokenInfo } from '../api/admin/types.js'
import { mountS3 } from '../api/console/mount-s3.js'
import type { HttpFrontOptions } from '../api/http/front.js'
import type { Config } from '../config/config.js'
import { consoleFiles } from '../platform/console-files.js'
import { readConsoleFile } from '../platform/console-folder.js'
import type { Core } from './core.js'
import type { Metrics } from './metrics/metrics.js'
import { type Serving, serveHttp } from './serve-http.js'
import type { S3Served } from './serve-s3.js'

/** What the configuration and the program say of this node, for the admin API. */
export function nodeFacts({ s3Api, k2vApi, secrets }: Config): NodeFacts {
  const configured = (name: string, scope: string[]): AdminTokenInfo => ({
    id: null,
    name: `${name} (from the configuration)`,
    created: null,
    expiration: null,
    expired: false,
    scope,
  })
  return {
    runtime: `Node.js ${process.versions.node}`,
    connectionParameters: {
      region: s3Api.region,
      s3Endpoint: s3Api.publicEndpoint,
      s3UsePathStyle: s3Api.publicEndpointPathStyle,
      k2vEndpoint: k2vApi?.publicEndpoint ?? null,
    },
    canEncrypt: secrets.sseMasterKeys.length > 0,
    configuredTokens: [
      ...(secrets.adminToken === null ? [] : [configured('admin_token', ['*'])]),
      ...(secrets.metricsToken === null ? [] : [configured('metrics_token', ['Metrics'])]),
    ],
  }
}

/**
 * Serves the admin API over HTTP where the configuration wants it; loads it only then.
 * @throws CarportError when the address cannot be had
 */
export async function serveAdminApi(
  config: Config,
  core: Core,
  admin: AdminService,
  metrics: Metrics | undefined,
  options: HttpFrontOptions,
  s3: S3Served | undefined,
  version: string,
): Promise<Serving | undefined> {
  const { bindAddr, metricsRequireToken, tls } = config.admin
  if (!bindAddr) return undefined
  const [{ createAdminFront }, { Authorizer }] = await Promise.all([
    import('../api/admin/http/front.js'),
    import('../api/admin/http/authorize.js'),
  ])
  const { model, cluster, quorum } = core
  const { adminToken, metricsToken } = config.secrets
  const { publicEndpoint, region } = config.s3Api
  const front = createAdminFront({
    ...options,
    mount: s3 && mountS3(s3.front),
    console: {
      find: consoleFiles(readConsoleFile),
      settings: { version, region, s3Endpoint: publicEndpoint, s3Port: s3?.serving.listening.port ?? null },
    },
    self: quorum.self,
    region: config.s3Api.region,
    domains: { s3Root: config.s3Api.rootDomain, webRoot: config.web?.rootDomain ?? null },
    model,
    authorizer: new Authorizer({
      clock: options.clock,
      tokens: model.adminTokens,
      ...{ adminToken, metricsToken, metricsRequireToken },
    }),
    configuredTokens: nodeFacts(config).configuredTokens,
    health: () => cluster.health(),
    load: () => admin.load(),
    ...(metrics && { metrics: () => metrics.text() }),
  })
  return serveHttp(front, bindAddr, options, tls && { files: tls, http2: false })
}
