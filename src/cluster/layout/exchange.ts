/**
 * Finds which nodes hold which partition by weighted matroid intersection (Schrijver, Combinatorial Optimization,
 * ch. 41), solved by successive shortest augmenting paths. A placement is a set of pairs (partition, node):
 *  - per partition it must be extensible to a whole set: at most `replicas` nodes, of which at most
 *    `replicas - zoneRedundancy` share a zone with another one (a matroid);
 *  - per node at most `limits[node]` pairs (a matroid too).
 * A pair of the previous layout weighs 1, others 0: a heaviest placement of full size moves the least data.
 * Each augmentation keeps the placement heaviest of its size. Exchange arcs of all partitions between two nodes
 * are folded into one, so a path is searched over nodes only, not over partitions × zones.
 */
export interface ExchangeInput {
  partitions: number
  replicas: number
  zoneRedundancy: number
  /** Zone of each node, numbered from 0. */
  zones: readonly number[]
  /** Greatest number of partitions of each node. */
  limits: readonly number[]
  /** partitions × nodes, row-major: 1 where the node held the partition before. */
  previous: Uint8Array
}

/** One unit of weight; each arc costs 1 more, so that among lightest paths a shortest one is found. */
const WEIGHT = 1 << 12
const UNREACHED = 1 << 30

/**
 * Returns partitions × nodes, row-major: 1 where the node holds the partition.
 * @throws Error if no full placement exists; the caller checks that first.
 */
export function placeReplicas(input: ExchangeInput): Uint8Array {
  const placement = new Placement(input)
  placement.keepPrevious()
  while (placement.bestPathCost() <= -WEIGHT + MAX_HOPS) placement.augment()
  placement.fillFreeSlots()
  while (!placement.isFull()) {
    if (placement.bestPathCost() >= UNREACHED) throw new Error('no placement fits the limits')
    placement.augment()
  }
  return placement.held
}

const MAX_HOPS = 1 << 10

class Placement {
  readonly held: Uint8Array
  readonly #nodes: number
  readonly #zoneCount: number
  /** Replicas that may share a zone with another replica of the partition. */
  readonly #spare: number
  readonly #size: Int32Array
  readonly #zonesUsed: Int32Array
  readonly #inZone: Int32Array
  readonly #load: Int32Array
  #placed = 0
  /** Where the scan for witnesses starts: rotates, so that moves spread over partitions. */
  #scanStart = 0
  // Result of the last path search.
  readonly #distance: Int32Array
  readonly #parent: Int32Array
  readonly #sourceWitness: Int32Array
  readonly #arcCost: Int32Array
  readonly #arcWitness: Int32Array
  #sink = -1

  constructor(readonly input: ExchangeInput) {
    const nodes = input.zones.length
    this.#nodes = nodes
    this.#zoneCount = Math.max(-1, ...input.zones) + 1
    this.#spare = input.replicas - input.zoneRedundancy
    this.held = new Uint8Array(input.partitions * nodes)
    this.#size = new Int32Array(input.partitions)
    this.#zonesUsed = new Int32Array(input.partitions)
    this.#inZone = new Int32Array(input.partitions * this.#zoneCount)
    this.#load = new Int32Array(nodes)
    this.#distance = new Int32Array(nodes)
    this.#parent = new Int32Array(nodes)
    this.#sourceWitness = new Int32Array(nodes)
    this.#arcCost = new Int32Array(nodes * nodes)
    this.#arcWitness = new Int32Array(nodes * nodes)
  }

  isFull(): boolean {
    return this.#placed === this.input.partitions * this.input.replicas
  }

  /** Takes over the previous pairs, less those that break a constraint now. */
  keepPrevious(): void {
    const { partitions, previous } = this.input
    for (let p = 0; p < partitions; p++) {
      for (let n = 0; n < this.#nodes; n++) if (previous[p * this.#nodes + n] === 1) this.#add(p, n)
    }
    for (let p = 0; p < partitions; p++) {
      while (this.#size[p]! > this.input.replicas || this.#size[p]! - this.#zonesUsed[p]! > this.#spare) {
        this.#remove(p, this.#fullestNode(p))
      }
    }
    for (let n = 0; n < this.#nodes; n++) this.#unload(n)
  }

  /** The node of partition `p` that is most above its limit, among those that share a zone if that is the trouble. */
  #fullestNode(p: number): number {
    const crowded = this.#size[p]! - this.#zonesUsed[p]! > this.#spare
    let best = -1
    let bestLoad = -1
    for (let n = 0; n < this.#nodes; n++) {
      if (this.held[p * this.#nodes + n] === 0) continue
      if (crowded && this.#inZone[p * this.#zoneCount + this.input.zones[n]!]! < 2) continue
      const load = this.#load[n]! / (this.input.limits[n]! + 1)
      if (load > bestLoad) {
        best = n
        bestLoad = load
      }
    }
    return best
  }

  /** Brings a node down to its limit, at the cost of partitions that miss no replica yet where possible. */
  #unload(n: number): void {
    const excess = this.#load[n]! - this.input.limits[n]!
    if (excess <= 0) return
    const own: number[] = []
    for (let p = 0; p < this.input.partitions; p++) if (this.held[p * this.#nodes + n] === 1) own.push(p)
    own.sort((a, b) => this.#size[b]! - this.#size[a]! || mix(a, n) - mix(b, n))
    for (let i = 0; i < excess; i++) this.#remove(own[i]!, n)
  }

  /** Adds replicas wherever a partition misses one and a node has room, on the node with the most room left. */
  fillFreeSlots(): void {
    for (let p = 0; p < this.input.partitions; p++) {
      while (this.#size[p]! < this.input.replicas) {
        let best = -1
        let bestScore = -1
        for (let n = 0; n < this.#nodes; n++) {
          const limit = this.input.limits[n]!
          if (this.#load[n]! >= limit || !this.#canAdd(p, n)) continue
          // The jitter keeps nodes from forming fixed groups, whose members would share all their partitions.
          const score = (limit - this.#load[n]!) / limit + mix(p, n) / 2 ** 34
          if (score > bestScore) {
            best = n
            bestScore = score
          }
        }
        if (best < 0) break
        this.#add(p, best)
      }
    }
  }

  /** Searches a path that adds one replica. Returns its cost, or UNREACHED if there is none. */
  bestPathCost(): number {
    this.#buildArcs()
    this.#relax()
    this.#sink = -1
    let best = UNREACHED
    let bestRoom = -1
    for (let n = 0; n < this.#nodes; n++) {
      const limit = this.input.limits[n]!
      const room = (limit - this.#load[n]!) / limit
      if (this.#load[n]! >= limit || this.#distance[n]! > best) continue
      if (this.#distance[n]! < best || room > bestRoom) {
        best = this.#distance[n]!
        bestRoom = room
        this.#sink = n
      }
    }
    return best
  }

  /** Applies the path that the last search found. */
  augment(): void {
    let to = this.#sink
    while (this.#parent[to] !== -1) {
      const from = this.#parent[to]!
      const p = this.#arcWitness[from * this.#nodes + to]!
      this.#remove(p, from)
      this.#add(p, to)
      to = from
    }
    this.#add(this.#sourceWitness[to]!, to)
    this.#scanStart = (this.#scanStart + 89) % this.input.partitions
  }

  /** For each node the lightest way to begin there, for each two nodes the lightest swap of the one for the other. */
  #buildArcs(): void {
    const nodes = this.#nodes
    const { partitions, replicas, previous, zones } = this.input
    this.#distance.fill(UNREACHED)
    this.#arcCost.fill(UNREACHED)
    for (let i = 0; i < partitions; i++) {
      const p = (this.#scanStart + i) % partitions
      const row = p * nodes
      const zoneRow = p * this.#zoneCount
      const free = this.#zonesUsed[p]! + this.#spare - this.#size[p]!
      if (this.#size[p]! < replicas) {
        for (let m = 0; m < nodes; m++) {
          if (this.held[row + m] === 1 || (free === 0 && this.#inZone[zoneRow + zones[m]!]! > 0)) continue
          const cost = 1 - previous[row + m]! * WEIGHT
          if (cost < this.#distance[m]!) {
            this.#distance[m] = cost
            this.#sourceWitness[m] = p
          }
        }
      }
      for (let n = 0; n < nodes; n++) {
        if (this.held[row + n] === 0) continue
        const aloneInZone = this.#inZone[zoneRow + zones[n]!] === 1
        for (let m = 0; m < nodes; m++) {
          if (this.held[row + m] === 1) continue
          // Only a swap that takes a zone away and brings none can break the redundancy.
          if (free === 0 && aloneInZone && zones[m] !== zones[n] && this.#inZone[zoneRow + zones[m]!]! > 0) {
            continue
          }
          const cost = 1 + (previous[row + n]! - previous[row + m]!) * WEIGHT
          if (cost < this.#arcCost[n * nodes + m]!) {
            this.#arcCost[n * nodes + m] = cost
            this.#arcWitness[n * nodes + m] = p
          }
        }
      }
    }
  }

  /** Bellman-Ford; there are no negative cycles while the placement is heaviest of its size. */
  #relax(): void {
    const nodes = this.#nodes
    this.#parent.fill(-1)
    for (let round = 0, changed = true; changed; round++) {
      if (round > nodes) throw new Error('negative cycle: the placement is not heaviest of its size')
      changed = false
      for (let n = 0; n < nodes; n++) {
        const base = this.#distance[n]!
        if (base >= UNREACHED) continue
        for (let m = 0; m < nodes; m++) {
          const arc = this.#arcCost[n * nodes + m]!
          if (arc < UNREACHED && base + arc < this.#distance[m]!) {
            this.#distance[m] = base + arc
            this.#parent[m] = n
            changed = true
          }
        }
      }
    }
  }

  #canAdd(p: number, n: number): boolean {
    if (this.held[p * this.#nodes + n] === 1) return false
    const newZone = this.#inZone[p * this.#zoneCount + this.input.zones[n]!] === 0
    return newZone || this.#size[p]! - this.#zonesUsed[p]! < this.#spare
  }

  #add(p: number, n: number): void {
    this.held[p * this.#nodes + n] = 1
    this.#size[p]!++
    this.#load[n]!++
    this.#placed++
    const cell = p * this.#zoneCount + this.input.zones[n]!
    if (this.#inZone[cell]!++ === 0) this.#zonesUsed[p]!++
  }

  #remove(p: number, n: number): void {
    this.held[p * this.#nodes + n] = 0
    this.#size[p]!--
    this.#load[n]!--
    this.#placed--
    const cell = p * this.#zoneCount + this.input.zones[n]!
    if (--this.#inZone[cell]! === 0) this.#zonesUsed[p]!--
  }
}

/** A 32-bit hash of two small numbers (the finalizer of MurmurHash3), the same everywhere. */
function mix(a: number, b: number): number {
  let h = Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
