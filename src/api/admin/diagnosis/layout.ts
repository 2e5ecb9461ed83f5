/** Checks of the layout: what it survives, and whether the capacities fit together. */

import { PARTITION_COUNT } from '../../../cluster/layout/partitions.js'
import { formatBytes } from '../../../cluster/layout/report.js'
import { zoneLosses } from '../../../cluster/layout/survival.js'
import type { LayoutVersion } from '../../../cluster/layout/types.js'
import { partitionCounts } from '../../../cluster/layout/version.js'
import { plural, shortId } from '../../../util/text.js'
import type { ClusterFacts, Finding } from './facts.js'

/** Below this share of its capacity that can be used, a node's size does not fit to the others. */
const USABLE_SHARE_LOW = 0.5
/** Below this share of the whole capacity that can be used, the layout wastes disks. */
const ALL_USABLE_SHARE_LOW = 0.8

export function checkLayout(facts: ClusterFacts): Finding[] {
  const { layout } = facts
  if (layout === undefined) {
    return [
      finding(
        'error',
        'layout-missing',
        'no layout was applied yet: the cluster stores nothing',
        'carport layout assign -z <zone> -c <size> <node>, then carport layout apply --version 1',
      ),
    ]
  }
  return [
    ...checkSurvival(layout, facts),
    ...checkCapacities(layout, facts),
    ...checkChange(facts),
    ...checkConflicts(facts),
  ]
}

function checkSurvival(layout: LayoutVersion, { quorums }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  const { replicationFactor } = layout
  const nodes = layout.storageNodes.length
  const losses = zoneLosses(layout, quorums)
  const [only] = losses
  if (replicationFactor === 1) {
    const severity = nodes > 1 ? 'warning' : 'info'
    const text = 'there is one copy of everything: what is on a disk that fails is lost'
    findings.push(
      finding(
        severity,
        'one-copy',
        text,
        'back up elsewhere, or set up a cluster with replication_factor = 3',
      ),
    )
    return findings
  }
  if (losses.length === 1) {
    findings.push(
      finding(
        'info',
        'one-zone',
        `all ${replicationFactor} copies are in the zone "${only!.zone}": its loss is the loss of everything`,
        'put nodes in other places: carport layout assign -z <zone> -c <size> <node>',
      ),
    )
  } else {
    for (const { zone, withoutWrites, withoutReads, withoutCopy } of losses) {
      if (withoutCopy > 0) {
        const text = `the loss of the zone "${zone}" would take all copies of ${withoutCopy} of ${PARTITION_COUNT} partitions`
        findings.push(finding('error', 'zone-holds-all-copies', text, spreadHelp(layout, losses.length)))
      } else if (withoutReads > 0 || withoutWrites > 0) {
        const what = withoutReads > 0 ? 'can be neither read nor written' : 'cannot be written'
        const text = `while the zone "${zone}" is away, ${Math.max(withoutReads, withoutWrites)} of ${PARTITION_COUNT} partitions ${what}`
        findings.push(finding('warning', 'zone-not-survived', text, spreadHelp(layout, losses.length)))
      }
    }
  }
  if (nodes === replicationFactor && nodes > 1) {
    findings.push(
      finding(
        'info',
        'no-spare-node',
        `${plural(nodes, 'storage node')} for ${replicationFactor} copies: when one is lost for good, its copies cannot be made anew ` +
          'until another takes its place',
        'add a node: carport layout assign -z <zone> -c <size> <node>',
      ),
    )
  }
  return findings
}

function spreadHelp({ parameters, replicationFactor }: LayoutVersion, zones: number): string {
  const possible = Math.min(replicationFactor, zones)
  if (parameters.zoneRedundancy !== 'maximum' && parameters.zoneRedundancy < possible)
    return `carport layout config -r ${possible}, then carport layout apply: copies are asked to be in ${parameters.zoneRedundancy} of ${zones} zones only`
  return zones < 3 || zones < replicationFactor
    ? `put nodes into ${Math.max(3, replicationFactor)} zones at least: carport layout assign -z <zone> -c <size> <node>`
    : 'carport layout show tells which zones have too little capacity'
}

function checkCapacities(layout: LayoutVersion, { nodes, reports }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  const counts = partitionCounts(layout)
  const usableOf = (id: string) => counts.get(id)! * layout.partitionSizeBytes
  const capacityOf = (id: string) => layout.roles.get(id)!.capacityBytes!
  const sum = (of: (id: string) => number) => layout.storageNodes.reduce((total, id) => total + of(id), 0)
  const [usable, capacity] = [sum(usableOf), sum(capacityOf)]
  if (usable < ALL_USABLE_SHARE_LOW * capacity) {
    const wasted = layout.storageNodes
      .filter((id) => usableOf(id) < USABLE_SHARE_LOW * capacityOf(id))
      .map(
        (id) =>
          `${shortId(id)} in "${layout.roles.get(id)!.zone}" (${formatBytes(usableOf(id))} of ${formatBytes(capacityOf(id))})`,
      )
    findings.push(
      finding(
        'warning',
        'capacity-unbalanced',
        `only ${formatBytes(usable)} of ${formatBytes(capacity)} can be used, as the sizes of the nodes or zones do not fit together` +
          (wasted.length > 0 ? `; most is unused on ${wasted.slice(0, 5).join(', ')}` : ''),
        'add capacity in the smaller zones, or lower the zone redundancy: carport layout show tells what each can use',
      ),
    )
  }
  for (const id of layout.storageNodes) {
    const disk = nodes.find((node) => node.id === id)?.dataPartition ?? dataSpaceOf(reports[id])
    if (disk && disk.total > 0 && capacityOf(id) > disk.total) {
      findings.push({
        ...finding(
          'warning',
          'capacity-above-disk',
          `the layout gives the node ${formatBytes(capacityOf(id))}, but its data disks have ${formatBytes(disk.total)}: they will be full before others are`,
          `carport layout assign -c ${Math.floor(disk.total / 1e9)}G ${shortId(id)}, then carport layout apply`,
        ),
        node: id,
      })
    }
  }
  return findings
}

function dataSpaceOf(report: ClusterFacts['reports'][string] | undefined): { total: number } | undefined {
  const data = report?.machine?.volumes.filter(({ use }) => use === 'data') ?? []
  return data.length === 1 ? data[0] : undefined
}

/** Of two layouts under one number one was given up, with what was stored by it. */
function checkConflicts({ reports }: ClusterFacts): Finding[] {
  const versions = new Set(Object.values(reports).flatMap(({ layoutConflicts }) => layoutConflicts ?? []))
  return [...versions].map((version) =>
    finding(
      'error',
      'layout-conflict',
      `two different layouts were applied as version ${version} on nodes that did not reach each other: one replaced the other, ` +
        'and data may be on nodes that have no role now',
      'carport layout show tells which one is in use: assign the nodes that it lacks; this is told until the nodes restart',
    ),
  )
}

/** A change that waits for a node which does not answer never ends by itself. */
function checkChange({ history, nodes }: ClusterFacts): Finding[] {
  if (history.updateTrackers === null) return []
  const { currentVersion } = history
  const waitedFor = nodes.filter((node) => {
    const trackers = history.updateTrackers![node.id]
    return trackers && !node.isUp && Math.min(trackers.ack, trackers.sync, trackers.syncAck) < currentVersion
  })
  return waitedFor.map((node) => ({
    severity: 'warning',
    check: 'layout-change-waits',
    node: node.id,
    message: `the change to layout version ${currentVersion} waits for this node, which is down`,
    help:
      node.role === null
        ? `it goes on without the node five minutes after that was last seen, or now: carport layout skip-dead-nodes --version ${currentVersion}`
        : `bring it back, or remove it: carport layout remove ${shortId(node.id)}, then carport layout apply`,
  }))
}

function finding(severity: Finding['severity'], check: string, message: string, help: string): Finding {
  return { severity, check, node: null, message, help }
}
