import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePorts } from '../../bench/stores/server-process.js'

const run = promisify(execFile)

/** The real Garage, where it is installed. */
export const GARAGE = process.env.GARAGE_BINARY ?? join(homedir(), '.cargo/bin/garage')
export const hasGarage = existsSync(GARAGE)
export const GARAGE_TOKEN = 'garage-admin-token'

export interface Garage {
  s3: string
  k2v: string
  admin: string
  /** Its configuration file. */
  config: string
  /** Runs a command of its command line; resolves with the output. */
  cli(...words: string[]): Promise<string>
  /** Calls its admin API v2. */
  api(endpoint: string, body?: object): Promise<Record<string, string>>
  createKey(name: string): Promise<{ accessKeyId: string; secretAccessKey: string }>
  dispose(): Promise<void>
}

/** Starts a Garage of one node, laid out, in a folder that goes away with it. */
export async function startGarage(): Promise<Garage> {
  const dir = mkdtempSync(join(tmpdir(), 'carport-garage-'))
  const [s3, rpc, admin, k2v] = await freePorts(4)
  const config = join(dir, 'garage.toml')
  writeFileSync(
    config,
    `metadata_dir = "${dir}/meta"
data_dir = "${dir}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:${rpc}"
rpc_public_addr = "127.0.0.1:${rpc}"
rpc_secret = "${'1c'.repeat(32)}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:${s3}"
[k2v_api]
api_bind_addr = "127.0.0.1:${k2v}"
[admin]
api_bind_addr = "127.0.0.1:${admin}"
admin_token = "${GARAGE_TOKEN}"
`,
  )
  const server = spawn(GARAGE, ['-c', config, 'server'], { stdio: 'ignore' })
  const at = (port: number) => `http://127.0.0.1:${port}`
  const cli = async (...words: string[]) => (await run(GARAGE, ['-c', config, ...words])).stdout
  const api = async (endpoint: string, body?: object) => {
    const answer = await fetch(`${at(admin!)}/v2/${endpoint}`, {
      headers: { authorization: `Bearer ${GARAGE_TOKEN}` },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
    if (answer.status !== 200) throw new Error(`${endpoint}: ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as Record<string, string>
  }
  while (!(await fetch(`${at(admin!)}/health`).catch(() => undefined)));
  const node = (await cli('node', 'id', '-q')).split('@')[0]!.trim()
  await cli('layout', 'assign', '-z', 'dc1', '-c', '1G', node)
  await cli('layout', 'apply', '--version', '1')
  return {
    ...{ s3: at(s3!), k2v: at(k2v!), admin: at(admin!), config, cli, api },
    createKey: async (name) => {
      const { accessKeyId, secretAccessKey } = await api('CreateKey', { name })
      return { accessKeyId: accessKeyId!, secretAccessKey: secretAccessKey! }
    },
    dispose: async () => {
      server.kill('SIGKILL')
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
