import { createHash } from 'node:crypto'
import { extname } from 'node:path'
import type { Asset, FindAsset } from '../api/console/assets.js'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
}

/**
 * Reads the console's files when they are asked for, and keeps them: some hundred KiB.
 * @param read undefined: there is no such file
 */
export function consoleFiles(read: (path: string) => Promise<Buffer | undefined>): FindAsset {
  const known = new Map<string, Asset>()
  return async (path) => {
    const kept = known.get(path)
    if (kept) return kept
    if (!/^[\w-]+(\/[\w-]+)*\.\w+$/.test(path)) return undefined
    const body = await read(path)
    const contentType = TYPES[extname(path)]
    if (!body || contentType === undefined) return undefined
    const brotli = await read(`${path}.br`)
    const asset: Asset = {
      ...{ contentType, body, ...(brotli && { brotli }) },
      etag: `"${createHash('sha256').update(body).digest('hex').slice(0, 32)}"`,
      isImmutable: path.startsWith('assets/'),
    }
    known.set(path, asset)
    return asset
  }
}
