import type { Answer } from '../http/answer.js'
import type { HttpRequest } from '../http/request.js'
import type { ConsoleSettings } from './settings.js'

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

/** Finds a file by its path below /console/. */
export type FindAsset = (path: string) => Promise<Asset | undefined>

/** The path of the page itself: every address of the console that is no file. */
const PAGE = 'index.html'

/**
 * Scripts and requests come from this origin alone, but for the identity providers that the page asks for tokens; styles may
 * stand in elements, as libraries of widgets set them.
 */
const headersFor = ({ providers }: ConsoleSettings) => ({
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    'media-src blob:',
    'frame-src blob:',
    "font-src 'self'",
    ["connect-src 'self'", ...new Set(providers.map(({ issuer }) => new URL(issuer).origin))].join(' '),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
})

/** A page or file of the console. `path` is what follows /console/. */
export async function consoleAnswer(
  request: Pick<HttpRequest, 'headers'>,
  path: string,
  find: FindAsset,
  settings: ConsoleSettings,
): Promise<Answer> {
  const all = headersFor(settings)
  if (path === 'settings.json') {
    const headers = { ...all, 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }
    return { status: 200, headers, body: JSON.stringify(settings) }
  }
  const isFile = /\.\w+$/.test(path)
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
