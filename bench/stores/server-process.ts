import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { RawS3, type Target } from '../load/raw-s3.js'

const run = promisify(execFile)
const running = new Set<ChildProcess>()
const ANSWER_MS_MAX = 60_000

// However this process ends, the servers that it started end with it.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A server that the benchmark starts; its output goes to a file. */
export class ServerProcess {
  #child: ChildProcess | undefined

  constructor(
    private readonly command: readonly string[],
    private readonly env: NodeJS.ProcessEnv,
    readonly logFile: string,
  ) {}

  get pid(): number | undefined {
    return this.#child?.exitCode === null && this.#child.signalCode === null ? this.#child.pid : undefined
  }

  /** @returns when the process was started, as performance.now() */
  start(): number {
    const log = openSync(this.logFile, 'a')
    const [program, ...args] = this.command
    const startedMs = performance.now()
    const child = spawn(program!, args, {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...this.env },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    child.on('error', () => {})
    this.#child = child
    running.add(child)
    child.on('exit', () => running.delete(child))
    return startedMs
  }

  /** Sends a signal to the server, and waits for its end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (!child || this.pid === undefined) return
    const exited = once(child, 'exit')
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), 35_000)
    await exited
    clearTimeout(timer)
  }

  /** Resolves when the server answers HTTP requests there. @throws Error with the end of its output if it dies */
  untilAnswering(url: string): Promise<void> {
    return this.#until(`answer at ${url}`, () => answers(url))
  }

  /** Resolves when a signed GET of `path` succeeds. @throws Error with the end of its output if it dies */
  async untilServing(target: Target, path = '/'): Promise<void> {
    const s3 = new RawS3(target, 1)
    let problem = ''
    const serves = () =>
      s3.request('GET', path).then(
        () => true,
        (error: Error) => {
          problem = error.message
          return false
        },
      )
    try {
      await this.#until(`serve ${target.endpoint}`, serves, () => problem)
    } finally {
      s3.close()
    }
  }

  async #until(what: string, look: () => Promise<boolean>, problem = () => ''): Promise<void> {
    const deadline = performance.now() + ANSWER_MS_MAX
    while (performance.now() < deadline) {
      if (this.pid === undefined) throw new Error(`${this.command.join(' ')} ended: ${this.lastWords()}`)
      if (await look()) return
      await delay(5)
    }
    throw new Error(`${this.command.join(' ')} did not ${what}: ${problem()} ${this.lastWords()}`)
  }

  private lastWords(): string {
    const lines = readFileSync(this.logFile, 'utf8').trim().split('\n')
    return lines.slice(-3).join(' | ') || 'no output'
  }
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get(url, { agent: false, timeout: 2000 }, (response) => {
      response.resume()
      resolve(true)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Calls a function until it gives an answer. @throws Error naming `what` after `timeoutMs` */
export async function until(
  what: string,
  timeoutMs: number,
  look: () => boolean | Promise<boolean>,
  everyMs = 200,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  let last: unknown
  while (performance.now() < deadline) {
    try {
      if (await look()) return
      last = undefined
    } catch (error) {
      last = error
    }
    await delay(everyMs)
  }
  const reason = last instanceof Error ? `: ${last.message}` : ''
  throw new Error(`waited ${Math.round(timeoutMs / 1000)} s in vain for ${what}${reason}`)
}

/** Runs a command and returns its output; `timeoutMs` 0 is no limit. @throws Error with the last line of its stderr */
export async function output(
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
  timeoutMs = 120_000,
): Promise<string> {
  const [program, ...args] = command
  try {
    const { stdout } = await run(program!, args, {
      env: { PATH: process.env.PATH, ...env },
      timeout: timeoutMs,
    })
    return stdout
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string }
    const reason = stderr?.trim().split('\n').at(-1) || message.split('\n')[0]
    throw new Error(`${command.join(' ')}: ${reason}`)
  }
}

/** Finds ports of loopback that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
