import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'

/** The lock file's entry of a package, as far as it is used. */
interface Locked {
  version: string
  integrity?: string
}

/** The packages of other platforms are locked, too, although npm installs those of this one only. */
export function lockedPackages(root: string): Record<string, Locked> {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  return (JSON.parse(lock) as { packages: Record<string, Locked> }).packages
}

/**
 * Fetches a package by npm, verifies its checksum and returns the folder with its files. Packages are kept in `cache`.
 * @throws Error when the registry's package is not the one that is meant
 */
export function fetchPackage(cache: string, name: string, version: string, integrity: string): string {
  const folder = join(cache, `${name.replace('/', '+')}@${version}`)
  if (existsSync(folder)) return folder
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'fetch-'))
  try {
    const options = ['--json', '--ignore-scripts', '--pack-destination', work]
    const report = execFileSync('npm', ['pack', `${name}@${version}`, ...options], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 64 << 20,
    })
    const [packed] = JSON.parse(report) as [{ filename: string; integrity: string }]
    if (packed.integrity !== integrity) {
      throw new Error(`${name}@${version} has the checksum ${packed.integrity}, not ${integrity}`)
    }
    execFileSync('tar', ['-xzf', basename(packed.filename)], { cwd: work })
    renameSync(join(work, 'package'), folder)
    return folder
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
