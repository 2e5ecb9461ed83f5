import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** The folders of src, lowest first: a file imports from its own layer and from those before it. */
const LAYERS = 'util crdt db net cluster table block model config api web migrate platform node cli'.split(
  ' ',
)
/** These layers meet the real world. All others get Clock, Random, Disk, Db and Transport as parameters. */
const REAL_WORLD = ['platform', 'node', 'cli']
const LINES_MAX = 399

/** Modules of Node that compute without reading anything; of two others, the names that do so too. */
const PURE = ['node:buffer', 'node:events', 'node:path', 'node:stream', 'node:util', 'node:zlib']
const PURE_NAMES: Record<string, RegExp> = {
  'node:crypto': /^(?!random|generate|webcrypto|getRandom|createECDH|.*DiffieHellman)/,
  'node:net': /^(isIP|BlockList)/,
}
const AMBIENT = /\b(Date\.now|Math\.random|process\.(?!nextTick\b)\w+|new Date(\(\)|(?!\()\b)|[^.]Date\(\))/g
/** Each file outside of those layers that still takes a module of the real world, and why. */
const EXCEPTIONS: Record<string, string[]> = {
  // LMDB is the one implementation of Db for real disks: it makes its folder, extends its file ahead, and syncs it.
  'db/lmdb.ts': ['node:fs', 'node:fs/promises'],
  'db/lmdb-check.ts': ['node:fs'],
  'db/lmdb-room.ts': ['node:fs'],
  // TLS is the one implementation of Transport for real networks: one file dials, one listens.
  'net/dial.ts': ['node:tls'],
  'net/listener.ts': ['node:net', 'node:tls'],
}

const src = join(import.meta.dirname, '../src')
/** The console runs in a browser, and clients anywhere: they belong to no layer. */
const CONSOLE = 'console'
const CLIENT = 'client'
const files = (readdirSync(src, { recursive: true }) as string[]).filter(
  (file) => file.endsWith('.ts') && ![CONSOLE, CLIENT].includes(file.split('/')[0]!),
)
const sources = files.filter((file) => !file.endsWith('.test.ts')).sort()
const text = new Map(sources.map((file) => [file, readFileSync(join(src, file), 'utf8')]))

/** The imports of a file, type imports included; `names` is all between `import` and `from`. */
function imports(file: string): { target: string; names: string }[] {
  const statements = /^(?:import|export)\s(?:([\w\s{},*$]+?)\sfrom\s)?'([^']+)'|\bimport\('([^']+)'\)/gm
  return [...text.get(file)!.matchAll(statements)].map(([, names = '', fixed, dynamic]) => {
    const target = fixed ?? dynamic!
    return {
      names,
      target: target.startsWith('.') ? join(file, '..', target).replace(/\.js$/, '.ts') : target,
    }
  })
}

const layer = (file: string) => LAYERS.indexOf(file.split('/')[0]!)

/** Whether an import takes nothing that meets the real world: only types, or names that compute. */
function isHarmless({ target, names }: { target: string; names: string }): boolean {
  if (!target.startsWith('node:') || PURE.includes(target) || names.startsWith('type ')) return true
  if (!names.startsWith('{')) return false
  const taken = [...names.matchAll(/(type )?(\w+)(?: as \w+)?/g)]
  return taken.every(([, type, name]) => type || PURE_NAMES[target]?.test(name!))
}

test('every folder of src is a layer, and the imports between files are found', () => {
  expect(readdirSync(src).sort()).toEqual([...LAYERS, CONSOLE, CLIENT].sort())
  expect(imports('db/lmdb.ts').map(({ target }) => target)).toContain('db/db.ts')
  expect(sources.flatMap(imports).filter(({ target }) => target.endsWith('.ts')).length).toBeGreaterThan(1000)
})

test('sources import only from their own layer and from those below it, and nothing from outside of src', () => {
  const upwards = sources.flatMap((file) =>
    imports(file)
      .filter(({ target }) => target.endsWith('.ts'))
      .filter(({ target }) => !text.has(target) || layer(target) > layer(file))
      .map(({ target }) => `${file} → ${target}`),
  )
  expect(upwards).toEqual([])
})

test('time, randomness, environment, sockets and files are read only in platform, node and cli', () => {
  const taken = sources
    .filter((file) => !REAL_WORLD.includes(file.split('/')[0]!))
    .map((file) => {
      const modules = imports(file).filter((statement) => !isHarmless(statement))
      const code = text.get(file)!.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
      return [file, [...modules.map(({ target }) => target), ...(code.match(AMBIENT) ?? [])]] as const
    })
  expect(Object.fromEntries(taken.filter(([, found]) => found.length > 0))).toEqual(EXCEPTIONS)
})

test(`no source has more than ${LINES_MAX} lines`, () => {
  const lines = (file: string) => text.get(file)!.split('\n').length - 1
  const long = sources.filter((file) => lines(file) > LINES_MAX)
  expect(long.map((file) => `${file}: ${lines(file)}`)).toEqual([])
})

/** Modules outside of the console that run in browsers as they are. */
const SHARED = ['../api/admin/rates.js', '../client/sign.js']

test('the console takes nothing but types, and what computes alone, from the node, and its files can be read in one sitting', () => {
  const folder = join(src, CONSOLE)
  const pages = (readdirSync(folder, { recursive: true }) as string[]).filter((file) => /\.tsx?$/.test(file))
  expect(pages.length).toBeGreaterThan(10)
  for (const page of pages) {
    const code = readFileSync(join(folder, page), 'utf8')
    expect([page, code.split('\n').length <= LINES_MAX]).toEqual([page, true])
    const upwards = [...code.matchAll(/^import (type )?.*from '((?:\.\.\/)+)[^']+'/gm)].filter(
      ([, , up]) => page.split('/').length - 1 < up!.length / 3,
    )
    expect(
      upwards
        .filter(([line, type]) => !type && !SHARED.some((module) => line.includes(module)))
        .map(([line]) => `${page}: ${line}`),
    ).toEqual([])
  }
})

test('clients take nothing but their own files and the hashes, which run in browsers', () => {
  const folder = join(src, CLIENT)
  const modules = (readdirSync(folder) as string[]).filter((file) => file.endsWith('.ts'))
  expect(modules).toContain('k2v.ts')
  for (const file of modules) {
    const code = readFileSync(join(folder, file), 'utf8')
    expect([file, code.split('\n').length <= LINES_MAX]).toEqual([file, true])
    const targets = [...code.matchAll(/\b(?:from|import) ?\(?'([^']+)'/g)].map(([, target]) => target!)
    expect(targets.filter((target) => !/^(\.\/[\w-]+\.js|@noble\/hashes\/.*)$/.test(target))).toEqual([])
  }
})
