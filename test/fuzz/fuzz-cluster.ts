import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { freePorts } from '../../bench/stores/server-process.js'
import type { LongestTurns } from './turn-probe.js'

const ADMIN_TOKEN = 'the-admin-token-of-the-fuzzers'
const REGION = 'us-east-1'
const ANSWER_MS_MAX = 60_000

/** What a process takes of the machine. */
export interface Resources {
  /** Undefined where there is no /proc. */
  rssMib: number | undefined
  descriptors: number | undefined
  /** The length of the database's file: it grows for ever when a reader is left open. */
  databaseMib: number
}

/** A node of the fuzzers in a process of its own. */
export class FuzzNode {
  /** Lines that a sound node does not log: errors, and what a crash leaves. */
  readonly errors: string[] = []
  readonly longest: LongestTurns = { wallMs: 0, cpuMs: 0, profiles: [] }
  #child: ChildProcess | undefined
  #isStopping = false

  constructor(
    readonly ports: { s3: number; rpc: number; web: number; admin: number; k2v: number },
    private readonly config: string,
    private readonly profileMs: number | undefined,
  ) {}

  get pid(): number {
    return this.#child!.pid!
  }

  async start(): Promise<void> {
    const root = packageRoot()
    const probe = join(root, 'dist/test/fuzz/turn-probe.js')
    const child = spawn(
      process.execPath,
      ['--import', probe, join(root, 'dist/src/cli/main.js'), 'server', '-c', this.config],
      {
        cwd: dirname(this.config),
        env: {
          PATH: process.env.PATH,
          CARPORT_LOG_FORMAT: 'text',
          ...(this.profileMs !== undefined && { TURN_PROFILE_MS: String(this.profileMs) }),
        },
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
        // Ctrl-C ends the fuzzers, which then ask the nodes for their figures.
        detached: true,
      },
    )
    this.#child = child
    child.on('exit', (code, signal) => {
      if (!this.#isStopping) this.errors.push(`the node ended: ${code ?? signal}`)
    })
    const lines: string[] = []
    const ready = new Promise<void>((resolve, reject) => {
      const onLine = (line: string) => {
        if (/\bready\b.*rpc=/.test(line)) resolve()
        if (lines.length < 100) lines.push(line)
        if (/^\S+ (ERROR|FATAL)\b/.test(line) || !/^\S+ (DEBUG|INFO|WARN)\b/.test(line))
          this.errors.push(line)
      }
      createInterface(child.stdout!).on('line', onLine)
      createInterface(child.stderr!).on('line', onLine)
      child.once('exit', () => reject(new Error(`a node ended at its start:\n${lines.join('\n')}`)))
    })
    await ready
    this.errors.length = 0
  }

  /** Reads the longest turns of the event loop since the last reading into `longest`, unless the node has ended. */
  async readTurns(): Promise<LongestTurns> {
    const child = this.#child!
    const over = new AbortController()
    const { signal } = over
    const none: LongestTurns = { wallMs: 0, cpuMs: 0, profiles: [] }
    if (!child.connected) return none
    const answered = (once(child, 'message', { signal }) as Promise<[LongestTurns]>).then(([told]) => told)
    const ended = once(child, 'disconnect', { signal }).then(() => none)
    // The one that is not waited for any more rejects.
    for (const promise of [answered, ended]) promise.catch(() => {})
    child.send('turns')
    const turns = await Promise.race([answered, ended])
    over.abort()
    this.longest.wallMs = Math.max(this.longest.wallMs, turns.wallMs)
    this.longest.cpuMs = Math.max(this.longest.cpuMs, turns.cpuMs)
    this.longest.profiles.push(...turns.profiles)
    return turns
  }

  resources(): Resources {
    const databaseMib = statSync(this.config.replace(/\.toml$/, '/meta/db/data.mdb')).size / 2 ** 20
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, 'latin1')
      return {
        rssMib: Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024,
        descriptors: readdirSync(`/proc/${this.pid}/fd`).length,
        databaseMib,
      }
    } catch {
      return { rssMib: undefined, descriptors: undefined, databaseMib }
    }
  }

  /** What requests have taken of the node's memory for them, in bytes, and how many wait for some. */
  async requestMemory(): Promise<{ bytes: number; waiting: number }> {
    const text = await this.#ask('GET', '/metrics')
    const figure = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
    return { bytes: figure('carport_request_memory_bytes'), waiting: figure('carport_requests_waiting') }
  }

  /** Calls an endpoint of the admin API. @throws Error with its answer if that is no success */
  async admin<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    const text = await this.#ask(method, path, body)
    return text === '' ? (undefined as T) : (JSON.parse(text) as T)
  }

  async #ask(method: 'GET' | 'POST', path: string, body?: unknown): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.ports.admin}${path}`, {
      method,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
}

/** Nodes that the fuzzers talk to, each with all of its ports, in a folder that goes away with them. */
export class FuzzCluster {
  static readonly adminToken = ADMIN_TOKEN
  readonly nodes: FuzzNode[] = []
  readonly dir = mkdtempSync(join(tmpdir(), 'carport-fuzz-'))

  /** Starts as many nodes, each in a zone of its own, and lays them out. */
  static async start(count: number, options: { profileMs?: number } = {}): Promise<FuzzCluster> {
    const cluster = new FuzzCluster()
    const free = await freePorts(count * 5)
    for (let i = 0; i < count; i++) {
      const [s3, rpc, web, admin, k2v] = free.slice(i * 5) as [number, number, number, number, number]
      const ports = { s3, rpc, web, admin, k2v }
      const config = join(cluster.dir, `n${i}.toml`)
      writeFileSync(config, configText(`${cluster.dir}/n${i}`, ports, count), {
        mode: 0o600,
      })
      cluster.nodes.push(new FuzzNode(ports, config, options.profileMs))
    }
    try {
      await Promise.all(cluster.nodes.map((node) => node.start()))
      await cluster.#layOut()
    } catch (error) {
      await cluster.dispose()
      throw error
    }
    return cluster
  }

  get first(): FuzzNode {
    return this.nodes[0]!
  }

  async #layOut(): Promise<void> {
    const ids: string[] = []
    for (const node of this.nodes) {
      const { success } = await node.admin<{ success: Record<string, unknown> }>(
        'GET',
        '/v2/GetNodeInfo?node=self',
      )
      ids.push(Object.keys(success)[0]!)
    }
    const others = this.nodes.slice(1).map((node, i) => `${ids[i + 1]}@127.0.0.1:${node.ports.rpc}`)
    if (others.length > 0) await this.first.admin('POST', '/v2/ConnectClusterNodes', others)
    const roles = ids.map((id, i) => ({ id, zone: `z${i}`, capacity: 1e12, tags: [] }))
    await this.first.admin('POST', '/v2/UpdateClusterLayout', { roles })
    await this.first.admin('POST', '/v2/ApplyClusterLayout', { version: 1 })
    for (const node of this.nodes) await healthy(node)
  }

  async dispose(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
    rmSync(this.dir, { recursive: true, force: true })
  }
}

async function healthy(node: FuzzNode): Promise<void> {
  for (const endMs = Date.now() + ANSWER_MS_MAX; Date.now() < endMs; ) {
    const { status } = await node.admin<{ status: string }>('GET', '/v2/GetClusterHealth')
    if (status === 'healthy') return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error('the cluster does not become healthy')
}

function packageRoot(): string {
  let dir = import.meta.dirname
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir)
  return dir
}

function configText(dir: string, ports: FuzzNode['ports'], copies: number): string {
  return `metadata_dir = "${dir}/meta"
data_dir = "${dir}/data"
metadata_fsync = false
data_fsync = false
replication_factor = ${copies}
rpc_bind_addr = "127.0.0.1:${ports.rpc}"
rpc_public_addr = "127.0.0.1:${ports.rpc}"
rpc_secret = "${'5a'.repeat(32)}"
sse_master_key = "${'07'.repeat(32)}"
[s3_api]
api_bind_addr = "127.0.0.1:${ports.s3}"
s3_region = "${REGION}"
root_domain = ".s3.localhost"
[k2v_api]
api_bind_addr = "127.0.0.1:${ports.k2v}"
[s3_web]
bind_addr = "127.0.0.1:${ports.web}"
root_domain = ".web.localhost"
[admin]
api_bind_addr = "127.0.0.1:${ports.admin}"
admin_token = "${ADMIN_TOKEN}"
metrics_token = "${ADMIN_TOKEN}"
[oidc.p]
issuer = "http://127.0.0.1:9"
audience = "a"
jwks_uri = "http://127.0.0.1:9/keys"
[[oidc.p.roles]]
name = "x"
value = "*"
access_key = "GKx"
`
}
