/** Takes configurations from docs/apps, so that what the pages tell to paste is what was run. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Home } from './store.js'

/** What all pages call the store, the key and the bucket. */
const EXAMPLE = {
  endpoint: 'http://127.0.0.1:3900',
  region: 'us-east-1',
  accessKeyId: 'GK0123456789abcdef01234567',
  secretAccessKey: '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
  bucket: 'my-bucket',
} as const

/**
 * A code block of a page, for a bucket of a test.
 * @param language of the block, as after its backquotes; the first such block counts
 * @param more other texts of the block, and what stands for them
 * @throws Error when the page has no such block, or the block has not what is to be replaced
 */
export function pasted(
  page: string,
  language: string,
  home: Home,
  more: Record<string, string> = {},
): string {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/apps', page), 'utf8')
  const block = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'ms').exec(text)?.[1]
  if (block === undefined) throw new Error(`${page} has no block of ${language}`)
  if (!block.includes(EXAMPLE.bucket)) throw new Error(`the block of ${language} in ${page} names no bucket`)
  const replaced: [string, string][] = [
    [EXAMPLE.secretAccessKey, home.secretAccessKey],
    [EXAMPLE.accessKeyId, home.accessKeyId],
    [EXAMPLE.endpoint, home.endpoint],
    [EXAMPLE.endpoint.slice('http://'.length), home.endpoint.slice('http://'.length)],
    [EXAMPLE.region, home.region],
    [EXAMPLE.bucket, home.bucket],
  ]
  for (const [from, to] of Object.entries(more)) {
    if (!block.includes(from)) throw new Error(`the block of ${language} in ${page} has no ${from}`)
    replaced.push([from, to])
  }
  return replaced.reduce((made, [from, to]) => made.replaceAll(from, to), block)
}

/** The variables that the first shell block of a page exports. */
export function exported(
  page: string,
  home: Home,
  more: Record<string, string> = {},
): Record<string, string> {
  const lines = pasted(page, 'sh', home, more).matchAll(/^export (\w+)=(.*)$/gm)
  return Object.fromEntries([...lines].map(([, name, value]) => [name!, value!.replace(/^'(.*)'$/, '$1')]))
}
