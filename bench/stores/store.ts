import type { Target } from '../load/raw-s3.js'

/** An S3 service that runs. */
export interface Store {
  readonly name: string
  readonly target: Target
  /** The server's processes, children included; none if they are not known. */
  pids(): number[]
  /**
   * Puts rows of `count` objects with a few bytes each, named by `treeKey` from 0, into a bucket without requests;
   * the service is stopped meanwhile. Undefined where there is no such way.
   */
  generate?(bucket: string, count: number): Promise<void>
  /** Stops the service and starts it again. @returns ms from its start to its first answer over HTTP */
  restart?(): Promise<number>
  /** Ends the service and removes its data. A service that was there before stays. */
  stop(): Promise<void>
}

/** Nodes in zones, whose links pass a delaying proxy if one was asked for. */
export interface Cluster extends Store {
  stopNode(i: number, signal: NodeJS.Signals): Promise<void>
  startNode(i: number): Promise<void>
  /** What the nodes have still to send or fetch, all together; 0 when every copy is where it belongs. */
  backlog(): Promise<number>
  /** Changes the links of a zone: as usual, 500 ms round trips, or nothing gets through and no connection is closed. */
  setZone(zone: number, state: ZoneState): Promise<void>
  /** Round trips of single bytes through the proxy between two zones, in ms. */
  measureRoundTrips(count: number): Promise<number[]>
}

export type ZoneState = 'normal' | 'slow' | 'silent'

export interface ClusterSpec {
  nodes: number
  zones: number
  replicationFactor: number
  /** Delay between zones, one way, in ms; undefined: no proxy. */
  delayMs?: number
  /** Each byte's delay differs by up to this much, in ms. */
  jitterMs?: number
}

/** Whom to measure: how to start it, in a folder of its own. */
export interface Contender {
  readonly name: string
  /** @param dir an empty folder, removed by `stop` */
  start(dir: string): Promise<Store>
  /** Absent where clusters are not possible. */
  startCluster?(dir: string, spec: ClusterSpec): Promise<Cluster>
}
