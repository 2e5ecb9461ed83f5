import { readFileSync } from 'node:fs'

/** The program's version, of the package this file belongs to. */
export function readVersion(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    try {
      const text = readFileSync(new URL('package.json', folder), 'utf8')
      const { name, version } = JSON.parse(text) as { name?: unknown; version?: unknown }
      if (name === 'carport' && typeof version === 'string') return version
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    }
    if (folder.pathname === '/') return 'unknown'
  }
}
