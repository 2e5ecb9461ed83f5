import type { NodeRoleChange, ZoneRedundancy } from '../../api/admin/operation-schemas.js'
import type { ClusterLayout } from '../../api/admin/types.js'
import { type AdminClient, CliError, type Output, UsageError } from '../admin-client.js'
import { formatCapacity, printable, shortId, table } from '../format.js'
import { findNode, stagedOrCurrentRole } from '../lookup.js'

export interface AssignOptions {
  zone?: string
  capacityBytes?: number
  gateway?: boolean
  tags: string[]
  replace: string[]
}

const STAGED_HINT =
  'Nothing moves yet: "carport layout show" tells what would change, "carport layout apply" does it.'

/** `layout show`: the node writes the text, since it knows what a change would move. */
export async function showLayout(admin: AdminClient): Promise<Output> {
  const report = await admin.call('layout.show', {})
  const { layout, preview } = report
  return { json: { layout, preview }, text: report.text.join('\n') }
}

/** `layout assign`: settings that are not given keep their staged or applied value. */
export async function assignRoles(
  admin: AdminClient,
  nodes: readonly string[],
  options: AssignOptions,
): Promise<Output> {
  if (options.gateway && options.capacityBytes !== undefined) {
    throw new UsageError('a gateway has no capacity: give -c or -g, not both')
  }
  const cluster = await admin.call('status', {})
  const layout = await admin.call('layout.get', {})
  const roles: NodeRoleChange[] = options.replace.map((pattern) => ({
    id: findNode(cluster, layout, pattern),
    remove: true,
  }))
  for (const pattern of nodes) {
    const id = findNode(cluster, layout, pattern)
    const current = stagedOrCurrentRole(layout, id)
    const zone = options.zone ?? current?.zone
    if (zone === undefined) throw new UsageError(`node ${shortId(id)} has no zone yet: give one with -z`)
    const capacity = options.gateway ? null : (options.capacityBytes ?? current?.capacity)
    if (capacity === undefined) {
      throw new UsageError(
        `node ${shortId(id)} has no capacity yet: give one with -c, or -g if it is to store nothing`,
      )
    }
    roles.push({ id, zone, capacity, tags: options.tags.length > 0 ? options.tags : (current?.tags ?? []) })
  }
  const staged = await admin.call('layout.stage', { roles })
  return { json: staged, text: `The roles are staged. ${STAGED_HINT}` }
}

/** `layout remove`. */
export async function removeRole(admin: AdminClient, pattern: string): Promise<Output> {
  const cluster = await admin.call('status', {})
  const layout = await admin.call('layout.get', {})
  const id = findNode(cluster, layout, pattern)
  const staged = await admin.call('layout.stage', { roles: [{ id, remove: true }] })
  return { json: staged, text: `The removal is staged. ${STAGED_HINT}` }
}

/** `layout config`. */
export async function configureLayout(
  admin: AdminClient,
  redundancy: ZoneRedundancy | undefined,
): Promise<Output> {
  if (redundancy === undefined)
    throw new UsageError('nothing to set: give -r with a number of zones, or "max"')
  const staged = await admin.call('layout.stage', { parameters: { zoneRedundancy: redundancy } })
  return { json: staged, text: `Zone redundancy ${formatRedundancy(redundancy)} is staged. ${STAGED_HINT}` }
}

/** `layout apply`. @param force applies a first layout also on a node that is linked to none of those that it knows */
export async function applyLayout(
  admin: AdminClient,
  version: number | undefined,
  force?: boolean,
): Promise<Output> {
  if (version === undefined) {
    const { version: current } = await admin.call('layout.get', {})
    throw new UsageError(
      `look at the changes with "carport layout show", then confirm the version they make with --version ${current + 1}`,
    )
  }
  const { message, layout } = await admin.call('layout.apply', { version, ...(force && { force }) })
  return {
    json: { message, layout },
    text: [
      ...message,
      `Layout version ${layout.version} is applied; data moves to its new places now:`,
      '"carport worker watch --all-nodes" shows how far it is.',
    ].join('\n'),
  }
}

/** `layout revert`. */
export async function revertLayout(admin: AdminClient, confirmed: boolean | undefined): Promise<Output> {
  if (!confirmed) throw new UsageError('this drops all staged changes: confirm with --yes')
  return { json: await admin.call('layout.revert', {}), text: 'All staged changes are dropped.' }
}

/** `layout history`. */
export async function layoutHistory(admin: AdminClient): Promise<Output> {
  const history = await admin.call('layout.history', {})
  const lines = [
    '==== LAYOUT HISTORY ====',
    table([
      ['Version', 'Status', 'Storage nodes', 'Gateway nodes'],
      ...history.versions.map((v) => [
        `#${v.version}`,
        v.status.toLowerCase(),
        String(v.storageNodes),
        String(v.gatewayNodes),
      ]),
    ]),
    '',
  ]
  if (history.updateTrackers === null) {
    lines.push('One layout version is live; no rows are being moved.')
    return { json: history, text: lines.join('\n') }
  }
  const trackers = Object.entries(history.updateTrackers).sort(([a], [b]) => (a < b ? -1 : 1))
  const force = history.minAck < history.currentVersion ? '' : ' --allow-missing-data'
  lines.push(
    '==== UPDATE TRACKERS ====',
    'Several versions are live while data moves. How far each node is:',
    table([
      ['Node', 'Ack', 'Sync', 'Sync_ack'],
      ...trackers.map(([id, t]) => [shortId(id), `#${t.ack}`, `#${t.sync}`, `#${t.syncAck}`]),
    ]),
    '',
    'A node that stays behind may be down or unable to finish its sync. If it does not come back, go on without it:',
    `    carport layout skip-dead-nodes --version ${history.currentVersion}${force}`,
  )
  return { json: history, text: lines.join('\n') }
}

/** `layout skip-dead-nodes`. */
export async function skipDeadNodes(
  admin: AdminClient,
  version: number,
  allowMissingData: boolean,
): Promise<Output> {
  const result = await admin.call('layout.skipDeadNodes', { version, allowMissingData })
  const lines = [
    ...result.ackUpdated.map(
      (id) => `Node ${shortId(id)} is no longer waited for to acknowledge the layout.`,
    ),
    ...result.syncUpdated.map((id) => `Node ${shortId(id)} is no longer waited for to finish its sync.`),
  ]
  if (lines.length === 0) {
    throw new CliError(
      allowMissingData
        ? 'nothing to skip: every node that is still waited for is up, so wait for its sync'
        : 'nothing was skipped: with --allow-missing-data, nodes are skipped even where too few copies are known to be complete',
    )
  }
  return { json: result, text: lines.join('\n') }
}

/** The staged changes as a titled table; empty if there are none. */
export function stagedTable(layout: ClusterLayout): string {
  const lines: string[] = []
  if (layout.stagedRoleChanges.length > 0) {
    lines.push(
      table([
        ['ID', 'Tags', 'Zone', 'Capacity'],
        ...layout.stagedRoleChanges.map((change) =>
          'remove' in change
            ? [shortId(change.id), 'REMOVED']
            : [
                shortId(change.id),
                `[${change.tags.join(',')}]`,
                change.zone,
                formatCapacity(change.capacity),
              ],
        ),
      ]),
    )
  }
  if (layout.stagedParameters !== null) {
    lines.push(`Zone redundancy: ${formatRedundancy(layout.stagedParameters.zoneRedundancy)}`)
  }
  return lines.length === 0 ? '' : ['==== STAGED ROLE CHANGES ====', ...lines].join('\n')
}

function formatRedundancy(redundancy: ZoneRedundancy): string {
  return redundancy === 'maximum' ? 'maximum' : printable(String(redundancy.atLeast))
}

/** Reads "none", "max", "maximum" or a number of zones; undefined for any other text. */
export function parseRedundancy(text: string): ZoneRedundancy | undefined {
  if (['none', 'max', 'maximum'].includes(text)) return 'maximum'
  return /^[1-9]\d{0,2}$/.test(text) ? { atLeast: Number(text) } : undefined
}
