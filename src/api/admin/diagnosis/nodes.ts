/** Checks of the nodes as members of a cluster: reachable, each there once, of one version, with the same time. */

import { plural, shortId } from '../../../util/text.js'
import type { ClusterFacts, Finding } from './facts.js'
import { span } from './findings.js'

/** After so long a node of the layout counts as forgotten, in seconds. */
const FORGOTTEN_SECS = 86_400
/** Clocks are said to differ from here on, in ms; beyond max_clock_drift nodes take no writes. */
const CLOCK_OFF_MS = 2_000

export function checkReachable({ nodes, unanswered, health }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  if (health.status === 'unavailable' && health.storageNodes > 0) {
    findings.push({
      severity: 'error',
      check: 'quorum-lost',
      node: null,
      message: `${health.partitions - health.partitionsQuorum} of ${health.partitions} partitions have no quorum: requests for what is in them fail`,
      help: 'carport status tells which nodes are down: bring them back',
    })
  }
  for (const node of nodes) {
    const { id, role, isUp, lastSeenSecsAgo } = node
    if (!isUp && role !== null) findings.push(awayOf(id, lastSeenSecsAgo))
    else if (isUp && role === null && !node.draining) {
      findings.push({
        severity: 'info',
        check: 'node-without-role',
        node: id,
        message: `${name(node)} is connected but has no role in the layout: it stores nothing and serves no requests`,
        help: `carport layout assign -z <zone> -c <size> ${shortId(id)}, or stop it`,
      })
    }
    const reason = unanswered[id]
    if (isUp && reason !== undefined) {
      findings.push({
        severity: 'error',
        check: 'node-silent',
        node: id,
        message: `${name(node)} is connected but does not answer: ${reason}`,
        help: 'look at its log and its load; restart it if it hangs',
      })
    }
  }
  return findings
}

function awayOf(id: string, lastSeenSecsAgo: number | null): Finding {
  const forgotten = lastSeenSecsAgo !== null && lastSeenSecsAgo >= FORGOTTEN_SECS
  const since =
    lastSeenSecsAgo === null
      ? 'was not seen since this node started'
      : `was last seen ${span(lastSeenSecsAgo)} ago`
  return {
    severity: 'error',
    check: forgotten ? 'node-forgotten' : 'node-unreachable',
    node: id,
    message: `a node of the layout is down: it ${since}`,
    help: forgotten
      ? `if it does not come back: carport layout remove ${shortId(id)}, assign another in its place, and carport layout apply`
      : `start it, or look at the network; if its address changed: carport node connect ${shortId(id)}…@<host>:<port>`,
  }
}

/** Pairs of nodes that have no link, as both say, though both answered. */
export function checkMesh({ reports }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  const sees = (id: string, other: string) =>
    reports[id]!.peers.some((peer) => peer.id === other && peer.isUp)
  const ids = Object.keys(reports).sort()
  for (const [i, id] of ids.entries()) {
    for (const other of ids.slice(i + 1)) {
      if (sees(id, other) || sees(other, id)) continue
      findings.push({
        severity: 'error',
        check: 'nodes-cut-off',
        node: id,
        message: `it has no link to ${shortId(other)}, though both are up`,
        help: `open the RPC port between the two in both directions, or set rpc_public_addr; try: carport node connect ${shortId(other)}…@<host>:<port>`,
      })
    }
  }
  return findings
}

/** Two processes that claim one id, and two ids that are known by one address. */
export function checkDuplicates({ self, nodes, reports, probes }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  const instances = new Map<string, Map<string, string[]>>()
  for (const { id, incarnation, address } of probes) {
    if (id === null || incarnation === null) continue
    const found = instances.get(id) ?? new Map<string, string[]>()
    found.set(incarnation, [...(found.get(incarnation) ?? []), address])
    instances.set(id, found)
  }
  for (const [id, found] of instances) {
    if (found.size < 2) continue
    const places = [...found.values()].map((addresses) => addresses[0]!).sort()
    findings.push({
      severity: 'error',
      check: 'node-duplicated',
      node: id,
      message: `${plural(found.size, 'process', 'processes')} run with this node's key, at ${places.join(' and ')}: each undoes what the other has`,
      help: 'stop all but one; the machine that was copied needs a key of its own: remove node_key.pem and node_cert.pem there and empty its folders',
    })
  }
  const upIds = new Set(nodes.filter((node) => node.isUp).map(({ id }) => id))
  const known = new Map<string, Set<string>>()
  for (const { id, addresses } of reports[self]?.peers ?? []) {
    for (const address of addresses.slice(0, 1)) known.set(address, (known.get(address) ?? new Set()).add(id))
  }
  for (const { address, id: answered } of probes) {
    for (const id of known.get(address) ?? []) {
      const node = nodes.find((other) => other.id === id)
      if (answered === null || answered === id || upIds.has(id) || !node || node.role === null) continue
      findings.push({
        severity: 'error',
        check: 'node-replaced',
        node: id,
        message: `at its address ${address} another node answers, ${shortId(answered)}: its key was lost, or another machine has the address`,
        help: `restore node_key.pem there, or put the new one in its place: carport layout assign --replace ${shortId(id)} ${shortId(answered)}, then carport layout apply`,
      })
    }
  }
  return findings
}

export function checkVersions({ nodes, reports }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  const up = nodes.filter((node) => node.isUp && node.garageVersion !== null)
  const versions = groups(up.map(({ id, garageVersion }) => [id, garageVersion!]))
  if (versions.size > 1) {
    findings.push({
      severity: 'warning',
      check: 'versions-differ',
      node: null,
      message: `the nodes run different versions: ${describe(versions)}`,
      help: 'upgrade the older ones, one after the other: docs/operations.md, "Upgrades"',
    })
  }
  const settings: [name: string, of: (report: ClusterFacts['reports'][string]) => string][] = [
    ['replication_factor', ({ replicationFactor }) => String(replicationFactor)],
    ['consistency_mode', ({ consistencyMode }) => consistencyMode],
  ]
  for (const [key, of] of settings) {
    const values = groups(Object.entries(reports).map(([id, report]) => [id, of(report)]))
    if (values.size < 2) continue
    findings.push({
      severity: 'error',
      check: 'settings-differ',
      node: null,
      message: `the nodes are configured with different values of ${key}: ${describe(values)}`,
      help: `set ${key} to one value everywhere and restart the nodes`,
    })
  }
  const layouts = groups(Object.entries(reports).map(([id, report]) => [id, String(report.layoutVersion)]))
  if (layouts.size > 1) {
    findings.push({
      severity: 'warning',
      check: 'layouts-differ',
      node: null,
      message: `the nodes know different versions of the layout: ${describe(layouts)}`,
      help: 'they exchange it within seconds: if this stays, their links are broken (carport status on each)',
    })
  }
  return findings
}

function groups(pairs: readonly (readonly [id: string, value: string])[]): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const [id, value] of pairs) found.set(value, [...(found.get(value) ?? []), id])
  return found
}

function describe(values: ReadonlyMap<string, readonly string[]>): string {
  return [...values]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([value, ids]) => `${value} (${ids.slice(0, 3).map(shortId).join(', ')}${ids.length > 3 ? ', …' : ''})`,
    )
    .join(', ')
}

export function checkClocks({ nodes }: ClusterFacts): Finding[] {
  return nodes.flatMap((node): Finding[] => {
    const { id, clockOffMs, clockDoubt, isUp } = node
    if (!isUp) return []
    const help =
      'let a time server set the clock: timedatectl set-ntp true, then chronyc tracking or timedatectl tells how far it is off'
    if (clockDoubt !== null) {
      const message = `its clock is not relied on, so that it takes no writes and deletes nothing by age: ${clockDoubt}`
      return [{ severity: 'error', check: 'clock-wrong', node: id, message, help }]
    }
    if (clockOffMs === null || Math.abs(clockOffMs) < CLOCK_OFF_MS) return []
    const message = `its clock is ${(Math.abs(clockOffMs) / 1000).toFixed(1)} s ${clockOffMs > 0 ? 'ahead of' : 'behind'} the others'`
    return [{ severity: 'warning', check: 'clock-off', node: id, message, help }]
  })
}

function name({ id, hostname }: ClusterFacts['nodes'][number]): string {
  return hostname === null ? `node ${shortId(id)}` : `node ${shortId(id)} (${hostname})`
}
