import type { Target } from '../load/raw-s3.js'

/** The key that the stores of a benchmark are given: they listen on loopback and live as long as it runs. */
export const ACCESS_KEY = {
  id: 'GK0123456789abcdef01234567',
  secret: 'be'.repeat(32),
} as const
const REGION = 'us-east-1'
export const METRICS_TOKEN = 'bench'
const RPC_SECRET = '5a'.repeat(32)

export interface NodePorts {
  s3: number
  rpc: number
  /** The address where others reach `rpc`: the node's own, or a proxy's. */
  publicPort: number
  admin: number
}

/** Writes a node's configuration, in the form that Garage and Carport read. */
export function configText(
  dir: string,
  ports: NodePorts,
  { replicationFactor, fsync, extra = '' }: { replicationFactor: number; fsync: boolean; extra?: string },
): string {
  return `metadata_dir = "${dir}/meta"
data_dir = "${dir}/data"
metadata_fsync = ${fsync}
data_fsync = ${fsync}
replication_factor = ${replicationFactor}
rpc_bind_addr = "127.0.0.1:${ports.rpc}"
rpc_public_addr = "127.0.0.1:${ports.publicPort}"
rpc_secret = "${RPC_SECRET}"
${extra}
[s3_api]
api_bind_addr = "127.0.0.1:${ports.s3}"
s3_region = "${REGION}"
root_domain = ".s3.localhost"
[admin]
api_bind_addr = "127.0.0.1:${ports.admin}"
metrics_token = "${METRICS_TOKEN}"
`
}

/** Credentials of that key. */
export function targetOf(endpoint: string): Target {
  return { endpoint, accessKeyId: ACCESS_KEY.id, secretAccessKey: ACCESS_KEY.secret, region: REGION }
}
