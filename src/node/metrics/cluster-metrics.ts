import { shortId } from '../../util/text.js'
import type { Core } from '../core.js'
import { gauge } from './families.js'
import type { Registry } from './prom-client.js'

/** Nodes that have series of their own. */
const NODES_MAX = 500

/** The cluster as this node sees it. */
export function clusterMetrics(
  registry: Registry,
  { cluster, parts: { transport, hlc } }: Core,
  facts: { version: string; replicationFactor: number },
): void {
  gauge(registry, 'garage_build_info', 'The version of the program', ['version'], (tell) =>
    tell({ version: facts.version }, 1),
  )
  gauge(registry, 'garage_replication_factor', 'Copies of everything', [], (tell) =>
    tell({}, facts.replicationFactor),
  )
  const disks = () => {
    const { dataDisk, metadataDisk } = cluster.ownStatus()
    return [['data', dataDisk] as const, ['metadata', metadataDisk] as const]
  }
  gauge(registry, 'garage_local_disk_avail', 'Bytes free on the disks of this node', ['volume'], (tell) => {
    for (const [volume, disk] of disks()) if (disk) tell({ volume }, disk.available)
  })
  gauge(registry, 'garage_local_disk_total', 'Bytes of the disks of this node', ['volume'], (tell) => {
    for (const [volume, disk] of disks()) if (disk) tell({ volume }, disk.total)
  })

  const health = <K extends keyof ReturnType<typeof cluster.health>>(name: string, help: string, key: K) =>
    gauge(registry, name, help, [], (tell) => tell({}, Number(cluster.health()[key])))
  gauge(registry, 'cluster_healthy', 'Whether all storage nodes are connected', [], (tell) =>
    tell({}, cluster.health().status === 'healthy' ? 1 : 0),
  )
  gauge(registry, 'cluster_available', 'Whether every partition has a quorum', [], (tell) =>
    tell({}, cluster.health().status === 'unavailable' ? 0 : 1),
  )
  health('cluster_connected_nodes', 'Nodes that are connected', 'connectedNodes')
  health('cluster_known_nodes', 'Nodes that were seen', 'knownNodes')
  health('cluster_storage_nodes', 'Storage nodes of the layout', 'storageNodes')
  health('cluster_storage_nodes_ok', 'Storage nodes of the layout that are connected', 'storageNodesOk')
  health('cluster_partitions', 'Partitions', 'partitions')
  health('cluster_partitions_quorum', 'Partitions with a quorum', 'partitionsQuorum')
  health('cluster_partitions_all_ok', 'Partitions whose nodes are all connected', 'partitionsAllOk')

  const layoutNodes = () => cluster.status().filter(({ role }) => role !== null)
  const labelNames = ['id', 'role_zone', 'role_capacity', 'role_gateway']
  const labelsOf = ({ id, role }: ReturnType<typeof layoutNodes>[number]) => ({
    id: shortId(id),
    role_zone: role!.zone,
    role_capacity: role!.capacityBytes ?? '',
    role_gateway: role!.capacityBytes === null ? 1 : 0,
  })
  gauge(
    registry,
    'cluster_layout_node_connected',
    'Whether a node of the layout is connected',
    labelNames,
    (tell) => {
      for (const node of layoutNodes().slice(0, NODES_MAX)) tell(labelsOf(node), node.isUp ? 1 : 0)
    },
  )
  gauge(
    registry,
    'cluster_layout_node_disconnected_time',
    'Seconds since a node of the layout was last connected',
    labelNames,
    (tell) => {
      for (const node of layoutNodes().slice(0, NODES_MAX)) {
        if (node.lastSeenSecsAgo !== null) tell(labelsOf(node), node.lastSeenSecsAgo)
      }
    },
  )
  gauge(
    registry,
    'carport_clock_offset_seconds',
    'How far the clock of this machine is ahead of those of the other nodes',
    [],
    (tell) => tell({}, hlc.peers.offMs() / 1000),
  )
  gauge(
    registry,
    'carport_data_folders_lost',
    'Data folders of this node whose disk seems not to be there, was wiped, or does not take writes',
    [],
    (tell) => tell({}, cluster.ownStatus().lostFolders ?? 0),
  )
  gauge(registry, 'carport_layout_version', 'The newest layout that this node knows', [], (tell) =>
    tell({}, cluster.layout.layoutVersion),
  )
  gauge(registry, 'carport_layout_live_versions', 'Layouts whose data is still needed', [], (tell) =>
    tell({}, cluster.layout.history.versions.length),
  )
  gauge(
    registry,
    'carport_node_sync_queue_length',
    'Rows and blocks that this node has yet to fetch or send',
    [],
    (tell) => {
      const { queueLength } = cluster.ownStatus()
      if (queueLength !== null && queueLength !== undefined) tell({}, queueLength)
    },
  )
  gauge(registry, 'carport_peer_round_trip_seconds', 'Round trip to a connected node', ['id'], (tell) => {
    for (const id of cluster.peering.connected().slice(0, NODES_MAX)) {
      const rttMs = transport.rttMs(id)
      if (rttMs !== undefined) tell({ id: shortId(id) }, rttMs / 1000)
    }
  })
}
