import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePorts } from '../../bench/stores/server-process.js'

/**
 * The command that starts the program: the compiled one, which `npm test` builds first, or the executable that
 * CARPORT_TEST_EXECUTABLE names (vitest.executable.config.ts).
 */
export const PROGRAM: readonly [string, ...string[]] = process.env.CARPORT_TEST_EXECUTABLE
  ? [process.env.CARPORT_TEST_EXECUTABLE]
  : [process.execPath, join(import.meta.dirname, '../../dist/src/cli/main.js')]

const run = promisify(execFile)

export interface SinglePorts {
  s3: number
  rpc: number
  web: number
  admin: number
  k2v: number
}

/** The environment of a single node on free ports, with that key and bucket made at its start; K2V only where it is wanted. */
export async function singleNodeEnv(
  made: { credentials?: { accessKeyId: string; secretAccessKey: string }; bucket?: string } = {},
  hasK2v = false,
): Promise<{ env: NodeJS.ProcessEnv; ports: SinglePorts }> {
  const [s3, rpc, web, admin, k2v] = (await freePorts(5)) as [number, number, number, number, number]
  const at = (port: number) => `127.0.0.1:${port}`
  const { credentials, bucket } = made
  const env = {
    PATH: process.env.PATH,
    CARPORT_S3_BIND_ADDR: at(s3),
    CARPORT_RPC_BIND_ADDR: at(rpc),
    CARPORT_WEB_BIND_ADDR: at(web),
    CARPORT_ADMIN_BIND_ADDR: at(admin),
    ...(hasK2v && { CARPORT_K2V_BIND_ADDR: at(k2v) }),
    ...(credentials && {
      CARPORT_DEFAULT_ACCESS_KEY: credentials.accessKeyId,
      CARPORT_DEFAULT_SECRET_KEY: credentials.secretAccessKey,
    }),
    ...(bucket !== undefined && { CARPORT_DEFAULT_BUCKET: bucket }),
  }
  return { env, ports: { s3, rpc, web, admin, k2v } }
}

/** A node in a process of its own. */
export class NodeProcess {
  #child: ChildProcess | undefined
  output = ''

  constructor(
    readonly args: readonly string[],
    readonly env: NodeJS.ProcessEnv,
    readonly cwd: string,
    /** The command that starts the program; a change counts from the next start. */
    public program: readonly [string, ...string[]] = PROGRAM,
  ) {}

  get pid(): number {
    return this.#child!.pid!
  }

  /** Resolves when the node says that it is ready; rejects with its output when it ends before. */
  start(): Promise<void> {
    const [command, ...first] = this.program
    const child = spawn(command, [...first, ...this.args], {
      cwd: this.cwd,
      env: { CARPORT_LOG_FORMAT: 'text', ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.output = ''
    return new Promise((resolve, reject) => {
      const onData = (data: Buffer) => {
        this.output += data
        if (/\bready\b.*rpc=|"message":"ready"/.test(this.output)) resolve()
      }
      child.stdout!.on('data', onData)
      child.stderr!.on('data', onData)
      child.on('exit', (code, signal) => reject(new Error(`node ended (${code ?? signal}):\n${this.output}`)))
    })
  }

  /** Ends the process and waits for its end; resolves with its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const ended = once(child, 'exit')
    child.kill(signal)
    const [code] = await ended
    return code as number | null
  }
}

/** Several nodes from configuration files, on loopback, in a folder that goes away with them. */
export class ProcessCluster {
  readonly dir = mkdtempSync(join(tmpdir(), 'carport-cluster-'))
  readonly nodes: NodeProcess[] = []
  readonly s3Ports: number[] = []
  readonly rpcPorts: number[] = []
  readonly adminPorts: number[] = []
  /** Where the nodes say that they are to be reached by each other: their own RPC ports, unless there is something between. */
  readonly publicPorts: number[] = []
  readonly #configs: string[] = []

  /**
   * Writes the configuration files; nodes are in zones z1, z2, … in turn.
   * @param more lines for the section [admin], and further sections
   * @param top lines for the top of each file
   * @param isProxied whether nodes reach each other by other ports, where the caller listens and passes on
   */
  static async create(
    count: number,
    replicationFactor: number,
    more: string | ((node: number) => string) = '',
    top = '',
    isProxied = false,
  ): Promise<ProcessCluster> {
    const cluster = new ProcessCluster()
    const ports = await freePorts(count * 4)
    for (let i = 0; i < count; i++) {
      const [s3, rpc, admin, proxy] = ports.slice(i * 4)
      const publicPort = isProxied ? proxy : rpc
      const config = join(cluster.dir, `n${i}.toml`)
      writeFileSync(
        config,
        `metadata_dir = "${cluster.dir}/n${i}/meta"
data_dir = "${cluster.dir}/n${i}/data"
replication_factor = ${replicationFactor}
rpc_bind_addr = "127.0.0.1:${rpc}"
rpc_public_addr = "127.0.0.1:${publicPort}"
rpc_secret = "${'5a'.repeat(32)}"
${top}
[s3_api]
api_bind_addr = "127.0.0.1:${s3}"
s3_region = "garage"
root_domain = ".s3.localhost"
[admin]
api_bind_addr = "127.0.0.1:${admin}"
${typeof more === 'string' ? more : more(i)}
`,
      )
      cluster.#configs.push(config)
      cluster.s3Ports.push(s3!)
      cluster.rpcPorts.push(rpc!)
      cluster.adminPorts.push(admin!)
      cluster.publicPorts.push(publicPort!)
      cluster.nodes.push(new NodeProcess(['server', '-c', config], { PATH: process.env.PATH }, cluster.dir))
    }
    return cluster
  }

  endpoint(i: number): string {
    return `http://127.0.0.1:${this.s3Ports[i]}`
  }

  /** Runs a command of the command line against node `i`; resolves with its output. */
  async cli(i: number, ...args: string[]): Promise<string> {
    const [command, ...first] = PROGRAM
    const { stdout } = await run(command, [...first, '-c', this.#configs[i]!, ...args], {
      env: { PATH: process.env.PATH },
    })
    return stdout
  }

  /**
   * Starts all nodes, connects them and lays them out, one zone each.
   * @param onSpawned called when all processes are there, before they know each other
   */
  async startAndLayOut(onSpawned?: () => Promise<void>): Promise<void> {
    const starting = Promise.all(this.nodes.map((node) => node.start()))
    await onSpawned?.()
    await starting
    const ids: string[] = []
    for (let i = 0; i < this.nodes.length; i++) ids.push((await this.cli(i, 'node', 'id', '-q')).trim())
    for (const id of ids.slice(1)) await this.cli(0, 'node', 'connect', id)
    for (const [i, id] of ids.entries()) {
      await this.cli(0, 'layout', 'assign', '-z', `z${i + 1}`, '-c', '10G', id.split('@')[0]!)
    }
    await this.cli(0, 'layout', 'apply', '--version', '1')
  }

  /** Makes a key that may create buckets. */
  async createKey(name: string): Promise<{ accessKeyId: string; secretAccessKey: string }> {
    const { accessKeyId, secretAccessKey } = JSON.parse(
      await this.cli(0, 'key', 'create', name, '--json'),
    ) as {
      accessKeyId: string
      secretAccessKey: string
    }
    await this.cli(0, 'key', 'allow', '--create-bucket', accessKeyId)
    return { accessKeyId, secretAccessKey }
  }

  async dispose(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop('SIGKILL')))
    rmSync(this.dir, { recursive: true, force: true })
  }
}
