import type { BlockRefRow } from '../../../block/block-ref.js'
import type { CatchUp } from '../../../block/catch-up.js'
import type { BlockManager } from '../../../block/manager.js'
import type { ConsistencyMode } from '../../../cluster/layout/view.js'
import type { ClusterSystem } from '../../../cluster/system.js'
import type { Db } from '../../../db/db.js'
import type { Model } from '../../../model/model.js'
import type { NodeId } from '../../../net/transport.js'
import type { Table } from '../../../table/table.js'
import type { TableSet } from '../../../table/tables.js'
import type { Clock } from '../../../util/clock.js'
import type { Log } from '../../../util/log.js'
import type { Random } from '../../../util/random.js'
import type { StreamCall } from '../../client/stream-call.js'
import type { QueueHistory } from '../diagnosis/queues.js'
import type { OperationArgs, OperationName } from '../operation-schemas.js'
import type { OperationResult } from '../operations.js'
import type { AdminTokenInfo, ConnectionParameters, MachineFacts, ProcessFigures } from '../types.js'
import type { Owners } from './owners.js'
import type { RepairRuns } from './repair-runs.js'

/** What the configuration and the program say of this node, for its description. */
export interface NodeFacts {
  /** What the program runs on, such as "Node.js 24.1.0". */
  runtime: string
  /** How clients reach this node, as far as its configuration tells. */
  connectionParameters: ConnectionParameters
  /** Whether this node has a master key, without which buckets cannot be encrypted by default. */
  canEncrypt: boolean
  /** The tokens of the configuration, as they are listed. */
  configuredTokens: readonly AdminTokenInfo[]
}

/** The machine that a node runs on, and how the node fares there. */
export interface MachineAccess {
  uptimeSecs(): number
  facts(): Promise<MachineFacts>
  /** Data folders whose disk seems not to be there are taken as they are now, empty for instance. */
  acceptFolders(): Promise<void>
  /**
   * Connects to an address as the command line does, to see which node answers.
   * @throws CarportError PeerUnreachable, Timeout
   */
  probe(address: string): Promise<{ id: NodeId; incarnation: string }>
  /** What the node's metrics say of its requests and its process; undefined without the admin API, which has the metrics. */
  figures?(): Promise<ProcessFigures>
}

/** The parts of a node that administration needs. */
export interface AdminDeps {
  clock: Clock
  random: Random
  api: NodeFacts
  log: Log
  db: Db
  cluster: ClusterSystem
  tables: TableSet
  /** The replicated table of block references. */
  blockRefs: Table<BlockRefRow>
  blocks: BlockManager
  model: Model
  /** What this node has still to do. */
  catchUp: CatchUp
  replicationFactor: number
  consistencyMode: ConsistencyMode
  machine: MachineAccess
  /** Whether the scrub service runs here (disable_scrub). */
  scrubs: boolean
  /** Calls the sources of shadow buckets, to see whether they answer; without it they are not asked. */
  shadowCall?: StreamCall
  /** Writes a snapshot of the metadata into a new folder and removes old ones; resolves with its path. */
  snapshot: () => Promise<string>
}

/** The context of the handlers. */
export interface AdminContext extends AdminDeps {
  self: NodeId
  repairs: RepairRuns
  queueHistory: QueueHistory
  /** The last round trip to a connected node, in ms. */
  roundTripMs(node: NodeId): number | undefined
  /**
   * Runs an operation on another node.
   * @throws CarportError as thrown by the handler there, or by the connection
   */
  ask<N extends OperationName>(
    node: NodeId,
    operation: N,
    args: OperationArgs<N>,
    timeoutMs: number,
  ): Promise<OperationResult<N>>
  /** Asks all nodes which versions and parts these owners of blocks are. */
  findOwners(owners: readonly Buffer[]): Promise<Owners>
}
