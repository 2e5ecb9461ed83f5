/** Facts of a healthy cluster of three nodes in three zones, for tests that make one thing sick. */
import type {
  ClusterFacts,
  MachineFacts,
  NodeDiagnostics,
  StoppedFacts,
} from '../src/api/admin/diagnosis/facts.js'
import type { NodeStatus } from '../src/api/admin/types.js'
import { computeAssignment } from '../src/cluster/layout/assignment.js'
import { PARTITION_COUNT } from '../src/cluster/layout/partitions.js'
import type { LayoutVersion, NodeRole, ZoneRedundancy } from '../src/cluster/layout/types.js'
import { makeVersion } from '../src/cluster/layout/version.js'

export const IDS = ['aa', 'bb', 'cc'].map((digits) => digits.repeat(32))
const [A, B, C] = IDS as [string, string, string]

/** A layout of nodes with zones and capacities in bytes, each as "zone:capacity" by id. */
export function layoutOf(
  nodes: Record<string, string>,
  options: { replicationFactor?: number; zoneRedundancy?: ZoneRedundancy; version?: number } = {},
): LayoutVersion {
  const { replicationFactor = 3, zoneRedundancy = 'maximum', version = 1 } = options
  const roles = new Map(
    Object.entries(nodes).map(([id, text]): [string, NodeRole] => {
      const [zone, capacity] = text.split(':') as [string, string]
      return [id, { zone, capacityBytes: capacity === 'gateway' ? null : Number(capacity), tags: [] }]
    }),
  )
  const shape = { roles, replicationFactor, zoneRedundancy, partitions: PARTITION_COUNT }
  return makeVersion({
    ...{ version, replicationFactor, roles, parameters: { zoneRedundancy } },
    ...computeAssignment(shape),
  })
}

export function machine(values: Partial<MachineFacts> = {}): MachineFacts {
  return {
    secrets: [
      { what: 'metadata', path: '/meta', mode: 0o700 },
      { what: 'nodeKey', path: '/meta/node_key.pem', mode: 0o600 },
      { what: 'configuration', path: '/etc/carport.toml', mode: 0o600 },
    ],
    volumes: [volume({ use: 'metadata', path: '/meta' }), volume()],
    snapshots: { count: 2, newestSecsAgo: 3600, intervalSecs: 21_600 },
    ...values,
  }
}

export function volume(
  values: Partial<MachineFacts['volumes'][number]> = {},
): MachineFacts['volumes'][number] {
  return {
    ...{ use: 'data', path: '/data', readOnly: false, lost: false },
    ...{ available: 500e9, total: 1e12, fsyncMs: 3, problem: null },
    ...values,
  }
}

export function report(self: string, values: Partial<NodeDiagnostics> = {}): NodeDiagnostics {
  return {
    version: '0.3.0',
    uptimeSecs: 100_000,
    replicationFactor: 3,
    layoutVersion: 1,
    consistencyMode: 'consistent',
    machine: machine(),
    peers: IDS.filter((id) => id !== self).map((id) => ({
      ...{ id, isUp: true, addresses: [`${id.slice(0, 2)}.example.org:3901`] },
      ...{ lastSeenSecsAgo: 0, roundTripMs: 12 },
    })),
    workers: [],
    queues: [],
    damage: { rows: 0, rowsLost: 0, blocksCorrupted: 0, blocksMissing: 0, blockErrors: 0 },
    ...values,
  }
}

export function node(id: string, values: Partial<NodeStatus> = {}): NodeStatus {
  return {
    ...{
      id,
      garageVersion: '0.3.0',
      hostname: `host-${id.slice(0, 2)}`,
      addr: `${id.slice(0, 2)}.example.org:3901`,
    },
    ...{ isUp: true, lastSeenSecsAgo: 0, draining: false },
    role: { zone: `z-${id.slice(0, 2)}`, tags: [], capacity: 1e12 },
    dataPartition: { available: 500e9, total: 1e12 },
    metadataPartition: { available: 50e9, total: 100e9 },
    ...{ syncQueueLength: 0, resyncQueueLen: 0, clockOffMs: 3, clockDoubt: null },
    ...{ partitions: { compared: 257, total: 257 }, damagedRows: 0, lostFolders: 0 },
    ...values,
  }
}

export function cluster(values: Partial<ClusterFacts> = {}): ClusterFacts {
  return {
    self: A,
    nodes: IDS.map((id) => node(id)),
    reports: Object.fromEntries(IDS.map((id) => [id, report(id)])),
    unanswered: {},
    probes: IDS.map((id) => ({
      ...{
        address: `${id.slice(0, 2)}.example.org:3901`,
        id,
        incarnation: `process-${id.slice(0, 2)}`,
        error: null,
      },
    })),
    layout: layoutOf({ [A]: 'z1:1e12', [B]: 'z2:1e12', [C]: 'z3:1e12' }),
    history: { currentVersion: 1, minAck: 1, versions: [], updateTrackers: null },
    health: {
      ...{ status: 'healthy', knownNodes: 3, connectedNodes: 3, storageNodes: 3, storageNodesUp: 3 },
      ...{ partitions: 256, partitionsQuorum: 256, partitionsAllOk: 256 },
    },
    quorums: { write: 2, read: 2 },
    ...values,
  }
}

export function stopped(values: Partial<StoppedFacts> = {}): StoppedFacts {
  return {
    machine: machine(),
    unreachable: 'connect ECONNREFUSED 127.0.0.1:3901',
    heldBy: null,
    configProblems: [],
    ports: [{ key: 'rpc_bind_addr', address: '[::]:3901', inUse: false, problem: null }],
    databaseFault: null,
    hasDatabase: true,
    ...values,
  }
}
