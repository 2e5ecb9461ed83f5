import type { ClusterLayout, LayoutPlanAnswer, NodeAssignedRole } from '../../api/admin/types.js'
import { type AdminClient, CliError, type Output, UsageError } from '../admin-client.js'
import { formatCapacity, formatSize, formatSpan, shortId, table } from '../format.js'
import { formatLayoutFile, parseLayoutFile } from '../layout-file.js'

/** The rate at which a node is taken to receive data unless another one is given: that of a link of 100 Mbit/s, in bytes/s. */
export const DEFAULT_RATE_BYTES = 12_500_000

export interface PlanOptions {
  /** The file's name, for messages, and its text. */
  fileName: string
  text: string
  /** Bytes that a node receives in a second; undefined: DEFAULT_RATE_BYTES. */
  rateBytes: number | undefined
  /** Whether to stage the changes, and to apply them as well. */
  stage: boolean
  apply: boolean
  /** Whether applying is confirmed. */
  yes: boolean
  /** Whether to list every partition that moves. */
  partitions: boolean
}

/** `layout plan`: shows what would bring the layout to the file, and does it if that is asked for. */
export async function planLayout(admin: AdminClient, options: PlanOptions): Promise<Output> {
  const file = parseLayoutFile(options.fileName, options.text)
  const plan = await admin.call('layout.plan', {
    roles: file.nodes,
    parameters: { zoneRedundancy: file.zoneRedundancy },
  })
  const rateBytes = options.rateBytes ?? DEFAULT_RATE_BYTES
  const seconds = secondsOf(plan, rateBytes)
  const isChange = plan.changes.length > 0 || redundancyChanges(plan)
  const json = { ...plan, rateBytesPerSecond: rateBytes, seconds, isChange }
  const lines = isChange
    ? planLines(plan, rateBytes, seconds, options)
    : ['The layout is as the file says: nothing changes.']
  const output = (...more: string[]): Output => ({ json, text: [...lines, ...more].join('\n') })
  if (!isChange || !(options.stage || options.apply)) {
    return isChange
      ? output(
          '',
          `To do it: carport layout plan -f ${options.fileName} --apply --yes (or --stage, then layout apply)`,
        )
      : output()
  }
  if (options.apply && !options.yes)
    throw new UsageError(
      `this makes layout version ${plan.version} and moves data: confirm with --yes`,
      output(),
    )
  await stage(admin, plan)
  if (!options.apply) {
    return output('', `Staged. Apply it with: carport layout apply --version ${plan.version}`)
  }
  const { layout } = await admin.call('layout.apply', { version: plan.version })
  return output('', `Layout version ${layout.version} is applied; data moves to its new places now.`)
}

async function stage(admin: AdminClient, plan: LayoutPlanAnswer): Promise<void> {
  const layout = await admin.call('layout.get', {})
  if (layout.stagedRoleChanges.length > 0 || layout.stagedParameters !== null) {
    throw new CliError(
      'other changes are staged already, which would be applied with these: see "carport layout show", then apply or revert them',
    )
  }
  if (layout.version + 1 !== plan.version)
    throw new CliError('the layout has changed meanwhile: look at the plan again')
  const roles = plan.changes.map(({ id, after }) =>
    after === null ? { id, remove: true as const } : { id, ...after },
  )
  const zoneRedundancy = plan.parameters.after.zoneRedundancy
  await admin.call('layout.stage', {
    roles,
    ...(redundancyChanges(plan) && { parameters: { zoneRedundancy } }),
  })
}

function redundancyChanges({ parameters: { before, after } }: LayoutPlanAnswer): boolean {
  return JSON.stringify(before) !== JSON.stringify(after)
}

/** The slowest node decides, since all receive at the same time. */
function secondsOf({ nodes }: LayoutPlanAnswer, rateBytes: number): number {
  return Math.ceil(Math.max(0, ...nodes.map(({ receivedBytes }) => receivedBytes)) / rateBytes)
}

function planLines(
  plan: LayoutPlanAnswer,
  rateBytes: number,
  seconds: number,
  { partitions }: PlanOptions,
): string[] {
  const { statistics } = plan
  const lines = ['==== CHANGES ====', table(plan.changes.map(changeRow))]
  if (redundancyChanges(plan)) {
    const { before, after } = plan.parameters
    lines.push(`Zone redundancy: ${redundancyText(before)} → ${redundancyText(after)}`)
  }
  lines.push('', '==== DATA TO MOVE ====')
  if (plan.movedPartitions === 0) lines.push('None.')
  else {
    const about = plan.bytesAreKnown ? 'about' : 'at most'
    lines.push(
      table([
        ['From', 'To', 'Partitions', 'Bytes'],
        ...plan.transfers.map(({ from, to, partitions: count, bytes }) => [
          from === null ? '(one more copy)' : shortId(from),
          shortId(to),
          String(count),
          formatSize(bytes),
        ]),
      ]),
      `${plan.movedPartitions} copies of partitions, ${about} ${formatSize(plan.movedBytes)} before compression. At ${formatSize(rateBytes)}/s ` +
        `for each node that receives: ${seconds === 0 ? 'moments' : formatSpan(seconds)}.`,
    )
    if (partitions) {
      lines.push(
        '',
        table([
          ['Partition', 'To', 'From'],
          ...plan.moves.map(({ partition, added, removed }) => [
            String(partition),
            added.map(shortId).join(', '),
            removed.map(shortId).join(', '),
          ]),
        ]),
      )
    }
  }
  lines.push(
    '',
    `==== LAYOUT VERSION ${plan.version} ====`,
    table([
      ['Zone / node', 'Partitions', 'New', 'Capacity', 'Usable'],
      ...statistics.zones.flatMap((zone) => [
        [
          zone.name,
          String(zone.totalReplicatedPartitions),
          '',
          formatSize(zone.totalCapacity),
          formatSize(zone.usableCapacity),
        ],
        ...zone.nodes.map((node) => [
          `  ${shortId(node.id)}`,
          String(node.storedPartitions),
          String(node.newPartitions),
          formatSize(node.totalCapacity),
          formatSize(node.usableCapacity),
        ]),
      ]),
    ]),
    `Room for objects: ${formatSize(statistics.effectiveCapacity)}, ${statistics.replicationFactor} copies of each in ` +
      `at least ${statistics.effectiveZoneRedundancy} zones.`,
    ...survivalLines(plan),
  )
  return lines
}

function changeRow({ id, before, after }: LayoutPlanAnswer['changes'][number]): string[] {
  if (after === null) return [shortId(id), 'remove', before ? roleText(before) : '']
  if (before === null) return [shortId(id), 'add', roleText(after)]
  const parts = [
    ...(before.zone === after.zone ? [] : [`zone ${before.zone} → ${after.zone}`]),
    ...(before.capacity === after.capacity
      ? []
      : [`capacity ${formatCapacity(before.capacity)} → ${formatCapacity(after.capacity)}`]),
    ...(before.tags.join() === after.tags.join()
      ? []
      : [`tags [${before.tags.join(',')}] → [${after.tags.join(',')}]`]),
  ]
  return [shortId(id), 'change', parts.join(', ')]
}

function roleText({ zone, capacity, tags }: NodeAssignedRole): string {
  return `${zone}, ${formatCapacity(capacity)}${tags.length > 0 ? `, [${tags.join(',')}]` : ''}`
}

function redundancyText({ zoneRedundancy }: ClusterLayout['parameters']): string {
  return zoneRedundancy === 'maximum' ? 'maximum' : String(zoneRedundancy.atLeast)
}

function survivalLines({ survives }: LayoutPlanAnswer): string[] {
  const { writes, reads, data } = survives.nodes
  const nodes = `It survives the loss of any ${data} node(s) without losing data; ${reads} may be away for reads, ${writes} for writes.`
  const zones = survives.zones.map(({ zone, withoutCopy, withoutReads, withoutWrites }) => {
    if (withoutCopy > 0) return `  ${zone}: all copies of ${withoutCopy} partitions would be lost with it`
    if (withoutReads > 0)
      return `  ${zone}: without it, ${withoutReads} partitions can be neither read nor written`
    if (withoutWrites > 0) return `  ${zone}: without it, ${withoutWrites} partitions cannot be written`
    return `  ${zone}: survived, for reads and writes`
  })
  return [nodes, 'The loss of a whole zone:', ...zones]
}

/** `layout export`. */
export async function exportLayout(admin: AdminClient): Promise<Output> {
  const layout = await admin.call('layout.get', {})
  const status = await admin.call('status', {})
  return { json: layout, text: formatLayoutFile(layout, status) }
}
