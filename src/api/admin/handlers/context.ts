import type { BlockRefRow } from '../../../block/block-ref.js'
import type { CatchUp } from '../../../block/catch-up.js'
import type { BlockManager } from '../../../block/manager.js'
import type { ClusterSystem } from '../../../cluster/system.js'
import type { Db } from '../../../db/db.js'
import type { Model } from '../../../model/model.js'
import type { NodeId } from '../../../net/transport.js'
import type { Table } from '../../../table/table.js'
import type { TableSet } from '../../../table/tables.js'
import type { Clock } from '../../../util/clock.js'
import type { Log } from '../../../util/log.js'
import type { Random } from '../../../util/random.js'
import type { OperationArgs, OperationName } from '../operation-schemas.js'
import type { OperationResult } from '../operations.js'
import type { AdminTokenInfo, ConnectionParameters } from '../types.js'
import type { Owners } from './owners.js'
import type { RepairRuns } from './repair-runs.js'

/** What the configuration and the program say of this node, for its description. */
export interface NodeFacts {
  /** What the program runs on, such as "Node.js 24.1.0". */
  runtime: string
  /** How clients reach this node, as far as its configuration tells. */
  connectionParameters: ConnectionParameters
  /** The tokens of the configuration, as they are listed. */
  configuredTokens: readonly AdminTokenInfo[]
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
  /** Whether the scrub service runs here (disable_scrub). */
  scrubs: boolean
  /** Writes a snapshot of the metadata into a new folder and removes old ones; resolves with its path. */
  snapshot: () => Promise<string>
}

/** The context of the handlers. */
export interface AdminContext extends AdminDeps {
  self: NodeId
  repairs: RepairRuns
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
