import { formatAddress } from '../../../cluster/address.js'
import { historyJson } from '../../../cluster/layout/report.js'
import { newestVersion } from '../../../cluster/layout/types.js'
import { eachLimited } from '../../../util/limited.js'
import { CLUSTER_CHECKS, diagnoseCluster } from '../diagnosis/diagnose.js'
import type { AddressProbe } from '../diagnosis/facts.js'
import { queueLengths } from '../diagnosis/queues.js'
import type { ClusterDiagnosis, MultiResponse, NodeDiagnostics, NodeFigures } from '../types.js'
import { healthOf, statusOf } from './cluster.js'
import type { AdminContext } from './context.js'
import { listWorkers } from './workers.js'

/** Addresses that one diagnosis connects to, and how many at a time. */
const PROBES_MAX = 200
const PROBES_IN_FLIGHT = 16

/** Looks for everything that is wrong with the cluster, as far as this node sees it and the others tell it. */
export async function diagnose(
  context: AdminContext,
  askAll: () => Promise<MultiResponse<NodeDiagnostics>>,
): Promise<ClusterDiagnosis> {
  const { cluster, self } = context
  const [{ success, error }, probes] = await Promise.all([askAll(), probeAddresses(context)])
  const { history, readQuorum, writeQuorum } = cluster.layout
  const nodes = cluster.status().map(statusOf)
  const unanswered = Object.fromEntries(
    Object.entries(error).filter(([id]) => nodes.some((node) => node.id === id && node.isUp)),
  )
  return {
    findings: diagnoseCluster({
      self,
      nodes,
      reports: success,
      unanswered,
      probes,
      layout: newestVersion(history),
      history: historyJson(history),
      health: healthOf(cluster.health()),
      quorums: { write: writeQuorum, read: readQuorum },
    }),
    checks: [...CLUSTER_CHECKS],
    nodesAsked: Object.keys(success).length + Object.keys(error).length,
    nodesAnswered: Object.keys(success).length,
  }
}

/**
 * Connects to every known address, up to a bound, and asks which node answers: one key may run twice, or a node may sit at
 * another's address.
 */
async function probeAddresses({ cluster, machine }: AdminContext): Promise<AddressProbe[]> {
  const own = cluster.ownAddress()
  const addresses = new Set([
    ...(own === null ? [] : [own]),
    ...cluster.peering.peers().flatMap((peer) => peer.addresses.map(formatAddress)),
  ])
  const probes: AddressProbe[] = []
  await eachLimited([...addresses].slice(0, PROBES_MAX), PROBES_IN_FLIGHT, async (address) => {
    try {
      probes.push({ address, ...(await machine.probe(address)), error: null })
    } catch (error) {
      probes.push({ address, id: null, incarnation: null, error: String(error) })
    }
  })
  return probes.sort((a, b) => (a.address < b.address ? -1 : 1))
}

/** What this node says of itself and its machine. */
export async function nodeDiagnostics(context: AdminContext): Promise<NodeDiagnostics> {
  const { cluster, machine, tables, blocks, log, queueHistory, replicationFactor, consistencyMode } = context
  const status = cluster.ownStatus()
  const facts = await machine.facts().catch((error: unknown) => {
    log.error({ error }, 'this machine could not be looked at')
    return null
  })
  const damaged = tables.damaged.status()
  const stats = blocks.stats()
  const roundTrips = new Map(roundTripsOf(context).map((peer) => [peer.id, peer.roundTripMs]))
  return {
    version: status.version,
    uptimeSecs: Math.floor(machine.uptimeSecs()),
    replicationFactor,
    layoutVersion: status.layoutVersion,
    layoutConflicts: cluster.layout.conflicts,
    consistencyMode,
    machine: facts,
    peers: cluster.peering.peers().map(({ id, up, addresses, lastSeenMsAgo }) => ({
      id,
      isUp: up,
      addresses: addresses.map(formatAddress),
      lastSeenSecsAgo: lastSeenMsAgo === undefined ? null : Math.floor(lastSeenMsAgo / 1000),
      roundTripMs: roundTrips.get(id) ?? null,
    })),
    workers: listWorkers(context),
    queues: queueHistory.facts(),
    damage: {
      rows: damaged.known,
      rowsLost: damaged.givenUp,
      blocksCorrupted: stats.corruptions,
      blocksMissing: stats.scrub.missing,
      blockErrors: stats.resync.errors,
    },
  }
}

/** The figures of this node now. */
export async function nodeFigures(context: AdminContext): Promise<NodeFigures> {
  const { cluster, machine, clock } = context
  return {
    atMs: clock.monotonicMs(),
    uptimeSecs: Math.floor(machine.uptimeSecs()),
    process: (await machine.figures?.()) ?? null,
    queues: Object.entries(queueLengths(context)).map(([name, length]) => ({
      name: name as NodeFigures['queues'][number]['name'],
      length,
    })),
    syncQueueLength: cluster.ownStatus().queueLength,
    peers: roundTripsOf(context),
  }
}

function roundTripsOf({ cluster, roundTripMs }: AdminContext): NodeFigures['peers'] {
  return cluster.peering.connected().flatMap((id) => {
    const ms = roundTripMs(id)
    return ms === undefined ? [] : [{ id, roundTripMs: ms }]
  })
}
