/** Runs commands and compares folders, as tests of applications do. */
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

const RUN_MS_MAX = 300_000

export interface Ended {
  /** Exit status, or null when the command was killed. */
  code: number | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: NodeJS.ProcessEnv
  cwd?: string
  /** What the command reads from its standard input. */
  input?: string
  /** Gets what the command has said so far, whenever it says more. */
  onSaid?: (stdout: string) => void
}

/** Runs a command to its end, whatever that is. */
export function attempt(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { env, cwd, input, onSaid } = options
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      {
        cwd,
        env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
        timeout: RUN_MS_MAX,
        killSignal: 'SIGKILL',
        maxBuffer: 1 << 28,
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        if (error && typeof error.code === 'string') reject(error)
        else resolve({ code, stdout, stderr })
      },
    )
    let said = ''
    child.stdout!.on('data', (text: string) => {
      said += text
      onSaid?.(said)
    })
    child.stdin!.on('error', () => {})
    child.stdin!.end(input ?? '')
  })
}

/** Runs a command that must succeed. @returns its standard output @throws Error with all that it said */
export async function must(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await attempt(program, args, options)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${code}\n${stdout}\n${stderr}`)
  return stdout
}

/**
 * Starts a command that would try for long, and interrupts it once it says something.
 * @throws Error when it ends without having said so
 */
export function untilSaid(
  program: string,
  args: readonly string[],
  { env, cwd }: RunOptions,
  pattern: RegExp,
): Promise<void> {
  const child = spawn(program, args, {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let matched = false
  const onData = (data: Buffer) => {
    said += data
    if (matched || !pattern.test(said)) return
    matched = true
    child.kill('SIGINT')
  }
  child.stdout.on('data', onData)
  child.stderr.on('data', onData)
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS_MAX)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => {
      clearTimeout(timer)
      if (matched) resolve()
      else reject(new Error(`${program} did not say ${pattern}: ${said}`))
    })
  })
}

/** A folder that goes away after the test. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'carport-apps-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Fills a folder with some small files, in folders and with odd names, and a large one. */
export function fillFolder(folder: string, { small = 40, largeBytes = 24 * 1024 * 1024 } = {}): void {
  for (let i = 0; i < small; i++) {
    const below = join(folder, `folder ${i % 5}`, `ü${i % 3}`)
    mkdirSync(below, { recursive: true })
    writeFileSync(join(below, `file+${i} ä&%.txt`), randomBytes(i * 50))
  }
  if (largeBytes > 0) writeFileSync(join(folder, 'large.bin'), randomBytes(largeBytes))
}

/** Each file of a folder with the SHA-256 of its content, to compare two folders. */
export function digests(folder: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    found[path.slice(folder.length + 1)] = createHash('sha256').update(readFileSync(path)).digest('hex')
  }
  return found
}
