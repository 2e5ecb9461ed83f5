import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NodeProcess, PROGRAM } from '../../support/processes.js'

/** A folder for blocks in a node's configuration; the path counts from the node's own folder. */
export interface DataFolder {
  path: string
  capacity?: string
  readOnly?: boolean
}

/** What a node's configuration says; a change counts from its next start. */
export interface NodeSettings {
  name: string
  zone: string
  /** The address that it listens on, and its ports. */
  host: string
  s3Port: number
  rpcPort: number
  adminPort: number
  /** Where K2V is served; nowhere unless told. */
  k2vPort?: number
  /** The command that starts the program of another release; today's unless told. */
  program?: readonly [string, ...string[]]
  /** What peers are told to dial, instead of address and port. */
  publicAddress?: string
  /** `[id@]host:port` of other nodes. */
  bootstrapPeers: readonly string[]
  dataFolders: readonly DataFolder[]
  replicationFactor: number
  /** Consul, where nodes find each other. */
  consulUrl?: string
  /** More lines for the top of the configuration. */
  top?: string
  /** More variables for the process. */
  env?: NodeJS.ProcessEnv
}

export const ADMIN_TOKEN = 'token-of-the-tests'
const SECRET = '5a'.repeat(32)

/** A node of the cluster whose life is told: its folder, its configuration, its process, its admin API. */
export class LifeNode {
  readonly dir: string
  readonly process: NodeProcess
  /** The node's id, known from its first start on. */
  id = ''
  running = false

  constructor(
    clusterDir: string,
    readonly settings: NodeSettings,
    env: NodeJS.ProcessEnv,
  ) {
    this.dir = join(clusterDir, settings.name)
    mkdirSync(this.dir, { recursive: true })
    this.process = new NodeProcess(
      ['server', '-c', this.config],
      { ...env, ...settings.env, CARPORT_LOG_FORMAT: 'text' },
      this.dir,
    )
  }

  get name(): string {
    return this.settings.name
  }

  get config(): string {
    return join(this.dir, 'carport.toml')
  }

  get endpoint(): string {
    return `http://${this.settings.host}:${this.settings.s3Port}`
  }

  folder(path: string): string {
    return join(this.dir, path)
  }

  async start(): Promise<void> {
    this.#writeConfig()
    this.process.program = this.settings.program ?? PROGRAM
    await this.process.start()
    this.running = true
    if (this.settings.program) return
    this.id = (
      await this.admin<{ nodes: { id: string; isUp: boolean; addr: string | null }[] }>('GetClusterStatus')
    ).nodes[0]!.id
  }

  /** Ends the process: by SIGTERM, which lets requests end, unless told. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.running = false
    await this.process.stop(signal)
  }

  /** Lets the node fetch blocks as fast as it can, as `carport worker set` does. */
  async hurry(): Promise<void> {
    await this.admin('SetWorkerVariable', { variable: 'resync-tranquility', value: '0' }, '?node=self')
    await this.admin('SetWorkerVariable', { variable: 'resync-worker-count', value: '4' }, '?node=self')
  }

  /** Puts the node's key into a metadata folder that is new. */
  restoreKey(from: string): void {
    mkdirSync(this.folder('meta'), { mode: 0o700 })
    renameSync(from, this.folder('meta/node_key.pem'))
  }

  /** Calls the node's admin API. @throws Error with its answer */
  async admin<T>(endpoint: string, body?: unknown, query = ''): Promise<T> {
    const response = await fetch(
      `http://${this.settings.host}:${this.settings.adminPort}/v2/${endpoint}${query}`,
      {
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(30_000),
      },
    )
    const text = await response.text()
    if (!response.ok) throw new Error(`${endpoint} at ${this.name}: ${response.status} ${text}`)
    return (text === '' ? null : JSON.parse(text)) as T
  }

  #writeConfig(): void {
    const {
      host,
      s3Port,
      rpcPort,
      adminPort,
      publicAddress,
      bootstrapPeers,
      dataFolders,
      replicationFactor,
      consulUrl,
      k2vPort,
      top = '',
    } = this.settings
    const folder = ({ path, capacity, readOnly }: DataFolder) =>
      `{ path = "${this.folder(path)}", ${readOnly ? 'read_only = true' : `capacity = "${capacity}"`} }`
    const [only] = dataFolders
    const dataDir =
      dataFolders.length === 1 && only!.capacity === undefined
        ? `"${this.folder(only!.path)}"`
        : `[${dataFolders.map(folder).join(', ')}]`
    const text = `metadata_dir = "${this.folder('meta')}"
data_dir = ${dataDir}
replication_factor = ${replicationFactor}
rpc_bind_addr = "${host}:${rpcPort}"
rpc_public_addr = "${publicAddress ?? `${host}:${rpcPort}`}"
rpc_secret = "${SECRET}"
bootstrap_peers = [${bootstrapPeers.map((peer) => `"${peer}"`).join(', ')}]
${top}
[s3_api]
api_bind_addr = "${host}:${s3Port}"
s3_region = "garage"

[admin]
api_bind_addr = "${host}:${adminPort}"
admin_token = "${ADMIN_TOKEN}"
${k2vPort ? `[k2v_api]\napi_bind_addr = "${host}:${k2vPort}"\n` : ''}${consulUrl ? `[consul_discovery]\nconsul_http_addr = "${consulUrl}"\nservice_name = "carport"\n` : ''}`
    writeFileSync(this.config, text, { mode: 0o600 })
  }
}
