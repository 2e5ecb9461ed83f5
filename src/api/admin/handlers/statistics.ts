import { PARTITION_COUNT } from '../../../cluster/layout/partitions.js'
import { formatBytes, formatTable } from '../../../cluster/layout/report.js'
import { newestVersion } from '../../../cluster/layout/types.js'
import { partitionCounts } from '../../../cluster/layout/version.js'
import type { DiskSpace } from '../../../cluster/node-status.js'
import { GC_TREE } from '../../../table/row-keys.js'
import { CarportError } from '../../../util/errors.js'
import { eachLimited } from '../../../util/limited.js'
import type { ClusterStatistics, NodeStatistics } from '../types.js'
import type { AdminContext } from './context.js'

/** Buckets that one call counts the objects of; where there are more, their sum is unknown. */
const COUNTED_BUCKETS_MAX = 1000
const COUNTS_IN_FLIGHT = 16

/** Figures of this node, as data and as text. */
export function nodeStatistics(context: AdminContext): NodeStatistics {
  const { db, tables, model, blocks, blockRefs } = context
  const { known, resync } = blocks.stats()
  const insertQueueLen = tables.retry.status().entries
  const gcQueueLen = db.count(GC_TREE)
  return {
    freeform: nodeText(context),
    tableStats: [...Object.values(model.tables), blockRefs].map(({ local }) => ({
      tableName: local.schema.name,
      items: db.count(local.trees.head),
      merkleItems: db.count(local.trees.leaf),
      merkleQueueLen: 0,
      insertQueueLen,
      gcQueueLen,
    })),
    blockManagerStats: { rcEntries: known, resyncQueueLen: resync.queued, resyncErrors: resync.errors },
  }
}

function nodeText(context: AdminContext): string {
  const { db, tables, model, blocks, blockRefs, cluster } = context
  const status = cluster.ownStatus()
  const stats = blocks.stats()
  const replicated = [...Object.values(model.tables), blockRefs]
  const sync = new Map(tables.sync.syncStatus().map((table) => [table.table, table]))
  const retry = tables.retry.status()
  return [
    ...formatTable([
      ['Carport version:', status.version],
      ['Hostname:', status.hostname],
      ['Layout version:', String(status.layoutVersion)],
    ]),
    '',
    'Tables',
    ...indent(
      formatTable([
        ['Name', 'Rows', 'Pulled', 'Pushed', 'Dropped', 'Peers not compared'],
        ...replicated.map(({ local }) => {
          const { name } = local.schema
          const { rowsPulled = 0, rowsPushed = 0, rowsDropped = 0, failedPeers = [] } = sync.get(name) ?? {}
          const rows = db.count(local.trees.head)
          return [name, ...[rows, rowsPulled, rowsPushed, rowsDropped, failedPeers.length].map(String)]
        }),
      ]),
    ),
    '',
    ...formatTable([
      ['Writes queued for replicas that missed them:', `${retry.entries} (${formatBytes(retry.bytes)})`],
      ['Deleted rows to be purged:', String(model.purge.backlog)],
    ]),
    '',
    'Blocks',
    ...indent(
      formatTable([
        ['Blocks known:', String(stats.known)],
        // Of this node's disk, for clients of any node; compressed, as the files are.
        ['Written since the start:', `${stats.blocksWritten} (${formatBytes(stats.bytesWritten)})`],
        ['Read since the start:', `${stats.blocksRead} (${formatBytes(stats.bytesRead)})`],
        // Of the clients that asked this node; the blocks may be stored elsewhere.
        ['Taken from clients:', `${stats.putBlocks} (${formatBytes(stats.putBytes)})`],
        ['Given to clients:', `${stats.getBlocks} (${formatBytes(stats.getBytes)})`],
        ['of these, read from other nodes:', String(stats.remoteGets)],
        ['Corrupted copies found:', String(stats.corruptions)],
        ['Blocks to be fetched:', String(stats.absent)],
        ['Resync queue, with entries for later:', String(stats.resync.queued)],
        ['Blocks with errors:', String(stats.resync.errors)],
        ['References to be carried:', String(stats.refs.queued)],
      ]),
    ),
    '',
  ].join('\n')
}

/** Figures of the cluster, as this node knows them, as data and as text. */
export async function clusterStatistics(context: AdminContext): Promise<ClusterStatistics> {
  const { lines, data, metadata, incomplete } = clusterText(context)
  const { buckets, usage } = context.model
  const ids: Buffer[] = []
  for await (const { id } of buckets.walk()) ids.push(id)
  const totals = { objects: 0, bytes: 0 }
  let counted = ids.length <= COUNTED_BUCKETS_MAX
  if (counted) {
    await eachLimited(ids, COUNTS_IN_FLIGHT, async (id) => {
      const { objects, bytes } = await usage.of(id)
      totals.objects += objects
      totals.bytes += bytes
    }).catch((error: unknown) => {
      if (!(error instanceof CarportError)) throw error
      counted = false
    })
  }
  return {
    freeform: lines.join('\n'),
    dataAvail: data ?? null,
    metadataAvail: metadata ?? null,
    incompleteAvailInfo: incomplete,
    bucketCount: ids.length,
    totalObjectCount: counted ? totals.objects : null,
    totalObjectBytes: counted ? totals.bytes : null,
  }
}

function clusterText({ cluster }: AdminContext) {
  const version = newestVersion(cluster.layout.history)
  const health = cluster.health()
  const nodes = cluster.status().filter((node) => node.role?.capacityBytes != null)
  const counts = version && partitionCounts(version)
  const partitions = (id: string) => counts?.get(id) ?? 0
  const lines = [
    'Storage nodes',
    ...indent(
      formatTable([
        ['ID', 'Hostname', 'Zone', 'Capacity', 'Partitions', 'Data available', 'Metadata available'],
        ...nodes.map((node) => [
          node.id.slice(0, 16),
          node.hostname ?? '?',
          node.role!.zone,
          formatBytes(node.role!.capacityBytes!),
          String(partitions(node.id)),
          space(node.dataDisk),
          space(node.metadataDisk),
        ]),
      ]),
    ),
    '',
    ...formatTable([
      ['Health:', health.status],
      ['Storage nodes up:', `${health.storageNodesOk} of ${health.storageNodes}`],
      ['Partitions with a quorum:', `${health.partitionsQuorum} of ${health.partitions}`],
      ['Partitions with all nodes:', `${health.partitionsAllOk} of ${health.partitions}`],
    ]),
    '',
  ]
  // Partitions grow evenly, so the node with the least space per partition fills up first.
  const room = (disk: 'dataDisk' | 'metadataDisk') => {
    const holders = nodes.filter((node) => partitions(node.id) > 0)
    const known = holders.filter((node) => node[disk] !== null)
    if (known.length === 0) return undefined
    const perPartition = Math.min(...known.map((node) => node[disk]!.available / partitions(node.id)))
    return Math.floor(perPartition * PARTITION_COUNT)
  }
  const incomplete = nodes.some((node) => node.dataDisk === null || node.metadataDisk === null)
  const [data, metadata] = [room('dataDisk'), room('metadataDisk')]
  if (data !== undefined && metadata !== undefined) {
    lines.push(
      `Room for more, at most (one copy of each object)${incomplete ? ', without nodes that are not known' : ''}:`,
      ...indent(
        formatTable([
          ['data:', formatBytes(data)],
          ['metadata:', formatBytes(metadata)],
        ]),
      ),
      '',
    )
  }
  return { lines, data, metadata, incomplete }
}

function space(disk: DiskSpace | null): string {
  if (!disk) return '?'
  const percent = disk.total === 0 ? 0 : (100 * disk.available) / disk.total
  return `${formatBytes(disk.available)} of ${formatBytes(disk.total)} (${percent.toFixed(1)} %)`
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`)
}
