import type { Answer } from '../http/answer.js'
import type { HttpRequest } from '../http/request.js'
import type { AdminSessions } from '../sts/admin-sessions.js'
import type { ConsoleProvider, ConsoleSettings } from './settings.js'

/** A file of the console. */
export interface Asset {
  readonly contentType: string
  readonly body: Buffer
  /** The same, compressed; absent for what does not get shorter. */
  readonly brotli?: Buffer
  readonly etag: string
  /** Whether its name changes with its content. */
  readonly isImmutable: boolean
}

/** What the console is made of. */
export interface ConsoleParts {
  readonly find: FindAsset
  /** What the page learns of the node; it may have to ask the identity providers first. */
  readonly settings: () => Promise<ConsoleSettings>
  /** Sessions of administrators who sign in with an identity provider; undefined where no role allows that. */
  readonly sessions: AdminSessions | undefined
}

/** Finds a file by its path below /console/. */
export type FindAsset = (path: string) => Promise<Asset | undefined>

/** The path of the page itself: every address of the console that is no file. */
const PAGE = 'index.html'

/**
 * Scripts and requests come from this origin alone, but for the token endpoints that the identity providers of the configuration
 * name: of each, the origin and nothing else. Styles may stand in elements, as libraries of widgets set them.
 */
const headersFor = (providers: readonly ConsoleProvider[]) => ({
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    'media-src blob:',
    'frame-src blob:',
    "font-src 'self'",
    ["connect-src 'self'", ...tokenOrigins(providers)].join(' '),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
})

function tokenOrigins(providers: readonly ConsoleProvider[]): Set<string> {
  return new Set(
    providers.flatMap(({ metadata }) =>
      metadata?.token_endpoint ? [new URL(metadata.token_endpoint).origin] : [],
    ),
  )
}

/** A page or file of the console. `path` is what follows /console/. */
export async function consoleAnswer(
  request: Pick<HttpRequest, 'headers'>,
  path: string,
  parts: ConsoleParts,
): Promise<Answer> {
  const { find } = parts
  const isFile = /\.\w+$/.test(path)
  if (path === 'settings.json') {
    const settings = await parts.settings()
    const all = headersFor(settings.providers)
    const headers = { ...all, 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }
    return { status: 200, headers, body: JSON.stringify(settings) }
  }
  // Policies of scripts and styles mean nothing: only the page waits for what providers say of themselves.
  const all = headersFor(isFile ? [] : (await parts.settings()).providers)
  const asset = await find(isFile ? path : PAGE)
  if (!asset) {
    const body = isFile
      ? 'There is no such file.\n'
      : 'This node was built without its console: npm run build\n'
    return { status: 404, headers: { ...all, 'Content-Type': 'text/plain; charset=utf-8' }, body }
  }
  const headers = {
    ...all,
    'Content-Type': asset.contentType,
    'Cache-Control': asset.isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache',
    ETag: asset.etag,
    Vary: 'Accept-Encoding',
  }
  if (request.headers['if-none-match'] === asset.etag) return { status: 304, headers }
  const { brotli } = asset
  if (!brotli || !/\bbr\b/.test(String(request.headers['accept-encoding'] ?? ''))) {
    return { status: 200, headers, body: asset.body }
  }
  return { status: 200, headers: { ...headers, 'Content-Encoding': 'br' }, body: brotli }
}
