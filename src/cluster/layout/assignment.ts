import type { NodeId } from '../../net/transport.js'
import { placeReplicas } from './exchange.js'
import { invalid, MAX_STORAGE_NODES, type NodeRole, type ZoneRedundancy } from './types.js'

export interface AssignmentInput {
  /** Gateways are left out. */
  roles: ReadonlyMap<NodeId, NodeRole>
  replicationFactor: number
  zoneRedundancy: ZoneRedundancy
  partitions: number
  /** The nodes of each partition in the previous layout, of which as many as possible stay. */
  previous?: readonly (readonly NodeId[])[]
}

export interface Assignment {
  partitionSizeBytes: number
  storageNodes: NodeId[]
  /** For each partition `replicationFactor` ascending indexes into `storageNodes`. */
  assignment: Uint8Array
}

interface StorageNode {
  readonly zone: number
  readonly capacityBytes: number
}

/**
 * Assigns partitions to nodes: first the partition size, and with it the cluster's usable capacity, is made as
 * large as the capacities and the zone redundancy allow, then as few replicas as possible move from where they
 * were. The goals are those of "Optimal partition assignment in Garage" (Auvolat, 2022), the method is our own.
 * Deterministic: the same input gives the same assignment on every node.
 * @throws CarportError InvalidArgument: too few nodes or zones, capacities too small, impossible redundancy
 */
export function computeAssignment(input: AssignmentInput): Assignment {
  const { roles, replicationFactor, partitions } = input
  const storageNodes = [...roles.keys()].filter((id) => roles.get(id)!.capacityBytes !== null).sort()
  const zoneNames = [...new Set(storageNodes.map((id) => roles.get(id)!.zone))].sort()
  checkCounts(input, storageNodes.length, zoneNames.length)
  const zoneRedundancy = effectiveZoneRedundancy(input.zoneRedundancy, replicationFactor, zoneNames.length)
  const nodes = storageNodes.map((id): StorageNode => {
    const role = roles.get(id)!
    return { zone: zoneNames.indexOf(role.zone), capacityBytes: role.capacityBytes! }
  })
  const shape = { partitions, replicas: replicationFactor, zoneRedundancy }
  const partitionSizeBytes = largestPartitionSize(nodes, shape)
  const held = placeReplicas({
    ...shape,
    zones: nodes.map((node) => node.zone),
    limits: partitionLimits(nodes, partitions, partitionSizeBytes),
    previous: previousMatrix(storageNodes, partitions, input.previous),
  })
  return { partitionSizeBytes, storageNodes, assignment: toIndexes(held, storageNodes.length, shape) }
}

/** The number of zones that 'maximum' stands for. */
export function effectiveZoneRedundancy(
  zoneRedundancy: ZoneRedundancy,
  replicationFactor: number,
  zoneCount: number,
): number {
  return zoneRedundancy === 'maximum' ? Math.min(replicationFactor, zoneCount) : zoneRedundancy
}

function checkCounts(input: AssignmentInput, nodeCount: number, zoneCount: number): void {
  const { replicationFactor, zoneRedundancy } = input
  if (nodeCount < replicationFactor) {
    throw invalid(
      `replication factor ${replicationFactor} needs at least ${replicationFactor} nodes with a capacity, ` +
        `the layout has ${nodeCount}`,
    )
  }
  if (nodeCount > MAX_STORAGE_NODES) {
    throw invalid(`a layout has at most ${MAX_STORAGE_NODES} nodes with a capacity, this one ${nodeCount}`)
  }
  if (zoneRedundancy === 'maximum') return
  if (zoneRedundancy > replicationFactor) {
    throw invalid(
      `zone redundancy ${zoneRedundancy} cannot be above the replication factor ${replicationFactor}`,
    )
  }
  if (zoneRedundancy > zoneCount) {
    throw invalid(
      `zone redundancy ${zoneRedundancy} needs nodes with a capacity in at least ${zoneRedundancy} zones, ` +
        `the layout has ${zoneCount}`,
    )
  }
}

interface Shape {
  readonly partitions: number
  readonly replicas: number
  readonly zoneRedundancy: number
}

/** The greatest size for which a placement exists, in bytes, by binary search. */
function largestPartitionSize(nodes: readonly StorageNode[], shape: Shape): number {
  const total = nodes.reduce((sum, node) => sum + node.capacityBytes, 0)
  // Partitions of this size would not fit even if bytes could be placed freely; + 1 and the factor for rounding.
  let tooLarge = Math.ceil((total / (shape.partitions * shape.replicas)) * (1 + 1e-9)) + 1
  let fits = 0
  while (tooLarge - fits > 1) {
    const size = fits + Math.floor((tooLarge - fits) / 2)
    if (isPlaceable(nodes, shape, size)) fits = size
    else tooLarge = size
  }
  if (fits === 0) throw invalid('the capacities are too small for one byte per partition in each replica')
  return fits
}

/**
 * Whether partitions of this size can be placed. In the flow network of the paper all partitions are alike, so a
 * flow summed up over partitions can be split evenly between them, and by integrality of flows a whole placement
 * then exists too. That leaves a network of zones whose minimum cut can be written down: one term per choice of
 * which of the two sources (replicas in distinct zones, replicas anywhere) lies on the side of the sink.
 */
function isPlaceable(nodes: readonly StorageNode[], shape: Shape, sizeBytes: number): boolean {
  const { partitions, replicas, zoneRedundancy } = shape
  const limits = partitionLimits(nodes, partitions, sizeBytes)
  const perZone: number[] = []
  for (const [i, { zone }] of nodes.entries()) perZone[zone] = (perZone[zone] ?? 0) + limits[i]!
  const anywhere = replicas - zoneRedundancy
  const reach = (perPartition: number) =>
    perZone.reduce((sum, limit) => sum + Math.min(limit, perPartition * partitions), 0)
  return (
    reach(1) >= zoneRedundancy * partitions &&
    reach(anywhere) >= anywhere * partitions &&
    reach(1 + anywhere) >= replicas * partitions
  )
}

/** How many partitions of this size each node can hold. */
function partitionLimits(nodes: readonly StorageNode[], partitions: number, sizeBytes: number): number[] {
  return nodes.map(({ capacityBytes }) =>
    // Subtract the remainder first: the division is then exact, however large the numbers.
    Math.min(partitions, (capacityBytes - (capacityBytes % sizeBytes)) / sizeBytes),
  )
}

function previousMatrix(
  storageNodes: readonly NodeId[],
  partitions: number,
  previous: AssignmentInput['previous'],
): Uint8Array {
  const matrix = new Uint8Array(partitions * storageNodes.length)
  const indexOf = new Map(storageNodes.map((id, index) => [id, index]))
  for (const [p, ids] of (previous ?? []).slice(0, partitions).entries()) {
    for (const id of ids) {
      const n = indexOf.get(id)
      if (n !== undefined) matrix[p * storageNodes.length + n] = 1
    }
  }
  return matrix
}

function toIndexes(held: Uint8Array, nodeCount: number, { partitions, replicas }: Shape): Uint8Array {
  const assignment = new Uint8Array(partitions * replicas)
  let at = 0
  for (let p = 0; p < partitions; p++) {
    for (let n = 0; n < nodeCount; n++) if (held[p * nodeCount + n] === 1) assignment[at++] = n
  }
  return assignment
}
