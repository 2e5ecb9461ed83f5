/**
 * Gets applications from package registries by their ordinary clients, into a folder that later runs use again:
 * `CARPORT_APPS_DIR`, or `carport-apps` in the user's cache.
 */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const CACHE =
  process.env.CARPORT_APPS_DIR ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'carport-apps')

/** Whether only what is quick to install and to run is wanted: CARPORT_APPS_BRIEF. */
export const BRIEF = process.env.CARPORT_APPS_BRIEF !== undefined

/** Until when applications are installed and tests begin, in milliseconds since 1970: CARPORT_APPS_UNTIL_MS, or for ever. */
const UNTIL_MS = Number(process.env.CARPORT_APPS_UNTIL_MS ?? Number.POSITIVE_INFINITY)

/** How long installing one application may take. */
const INSTALL_MS_MAX = 900_000

/** Why no more tests are to begin, or undefined. */
export function timeIsUp(): string | undefined {
  return Date.now() > UNTIL_MS ? 'the time for applications is used up' : undefined
}

/** What an application needs, or why it cannot be had here. */
export type Installed<T> = { tools: T; reason?: undefined } | { tools?: undefined; reason: string }

/** Installs an application before its tests are collected; a failure is the reason for which they are skipped. */
export async function installed<T>(install: () => Promise<T>): Promise<Installed<T>> {
  const late = timeIsUp()
  if (late) return { reason: late }
  try {
    return { tools: await install() }
  } catch (error) {
    const { message, stderr } = error as Error & { stderr?: string }
    const last = (stderr || message).trim().split('\n').at(-1)!
    return { reason: `cannot be had here: ${last.slice(0, 200)}` }
  }
}

async function command(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd?: string,
): Promise<void> {
  await run(file, args, {
    cwd,
    env: { ...process.env, ...env },
    timeout: Math.max(1, Math.min(INSTALL_MS_MAX, UNTIL_MS - Date.now())),
    maxBuffer: 1 << 26,
  })
}

/** The path of a program that the machine has. @throws Error when it has none */
export function onPath(program: string): string {
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path))
  if (!found) throw new Error(`no program ${program}`)
  return found
}

/** A program of a Debian package, which root may install. @throws Error when neither is there */
export async function fromApt(program: string, name = program): Promise<string> {
  try {
    return onPath(program)
  } catch {
    await packageOfApt(name)
  }
  return onPath(program)
}

/**
 * A program of a Debian package that needs nothing beside itself: unpacked, not installed, so that no service of the
 * package begins to run.
 */
export async function fromDeb(program: string, name = program): Promise<string> {
  const folder = join(CACHE, name)
  await once(folder, name, async () => {
    const download = () => command('apt-get', ['download', '-qq', name], {}, folder)
    await download().catch(async () => {
      await command('apt-get', ['update', '-qq'])
      await download()
    })
    const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'))!
    await command('dpkg-deb', ['-x', join(folder, file), folder])
  })
  return join(folder, 'usr/bin', program)
}

/** Installs a Debian package, unless it is there. @throws Error when it cannot */
export async function packageOfApt(name: string): Promise<void> {
  try {
    await command('dpkg', ['-s', name])
    return
  } catch {
    if (BRIEF) throw new Error(`no package ${name}`)
    if (process.getuid?.() !== 0) throw new Error(`no package ${name}, and only root can install one`)
  }
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
  await command('apt-get', ['update', '-qq'], quiet)
  await command('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], quiet)
}

/** The folder of programs of a virtual environment with those Python packages, given as pip takes them. */
export async function fromPip(name: string, packages: readonly string[]): Promise<string> {
  const folder = join(CACHE, name)
  const bin = join(folder, process.platform === 'win32' ? 'Scripts' : 'bin')
  await once(folder, packages.join(' '), async () => {
    await command('python3', ['-m', 'venv', folder])
    await command(join(bin, 'pip'), ['install', '-q', '--disable-pip-version-check', ...packages])
  })
  return bin
}

/** A program that `go install` builds. @param module a main package with its version, as `go install` takes it */
export async function goInstall(name: string, module: string): Promise<string> {
  if (BRIEF) throw new Error('building it takes too long')
  const folder = join(CACHE, name)
  await once(folder, module, () => command('go', ['install', '-buildvcs=false', module], { GOBIN: folder }))
  return join(folder, name)
}

/**
 * A program whose module replaces others, which `go install` refuses: built in a module that has the same replacements.
 * @param module a main package with its version
 * @param replacements as `go mod edit -replace` takes them
 */
export async function goInstallWith(
  name: string,
  module: string,
  replacements: readonly string[],
): Promise<string> {
  if (BRIEF) throw new Error('building it takes too long')
  const folder = join(CACHE, name)
  await once(folder, [module, ...replacements].join(' '), async () => {
    writeFileSync(join(folder, 'go.mod'), `module carport/${name}\n`)
    const edits = replacements.map((replacement) => `-replace=${replacement}`)
    await command('go', ['-C', folder, 'mod', 'edit', ...edits])
    await command('go', ['-C', folder, 'get', module])
    const [main] = module.split('@') as [string]
    await command('go', ['-C', folder, 'build', '-mod=mod', '-buildvcs=false', '-o', name, main])
  })
  return join(folder, name)
}

/**
 * A program of this project, built by Go with modules that it imports.
 * @param source its one file
 * @param modules what it needs, with versions, as `go get` takes them
 */
export async function goBuild(name: string, source: string, modules: readonly string[]): Promise<string> {
  if (BRIEF) throw new Error('building it takes too long')
  const folder = join(CACHE, name)
  await once(folder, modules.join(' '), async () => {
    writeFileSync(join(folder, 'go.mod'), `module ${name}\n`)
    await command('go', ['-C', folder, 'get', ...modules])
  })
  copyFileSync(source, join(folder, 'main.go'))
  await command('go', ['-C', folder, 'build', '-mod=mod', '-buildvcs=false', '-o', name, '.'])
  return join(folder, name)
}

/** The folder `node_modules` with those npm packages, given as npm takes them. */
export async function fromNpm(name: string, packages: readonly string[]): Promise<string> {
  const folder = join(CACHE, name)
  await once(folder, packages.join(' '), async () => {
    writeFileSync(join(folder, 'package.json'), '{"private":true}')
    await command('npm', ['install', '--no-audit', '--no-fund', '--prefix', folder, ...packages])
  })
  return join(folder, 'node_modules')
}

/** Installs into a folder, unless the same was installed there before. */
async function once(folder: string, what: string, install: () => Promise<void>): Promise<void> {
  const done = join(folder, `.installed-${Buffer.from(what).toString('hex').slice(-64)}`)
  if (existsSync(done)) return
  mkdirSync(folder, { recursive: true })
  await install()
  writeFileSync(done, what)
}
