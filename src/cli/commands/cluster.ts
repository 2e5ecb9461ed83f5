import type { ClusterLayout, NodeProgress, NodeStatus } from '../../api/admin/types.js'
import { type AdminClient, CliError, type Output, SILENT } from '../admin-client.js'
import { formatAgo, formatCapacity, formatSize, shortId, table } from '../format.js'
import { stagedTable } from './layout.js'
import { leftOf, motionLines, motionOf } from './motion.js'

/** `status`: the nodes that are up, the ones that are not, and what is staged. */
export async function status(admin: AdminClient): Promise<Output> {
  const cluster = await admin.call('status', {})
  const layout = await admin.call('layout.get', {})
  const motion = await motionOf(admin)
  const up = cluster.nodes.filter((node) => node.isUp)
  const down = cluster.nodes.filter((node) => !node.isUp)
  const lines = [
    '==== HEALTHY NODES ====',
    table([
      ['ID', 'Hostname', 'Address', 'Tags', 'Zone', 'Capacity', 'DataAvail', 'Sync', 'Version'],
      ...up.map((node) => healthyRow(node, layout, motion?.nodes[node.id])),
    ]),
  ]
  if (down.length > 0) {
    lines.push(
      '',
      '==== FAILED NODES ====',
      table([
        ['ID', 'Hostname', 'Tags', 'Zone', 'Capacity', 'Last seen'],
        ...down.map((node) => failedRow(node, layout)),
      ]),
    )
  }
  if (motion) lines.push(...motionLines(motion))
  const doubted = up.filter((node) => node.clockDoubt !== null)
  if (doubted.length > 0) {
    lines.push('', '==== WRONG CLOCKS ====')
    for (const { id, hostname, clockDoubt } of doubted) {
      lines.push(`${shortId(id)} ${hostname ?? '?'}: ${clockDoubt}`)
    }
    lines.push('A node whose clock is off takes no writes, and deletes nothing by its age.')
  }
  for (const node of up.filter(({ damagedRows }) => (damagedRows ?? 0) > 0)) {
    lines.push(
      '',
      `${shortId(node.id)} has ${node.damagedRows} damaged rows. They are fetched from the other replicas; its log names those`,
      'that no replica has, and docs/operations.md tells what to do about them.',
    )
  }
  for (const node of up.filter(({ lostFolders }) => (lostFolders ?? 0) > 0)) {
    lines.push(
      '',
      `${shortId(node.id)} misses ${node.lostFolders} data folder(s): another disk or none is mounted, it was wiped, or it does not take writes (see`,
      'its log). Mount the disk, or run "carport repair --yes blocks" on that node to fetch its blocks from the other replicas.',
    )
  }
  if (down.some((node) => node.draining)) {
    lines.push(
      '',
      'Nodes that were removed and are gone still count in an older layout. The others go on without them five minutes',
      'after they were last seen; "carport layout history" shows how far they are.',
    )
  }
  const staged = stagedTable(layout)
  if (staged !== '') {
    lines.push(
      '',
      staged,
      '',
      'See what they would do with "carport layout show", then apply or revert them.',
    )
  } else if (cluster.layoutVersion === 0) {
    lines.push('', 'No layout yet: assign roles with "carport layout assign", then "carport layout apply".')
  }
  return { json: motion ? { ...cluster, progress: motion } : cluster, text: lines.join('\n') }
}

/** @param progress what the node told a moment ago; its status may be ten seconds old */
function healthyRow(node: NodeStatus, layout: ClusterLayout, progress: NodeProgress | undefined): string[] {
  const base = [shortId(node.id), node.hostname ?? '?', node.addr ?? 'N/A']
  const version = node.garageVersion ?? ''
  if (node.role === null)
    return [...base, '', '', withoutRole(node, layout), '', syncState(node, progress), version]
  const { tags, zone, capacity } = node.role
  return [
    ...base,
    `[${tags.join(',')}]`,
    zone,
    formatCapacity(capacity),
    freeSpace(node),
    syncState(node, progress),
    version,
  ]
}

function failedRow(node: NodeStatus, layout: ClusterLayout): string[] {
  const base = [shortId(node.id), node.hostname ?? '?']
  const seen = node.lastSeenSecsAgo === null ? 'never seen' : formatAgo(node.lastSeenSecsAgo)
  if (node.role === null) return [...base, '', '', withoutRole(node, layout), seen]
  return [...base, `[${node.role.tags.join(',')}]`, node.role.zone, formatCapacity(node.role.capacity), seen]
}

function withoutRole(node: NodeStatus, layout: ClusterLayout): string {
  const change = layout.stagedRoleChanges.find((staged) => staged.id === node.id)
  if (change !== undefined && !('remove' in change)) return 'pending...'
  return node.draining ? 'draining...' : 'NO ROLE ASSIGNED'
}

function freeSpace(node: NodeStatus): string {
  if (node.role?.capacity === null) return 'N/A'
  if (node.dataPartition === null) return '?'
  const { available, total } = node.dataPartition
  const percent = total === 0 ? 0 : (100 * available) / total
  return `${formatSize(available)} (${percent.toFixed(1)}%)`
}

function syncState(node: NodeStatus, progress: NodeProgress | undefined): string {
  const { partitions } = node
  if (partitions && partitions.compared < partitions.total) {
    return `${partitions.compared} of ${partitions.total} partitions`
  }
  const left = progress ? leftOf(progress) : node.syncQueueLength
  if (left === null) return '?'
  return left === 0 ? 'ok' : `${left} to do`
}

/** `health`: fails when the cluster is unavailable, for scripts and health checks. */
export async function health(admin: AdminClient, quiet: boolean): Promise<Output> {
  const now = await admin.call('cluster.health', {})
  const rows: string[][] = [
    ['Cluster health:', now.status.toUpperCase()],
    ['Known nodes:', String(now.knownNodes)],
    ['Connected nodes:', String(now.connectedNodes)],
    ['Storage nodes:', String(now.storageNodes)],
    ['Storage nodes up:', String(now.storageNodesUp)],
    ['Partitions:', String(now.partitions)],
    ['Partitions with quorum:', String(now.partitionsQuorum)],
    ['Fully healthy partitions:', String(now.partitionsAllOk)],
  ]
  const output: Output = { json: now, text: table(rows) }
  if (now.status === 'unavailable') {
    const lacking = now.partitions - now.partitionsQuorum
    const why =
      now.storageNodes === 0
        ? 'no node has a role yet'
        : `${lacking} of ${now.partitions} partitions have no quorum`
    throw new CliError(`the cluster is unavailable: ${why}`, quiet ? undefined : output)
  }
  return quiet ? SILENT : output
}

/** `node connect`. */
export async function connectNode(admin: AdminClient, node: string): Promise<Output> {
  const [result] = await admin.call('node.connect', { nodes: [node] })
  if (!result?.success) throw new CliError(`cannot connect to ${node}: ${result?.error ?? 'no answer'}`)
  return { json: result, text: 'Success.' }
}

/** `stats`. */
export async function stats(admin: AdminClient, node: string): Promise<Output> {
  const nodes = await admin.call('node.statistics', { node })
  const cluster = await admin.call('cluster.statistics', {})
  const texts = [
    ...Object.entries(nodes.success).map(([id, { freeform }]) => [id, freeform] as const),
    ...Object.entries(nodes.error).map(([id, error]) => [id, `Error: ${error}`] as const),
  ]
  return {
    json: { nodes, cluster },
    text: [
      ...texts.map(([id, text]) => `==== NODE [${shortId(id)}] ====\n${text.trimEnd()}\n`),
      `==== CLUSTER STATISTICS ====\n${cluster.freeform.trimEnd()}`,
    ].join('\n'),
  }
}
