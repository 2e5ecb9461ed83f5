import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type { Asset, FindAsset } from '../api/console/assets.js'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
}

/** The folder of the built console: beside the program, or in dist/ when its sources run. */
export function consoleFolder(): string {
  const beside = join(import.meta.dirname, '../../console')
  return existsSync(join(beside, 'index.html')) ? beside : join(import.meta.dirname, '../../dist/console')
}

/** Reads the console's files when they are asked for, and keeps them: some hundred KiB. */
export function consoleFiles(folder: string): FindAsset {
  const known = new Map<string, Asset>()
  return async (path) => {
    const kept = known.get(path)
    if (kept) return kept
    if (!/^[\w-]+(\/[\w-]+)*\.\w+$/.test(path)) return undefined
    const body = await readFile(join(folder, path)).catch(() => undefined)
    const contentType = TYPES[extname(path)]
    if (!body || contentType === undefined) return undefined
    const brotli = await readFile(join(folder, `${path}.br`)).catch(() => undefined)
    const asset: Asset = {
      ...{ contentType, body, ...(brotli && { brotli }) },
      etag: `"${createHash('sha256').update(body).digest('hex').slice(0, 32)}"`,
      isImmutable: path.startsWith('assets/'),
    }
    known.set(path, asset)
    return asset
  }
}
