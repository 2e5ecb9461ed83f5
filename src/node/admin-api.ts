import type { NodeFacts } from '../api/admin/handlers/context.js'
import type { AdminFrontOptions } from '../api/admin/http/front.js'
import type { AdminService } from '../api/admin/serve.js'
import type { AdminTokenInfo } from '../api/admin/types.js'
import { mountS3 } from '../api/console/mount-s3.js'
import type { ConsoleSettings } from '../api/console/settings.js'
import type { HttpFrontOptions } from '../api/http/front.js'
import type { AdminSessions } from '../api/sts/admin-sessions.js'
import { Discoveries } from '../api/sts/discovery.js'
import type { Config, TlsFiles } from '../config/config.js'
import type { ListenAddress } from '../config/values.js'
import { EVERY_OPERATION } from '../model/buckets/admin-tokens.js'
import { consoleFiles } from '../platform/console-files.js'
import { readConsoleFile } from '../platform/console-folder.js'
import { systemHttpGet } from '../platform/http-get.js'
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

/** What the admin API and the console are made of, beside the node's core. */
interface AdminParts {
  readonly admin: AdminService
  readonly metrics: Metrics | undefined
  readonly s3: S3Served | undefined
  readonly version: string
}

/**
 * Serves the admin API over HTTP, and the console, where the configuration wants them; loads them only then. The console has
 * the admin API beside it wherever it is.
 * @param onServing called for each port when it is open
 * @throws CarportError when an address cannot be had
 */
export async function serveAdminApi(
  config: Config,
  core: Core,
  parts: AdminParts,
  options: HttpFrontOptions,
  onServing: (serving: Serving) => void,
): Promise<{ adminApi?: Serving; console?: Serving }> {
  const { admin, console } = config
  if (!admin.bindAddr && !console.bindAddr) return {}
  const [{ createAdminFront }, { Authorizer }] = await Promise.all([
    import('../api/admin/http/front.js'),
    import('../api/admin/http/authorize.js'),
  ])
  const { model, cluster, quorum } = core
  const { s3, metrics } = parts
  const { adminToken, metricsToken } = config.secrets
  const sessions = await adminSessions(config, core, s3, options)
  const { metricsRequireToken } = admin
  const shared: AdminFrontOptions = {
    ...options,
    self: quorum.self,
    region: config.s3Api.region,
    domains: { s3Root: config.s3Api.rootDomain, webRoot: config.web?.rootDomain ?? null },
    model,
    authorizer: new Authorizer({
      clock: options.clock,
      tokens: model.adminTokens,
      ...{ adminToken, metricsToken, metricsRequireToken, sessions },
    }),
    configuredTokens: nodeFacts(config).configuredTokens,
    health: () => cluster.health(),
    load: () => parts.admin.load(),
    ...(metrics && { metrics: () => metrics.text() }),
  }
  const withConsole = {
    ...shared,
    mount: s3 && mountS3(s3.front),
    console: {
      find: consoleFiles(readConsoleFile),
      settings: consoleSettings(config, parts, options),
      sessions,
    },
  }
  const serve = async (front: AdminFrontOptions, address: ListenAddress, tls: TlsFiles | null) => {
    const serving = await serveHttp(
      createAdminFront(front),
      address,
      options,
      tls && { files: tls, http2: false },
    )
    onServing(serving)
    return serving
  }
  const isConsoleHere = console.enabled && console.bindAddr === null
  const adminApi = admin.bindAddr
    ? await serve(isConsoleHere ? withConsole : shared, admin.bindAddr, admin.tls)
    : undefined
  const own = console.bindAddr
    ? await serve({ ...withConsole, isForConsole: true }, console.bindAddr, console.tls)
    : undefined
  const consoleServing = isConsoleHere ? adminApi : own
  return { ...(adminApi && { adminApi }), ...(consoleServing && { console: consoleServing }) }
}

/** The sessions of administrators who sign in with an identity provider; undefined if no role in the configuration has rights. */
async function adminSessions(
  { oidc, secrets }: Config,
  { model }: Core,
  s3: S3Served | undefined,
  { clock, random, log }: HttpFrontOptions,
): Promise<AdminSessions | undefined> {
  const scopes = oidc.flatMap(({ console, roles }) =>
    console ? roles.flatMap((role) => role.adminScope) : [],
  )
  if (scopes.length === 0 || !s3?.verifier) return undefined
  const { AdminSessions } = await import('../api/sts/admin-sessions.js')
  const { isScopeName } = await import('../api/admin/http/endpoints.js')
  const unknown = scopes.filter((name) => name !== EVERY_OPERATION && !isScopeName(name))
  if (unknown.length > 0) log.warn({ unknown }, 'admin_scope names endpoints that there are not')
  const { verifier } = s3
  return new AdminSessions(Buffer.from(secrets.rpcSecret, 'hex'), {
    ...{ clock, random, log, keys: model.keys, providers: oidc },
    verify: (token) => verifier.verify(token),
  })
}

/** What the page learns before sign-in; none of it is secret. The providers' discovery documents are requested at once. */
function consoleSettings(
  { s3Api, oidc }: Config,
  { s3, version }: AdminParts,
  { clock, log }: HttpFrontOptions,
): () => Promise<ConsoleSettings> {
  const offered = oidc.flatMap(({ name, issuer, console, roles }) => {
    if (!s3 || !console) return []
    const hasAdmins = roles.some(({ adminScope }) => adminScope.length > 0)
    return { name, issuer, ...console, roles: roles.flatMap((role) => role.name ?? []), hasAdmins }
  })
  const discoveries = new Discoveries(offered, { clock, log, get: systemHttpGet })
  for (const { issuer } of offered) void discoveries.of(issuer)
  return async () => ({
    ...{ version, region: s3Api.region, s3Endpoint: s3Api.publicEndpoint },
    s3Port: s3?.serving.listening.port ?? null,
    providers: await Promise.all(
      offered.map(async (each) => ({ ...each, metadata: (await discoveries.of(each.issuer)) ?? null })),
    ),
  })
}
