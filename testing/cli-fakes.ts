import type { StoppedFacts } from '../src/api/admin/diagnosis/facts.js'
import { checkOperation, type OperationName } from '../src/api/admin/operation-schemas.js'
import type { BucketInfo, ClusterLayout, ClusterStatus, KeyInfo, NodeStatus } from '../src/api/admin/types.js'
import { type AdminClient, CliError } from '../src/cli/admin-client.js'
import type { CliIo, ServerOptions, Target } from '../src/cli/io.js'
import { runCli } from '../src/cli/run.js'
import type { Config, Settings } from '../src/config/config.js'
import type { RestoreSource } from '../src/node/restore-metadata.js'
import { stopped } from './diagnosis-facts.js'

/** Stands for the world of the command line: files in memory, a node that answers from a table. */
export const SECRET = '1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec'
export const NODE_A = `aa11${'0'.repeat(60)}`
export const NODE_B = `aa22${'0'.repeat(60)}`
export const NODE_C = `cc33${'0'.repeat(60)}`
export const BUCKET_ID = 'b1'.repeat(16)
export const KEY_ID = 'GK3515373e4c851ebaad366558'
export const NOW_MS = Date.UTC(2026, 0, 1)

export const CONFIG = `
metadata_dir = "/m"
data_dir = "/d"
replication_factor = 1
rpc_bind_addr = "[::]:3901"
rpc_public_addr = "node-a.example.org:3901"
rpc_secret = "${SECRET}"
[s3_api]
s3_region = "garage"
`

export interface Call {
  operation: OperationName
  // biome-ignore lint/suspicious/noExplicitAny: the arguments of any operation
  args: any
}

/** The fake node's answers: for each operation a value, or a function of the arguments. */
export type Answers = Partial<Record<OperationName, unknown>>

export interface Result {
  status: number
  out: string
  err: string
  calls: Call[]
  targets: Target[]
  servers: { config: Config; options: ServerOptions }[]
  secretsMade: string[]
  /** Nodes whose contents were counted anew. */
  recounted: { config: Config; kind: string }[]
  /** What the whole screen showed, one after another. */
  screens: string[]
  /** What was drawn on the terminal, an empty list where it was left. */
  drawn: string[][]
  /** What databases were restored from. */
  restored: RestoreSource[]
  /** The settings of nodes that were looked at from outside. */
  lookedAt: Settings[]
  closed: number
}

export interface World {
  env?: Record<string, string>
  files?: Record<string, string>
  answers?: Answers
  nodeId?: string
  modes?: Record<string, number>
  stdin?: string
  /** Keys that are pressed on the whole screen, undefined where none is in time; without them there is no screen. */
  keys?: (string | undefined)[]
  /** Whether stderr is a terminal. */
  terminal?: boolean
  /** No server answers. */
  isDown?: boolean
  /** What is seen of it then, where it differs from a healthy one. */
  stopped?: Partial<StoppedFacts>
}

/** Runs a command line, given as words. */
export async function cli(words: readonly string[], world: World = {}): Promise<Result> {
  const { env = {}, files = { '/etc/carport.toml': CONFIG }, answers = {}, nodeId } = world
  let slept = 0
  const out: string[] = []
  const err: string[] = []
  const result: Omit<Result, 'status' | 'out' | 'err'> = {
    calls: [],
    targets: [],
    servers: [],
    secretsMade: [],
    recounted: [],
    drawn: [],
    lookedAt: [],
    screens: [],
    restored: [],
    closed: 0,
  }
  const readText = (path: string) => {
    const text = files[path]
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' })
    return text
  }
  const admin: AdminClient = {
    call: async (operation, args) => {
      checkOperation(operation, args)
      result.calls.push({ operation, args })
      if (!(operation in answers)) throw new Error(`no answer for ${operation}`)
      const answer = answers[operation]
      return (typeof answer === 'function' ? answer(args) : answer) as never
    },
    close: () => {
      result.closed++
    },
  }
  const io: CliIo = {
    env,
    nowMs: () => NOW_MS + slept,
    openScreen: () => {
      const { keys } = world
      if (keys === undefined) return undefined
      return {
        ...{ columns: 200, rows: 50 },
        draw: (lines) => void result.screens.push(lines.join('\n')),
        nextKey: async () => (keys.length === 0 ? 'q' : keys.shift()),
        close: () => void result.screens.push('closed'),
      }
    },
    sleep: async (ms) => {
      slept += ms
    },
    terminal: world.terminal
      ? {
          redraw: (lines) => void result.drawn.push([...lines]),
          keep: () => void result.drawn.push([]),
        }
      : undefined,
    out: (text) => out.push(text),
    err: (text) => err.push(text),
    readText,
    readStdin: async () => world.stdin ?? '',
    readSecretFile: (path) => ({ text: readText(path), mode: world.modes?.[path] ?? 0o100600 }),
    readNodeId: () => nodeId,
    createNodeId: () => nodeId ?? NODE_A,
    createSecret: (path) => {
      result.secretsMade.push(path)
      files[path] ??= SECRET
    },
    connect: async (target) => {
      result.targets.push(target)
      if (world.isDown) throw new CliError('cannot reach the node at 127.0.0.1:3901')
      return admin
    },
    runServer: async (config, options) => {
      result.servers.push({ config, options })
    },
    repairCounters: async (config, kind) => {
      result.recounted.push({ config, kind })
      return { rows: 7, counters: 2, corrected: [BUCKET_ID] }
    },
    restoreMetadata: async (_settings, source) => {
      result.restored.push(source)
      return { snapshot: source === 'replicas' ? null : '/m/snapshots/x', before: '/m/db.before' }
    },
    version: () => '1.2.3',
    migrationWorld: async () => {
      throw new CliError('there is no other store here')
    },
    lookAtStopped: async (settings, _env, unreachable) => {
      result.lookedAt.push(settings)
      return { ...stopped(world.stopped), unreachable }
    },
  }
  const status = await runCli(words, io)
  return { ...result, status, out: out.join('\n'), err: err.join('\n') }
}

export function nodeStatus(id: string, values: Partial<NodeStatus> = {}): NodeStatus {
  return {
    id,
    garageVersion: '0.1.0',
    hostname: 'host',
    addr: '10.0.0.1:3901',
    isUp: true,
    lastSeenSecsAgo: null,
    role: null,
    draining: false,
    dataPartition: { available: 5e11, total: 1e12 },
    metadataPartition: null,
    syncQueueLength: 0,
    resyncQueueLen: 0,
    clockOffMs: 0,
    clockDoubt: null,
    partitions: null,
    damagedRows: 0,
    lostFolders: 0,
    ...values,
  }
}

export const STATUS: ClusterStatus = {
  layoutVersion: 1,
  nodes: [
    nodeStatus(NODE_A, { role: { zone: 'z1', tags: ['ssd', 'new'], capacity: 1e11 } }),
    nodeStatus(NODE_B, {
      hostname: 'b',
      role: { zone: 'z2', tags: [], capacity: null },
      syncQueueLength: 12,
    }),
    nodeStatus(NODE_C, { isUp: false, hostname: null, addr: null, lastSeenSecsAgo: 7300 }),
  ],
}

export const LAYOUT: ClusterLayout = {
  version: 1,
  roles: [
    {
      id: NODE_A,
      zone: 'z1',
      tags: ['ssd', 'new'],
      capacity: 1e11,
      storedPartitions: 256,
      usableCapacity: 1e11,
    },
  ],
  parameters: { zoneRedundancy: 'maximum' },
  partitionSize: 1e9,
  stagedRoleChanges: [],
  stagedParameters: null,
}

export const BUCKET: BucketInfo = {
  id: BUCKET_ID,
  created: '2025-06-14T16:12:29.120Z',
  globalAliases: ['photos'],
  websiteAccess: true,
  websiteConfig: {
    indexDocument: 'index.html',
    errorDocument: 'oops.html',
    consistencyMode: 'consistent',
    routingRules: null,
  },
  corsRules: null,
  lifecycleRules: null,
  versioning: 'off',
  objectLock: false,
  keys: [
    {
      accessKeyId: KEY_ID,
      name: 'app',
      permissions: { read: true, write: true, owner: false },
      bucketLocalAliases: [],
    },
  ],
  objects: 3,
  bytes: 1048576,
  unfinishedUploads: 0,
  unfinishedMultipartUploads: 0,
  unfinishedMultipartUploadParts: 0,
  unfinishedMultipartUploadBytes: 0,
  quotas: { maxSize: 1e9, maxObjects: null },
}

export const KEY: KeyInfo = {
  accessKeyId: KEY_ID,
  name: 'app',
  created: '2025-06-14T16:12:29Z',
  expiration: null,
  expired: false,
  secretAccessKey: null,
  permissions: { createBucket: false },
  buckets: [
    {
      id: BUCKET_ID,
      globalAliases: ['photos', 'pictures'],
      localAliases: ['mine'],
      permissions: { read: true, write: false, owner: true },
    },
  ],
}
