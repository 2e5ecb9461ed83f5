/**
 * `npm run package -- [TARGET…]`: makes Carport one file that needs no Node.js, as a single executable application of
 * Node, for each target or for the platform on which this runs. The files and their checksums come to dist/executable.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { bundleProgram } from './bundle.js'
import { expectPlatform } from './inspect.js'
import { fetchPackage, lockedPackages } from './registry.js'
import { ADDONS, addonFile, NODE_VERSION, TARGETS, type Target } from './targets.js'

const root = join(import.meta.dirname, '../../..')
const dist = join(root, 'dist')
const output = join(dist, 'executable')
const cache = join(root, 'node_modules/.cache/carport-executable')
const locked = lockedPackages(root)

const here = `${process.platform}-${process.arch}`
const names = process.argv.length > 2 ? process.argv.slice(2) : [here]
const unknown = names.filter((name) => !Object.hasOwn(TARGETS, name))
if (unknown.length > 0) {
  process.stderr.write(`no target ${unknown.join(', ')}: there are ${Object.keys(TARGETS).join(', ')}\n`)
  process.exit(1)
}

mkdirSync(output, { recursive: true })
const work = mkdtempSync(join(output, 'work-'))
try {
  const script = join(work, 'carport.mjs')
  writeFileSync(script, await bundleProgram(dist))
  const files = names.map((name) => makeExecutable(name, TARGETS[name]!, script))
  // Those of other targets, made before, stay listed.
  const all = readdirSync(output).filter((name) => name.startsWith('carport-'))
  const sums = all.sort().map((name) => `${sha256(join(output, name))}  ${name}\n`)
  writeFileSync(join(output, 'SHA256SUMS'), sums.join(''))
  for (const file of files) {
    process.stdout.write(`${file} ${(statSync(file).size / 1e6).toFixed(1)} MB\n`)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}

/** Returns the path of the file. */
function makeExecutable(name: string, target: Target, script: string): string {
  const assets: Record<string, string> = { 'addons.json': join(work, `addons-${name}.json`) }
  for (const path of readdirSync(join(dist, 'console'), { recursive: true, encoding: 'utf8' })) {
    const file = join(dist, 'console', path)
    if (statSync(file).isFile()) assets[`console/${path}`] = file
  }
  const hashes: Record<string, string> = {}
  for (const addon of ADDONS) {
    const { name: packageName, file } = addonFile(addon, target)
    const { version, integrity } = locked[`node_modules/${packageName}`]!
    const path = join(fetchPackage(cache, packageName, version, integrity!), file)
    expectPlatform(path, target)
    assets[`${addon}.node`] = path
    hashes[addon] = sha256(path)
  }
  writeFileSync(assets['addons.json']!, JSON.stringify(hashes))
  const made = join(work, `carport-${name}`)
  const config = join(work, `${name}.json`)
  writeFileSync(
    config,
    JSON.stringify({
      main: script,
      mainFormat: 'module',
      executable: nodeFor(target),
      output: made,
      disableExperimentalSEAWarning: true,
      assets,
    }),
  )
  // The program that prepares the file has to be of the version that goes into it.
  execFileSync(nodeFor(TARGETS[here]!), ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] })
  chmodSync(made, 0o755)
  expectPlatform(made, target)
  // Renamed, since one that runs cannot be written over.
  const file = join(output, basename(made))
  renameSync(made, file)
  return file
}

function nodeFor(target: Target): string {
  const { name, integrity } = target.node
  const path = join(fetchPackage(cache, name, NODE_VERSION, integrity), 'bin/node')
  expectPlatform(path, target)
  return path
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
