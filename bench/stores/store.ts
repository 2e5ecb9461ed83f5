import type { Target } from '../load/raw-s3.js'

/** An S3 service that runs. */
export interface Store {
  readonly name: string
  readonly target: Target
  /** Pids of the server's processes, children included; empty if they are not known. */
  pids(): number[]
  /**
   * Puts rows of `count` objects with a few bytes each, named by `treeKey` from 0, or all in one folder, into a bucket
   * without requests; the service is stopped meanwhile. Undefined for a store that cannot do it.
   */
  generate?(bucket: string, count: number, isFlat?: boolean): Promise<void>
  /** Stops the service and starts it again. @returns ms from its start to its first answer over HTTP */
  restart?(): Promise<number>
  /** Ends the service and removes its data. A service that the benchmark did not start stays. */
  stop(): Promise<void>
}

/** Nodes in zones, whose links pass a delaying proxy if one was asked for. */
export interface Cluster extends Store {
  stopNode(i: number, signal: NodeJS.Signals): Promise<void>
  startNode(i: number): Promise<void>
  /** How much all nodes together have still to send or fetch; 0 when every copy is in its place. */
  backlog(): Promise<number>
  /** Changes the links of a zone to normal, to 500 ms round trips, or to losing everything without closing a connection. */
  setZone(zone: number, state: ZoneState): Promise<void>
  /** Measures round trips of single bytes through the proxy between two zones, in ms. */
  measureRoundTrips(count: number): Promise<number[]>
}

export type ZoneState = 'normal' | 'slow' | 'silent'

export interface ClusterSpec {
  nodes: number
  zones: number
  replicationFactor: number
  /** Delay between zones, one way, in ms; undefined: no proxy. */
  delayMs?: number
  /** The most by which each byte's delay differs, in ms. */
  jitterMs?: number
}

/** A store to measure, with the way to start it in a folder of its own. */
export interface Contender {
  readonly name: string
  /** @param dir an empty folder, removed by `stop` */
  start(dir: string): Promise<Store>
  /** Starts a cluster; absent for stores without clusters. */
  startCluster?(dir: string, spec: ClusterSpec): Promise<Cluster>
}
