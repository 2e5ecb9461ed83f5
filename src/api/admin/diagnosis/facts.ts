import type { z } from 'zod'
import type { LayoutVersion } from '../../../cluster/layout/types.js'
import type { addressProbe } from '../result-schemas-diagnosis.js'
import type { ClusterHealthInfo, LayoutHistory, MachineFacts, NodeDiagnostics, NodeStatus } from '../types.js'

export type { Finding, MachineFacts, NodeDiagnostics } from '../types.js'
export type AddressProbe = z.infer<typeof addressProbe>

/** Everything that the checks of a cluster look at, gathered by one of its nodes. */
export interface ClusterFacts {
  /** The node that gathered them. */
  self: string
  /** All nodes that it knows. */
  nodes: readonly NodeStatus[]
  /** What the nodes say of themselves, by id, and why others did not answer. */
  reports: Readonly<Record<string, NodeDiagnostics>>
  unanswered: Readonly<Record<string, string>>
  /** What answers at the addresses that nodes are known by, as seen from this node. */
  probes: readonly AddressProbe[]
  /** The newest layout; undefined before the first. */
  layout: LayoutVersion | undefined
  history: LayoutHistory
  health: ClusterHealthInfo
  quorums: { write: number; read: number }
}

/** What can be seen of a node whose server does not run, or does not answer. */
export interface StoppedFacts {
  machine: MachineFacts
  /** Why the server could not be asked. */
  unreachable: string
  /** Who holds the node's folders; null: nobody, so that no server runs on them. */
  heldBy: string | null
  /** Problems of the configuration, each in a sentence. */
  configProblems: readonly string[]
  /** The addresses to listen on, and whether another program listens there, or why they cannot be had. */
  ports: readonly { key: string; address: string; inUse: boolean; problem: string | null }[]
  /** What is wrong with the database's file; null: nothing that can be seen from outside, or there is none. */
  databaseFault: string | null
  /** Whether the metadata folder has a database. */
  hasDatabase: boolean
}
