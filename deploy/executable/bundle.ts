import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Plugin, rolldown } from 'rolldown'
import type { Addon } from './targets.js'

/** Modules that find their native part in node_modules; the one file has it inside. */
const NATIVE: Readonly<Record<string, Addon>> = { '@node-rs/crc32': 'crc32', './bindings': 'zstd' }
const VIRTUAL = '\0carport:'
/** V8 keeps the script in memory: without blanks it is half as long. Names stay, for the sake of stack traces. */
const MINIFY = { compress: true, mangle: false, codegen: { removeWhitespace: true } }

/**
 * Makes one script of the built program and its dependencies. Modules that are imported when they are needed are still
 * evaluated only then.
 * @param dist the folder with the built program
 */
export async function bundleProgram(dist: string): Promise<string> {
  const worker = await bundle(join(dist, 'src/platform/hash-worker.js'), 'cjs', [])
  return bundle(join(dist, 'src/cli/main.js'), 'esm', [ownModules(dist, worker), nativeModules(dist)])
}

async function bundle(input: string, format: 'esm' | 'cjs', plugins: Plugin[]): Promise<string> {
  const warnings: string[] = []
  const build = await rolldown({
    input,
    plugins,
    platform: 'node',
    external: (id) => id.startsWith('node:'),
    // What cannot be resolved now would be missed only at run time.
    onLog(level, log) {
      if (level === 'warn' && log.code === 'UNRESOLVED_IMPORT') warnings.push(log.message)
    },
  })
  const { output } = await build.generate({
    format,
    codeSplitting: false,
    minify: MINIFY,
    comments: { legal: true },
  })
  await build.close()
  if (warnings.length > 0) throw new Error(warnings.join('\n'))
  if (output.length !== 1) throw new Error(`${input} became ${output.length} files`)
  return withoutWideCharacters(output[0].code)
}

/**
 * Writes characters beyond Latin-1 as escapes, which a script may have in strings, templates and regular expressions: a
 * single one elsewhere would make V8 keep the script with two bytes a character.
 */
function withoutWideCharacters(code: string): string {
  return code.replace(/[^\0-\xff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Replaces the modules that read files beside them. */
function ownModules(dist: string, worker: string): Plugin {
  const { version } = JSON.parse(readFileSync(join(dist, '../package.json'), 'utf8')) as { version: string }
  const own: Record<string, string> = {
    [join(dist, 'src/node/version.js')]: `export const readVersion = () => ${JSON.stringify(version)}`,
    [join(dist, 'src/platform/hash-thread.js')]: `import { Worker } from 'node:worker_threads'
      const source = ${JSON.stringify(worker)}
      export const startHashThread = () => new Worker(source, { eval: true })`,
    [join(dist, 'src/platform/console-folder.js')]: `import { getAssetKeys, getRawAsset } from 'node:sea'
      const names = new Set(getAssetKeys())
      export const readConsoleFile = async (path) =>
        names.has('console/' + path) ? Buffer.from(getRawAsset('console/' + path)) : undefined`,
  }
  const replaced = new Set<string>()
  return {
    name: 'own-modules',
    load(id) {
      const code = own[id]
      if (code !== undefined) replaced.add(id)
      return code
    },
    buildEnd(error) {
      const missed = Object.keys(own).filter((id) => !replaced.has(id))
      if (!error && missed.length > 0) throw new Error(`not part of the program: ${missed.join(', ')}`)
    },
  }
}

/** Replaces the loaders of native modules. */
function nativeModules(dist: string): Plugin {
  const loader = JSON.stringify(join(dist, 'deploy/executable/load-addon.js'))
  const importLoader = `import { loadAddon } from ${loader}\n`
  return {
    name: 'native-modules',
    resolveId(id, importer) {
      const addon = NATIVE[id]
      if (addon && (id[0] !== '.' || importer?.includes('@mongodb-js/zstd'))) return `${VIRTUAL}${addon}`
      // lmdb is the only one of its importers that is bundled: msgpackr-extract is replaced as a whole.
      return id === 'node-gyp-build-optional-packages' ? `${VIRTUAL}lmdb` : undefined
    },
    load(id) {
      if (!id.startsWith(VIRTUAL)) return undefined
      const addon = id.slice(VIRTUAL.length) as Addon
      const load = `loadAddon(${JSON.stringify(addon)})`
      if (addon === 'lmdb') return `${importLoader}export default () => ${load}`
      const names = addon === 'crc32' ? ['crc32', 'crc32c'] : ['compress', 'decompress']
      return `${importLoader}const addon = ${load}\nexport const { ${names.join(', ')} } = addon`
    },
    transform(code, id) {
      if (!id.endsWith('/msgpackr/node-index.js')) return undefined
      const condition = "typeof require == 'function'"
      const call = "createRequire(import.meta.url)('msgpackr-extract')"
      if (!code.includes(condition) || !code.includes(call)) throw new Error(`${id} is not as expected`)
      return importLoader + code.replace(condition, 'false').replace(call, "loadAddon('msgpackr-extract')")
    },
  }
}
