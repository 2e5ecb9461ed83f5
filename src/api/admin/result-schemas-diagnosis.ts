/** The results of the operations that diagnose and measure: beyond Garage's API (see result-schemas.ts). */
import { z } from 'zod'
import { ofNodes, workerInfo } from './result-schemas-nodes.js'

const count = z.int().nonnegative()
const nodeId = z.string()

/** What a node finds on the machine where it runs. */
export const machineFacts = z.object({
  /** Files and folders with secrets in them, as far as they exist. */
  secrets: z.array(
    z.object({
      what: z.enum(['configuration', 'secret', 'nodeKey', 'metadata', 'snapshots']),
      path: z.string(),
      /** The permission bits. */
      mode: count,
    }),
  ),
  volumes: z.array(
    z.object({
      use: z.enum(['metadata', 'data']),
      path: z.string(),
      readOnly: z.boolean(),
      /** Whether the folder lacks the mark that this node left in it: another disk, or none, is mounted there. */
      lost: z.boolean(),
      /** Bytes of its file system. */
      available: count,
      total: count,
      /** Median time of a small write with an fsync, in ms; null if nothing could be written. */
      fsyncMs: z.number().nonnegative().nullable(),
      /** Why the folder cannot be used, as an error code; null if it can. */
      problem: z.string().nullable(),
    }),
  ),
  snapshots: z.object({
    count,
    newestSecsAgo: count.nullable(),
    /** metadata_auto_snapshot_interval; null: none are made by themselves. */
    intervalSecs: z.number().positive().nullable(),
  }),
})

/** A queue of a node. */
export const queueFact = z.object({
  name: z.enum(['missedWrites', 'blockReferences', 'blockResync', 'purge', 'tombstones']),
  length: count,
  /** How long the oldest entry has waited, in seconds; null where that is not known. */
  oldestSecs: z.number().nonnegative().nullable(),
  /** Lengths of before, the oldest first, a quarter of an hour apart: at most four, from the last hour. */
  before: z.array(count),
})

/** What a node says of itself. */
export const nodeDiagnostics = z.object({
  version: z.string(),
  uptimeSecs: count,
  replicationFactor: count,
  layoutVersion: count,
  /** Versions under which it met two different layouts since its start; left out by earlier releases. */
  layoutConflicts: z.array(count).exactOptional(),
  consistencyMode: z.enum(['consistent', 'degraded', 'dangerous']),
  /** Null if it could not look at its machine. */
  machine: machineFacts.nullable(),
  peers: z.array(
    z.object({
      id: nodeId,
      isUp: z.boolean(),
      /** host:port, the best first. */
      addresses: z.array(z.string()),
      lastSeenSecsAgo: count.nullable(),
      roundTripMs: z.number().nonnegative().nullable(),
    }),
  ),
  workers: z.array(workerInfo),
  queues: z.array(queueFact),
  damage: z.object({
    /** Rows that are damaged and not repaired yet, and those of them that no replica has. */
    rows: count,
    rowsLost: count,
    /** Damaged blocks since the start, and those that are missing by the last scrub. */
    blocksCorrupted: count,
    blocksMissing: count,
    /** Blocks that could not be fetched. */
    blockErrors: count,
  }),
})

/** What answered at an address of a node. */
export const addressProbe = z.object({
  address: z.string(),
  /** The node that answered; null if none did. */
  id: nodeId.nullable(),
  /** Tells two processes apart that claim to be one node. */
  incarnation: z.string().nullable(),
  error: z.string().nullable(),
})

export const finding = z.object({
  severity: z.enum(['error', 'warning', 'info']),
  /** A stable name of what was found, such as "disk-full". */
  check: z.string(),
  /** The node that it is about; null: the whole cluster. */
  node: nodeId.nullable(),
  message: z.string(),
  /** What helps, normally a command. */
  help: z.string(),
})

export const clusterDiagnosis = z.object({
  /** The worst first. */
  findings: z.array(finding),
  /** The checks that were made, found something or not. */
  checks: z.array(z.string()),
  nodesAsked: count,
  nodesAnswered: count,
})

/** Requests of one API since the start of the process. */
const requestFigures = z.object({
  count,
  /** Answers with a status from 400 on, and from 500 on. */
  clientErrors: count,
  serverErrors: count,
  /** How many requests took at most so many seconds; each count contains the ones before it. */
  durations: z.array(z.object({ seconds: z.number().positive(), count })),
})

/** What the metrics of a node say of its requests and its process. */
export const processFigures = z.object({
  /** By API: "s3", "k2v", "web", "admin". */
  requests: z.record(z.string(), requestFigures),
  /** Bytes of content that clients sent, and got, since the start. */
  bytesIn: count,
  bytesOut: count,
  /** How late timers are, in seconds, in this minute. */
  eventLoopDelay: z.object({ p50: z.number(), p99: z.number(), longest: z.number() }),
  memory: z.object({ rss: count, heapUsed: count }),
  cpuSecs: z.number().nonnegative(),
})

/** The figures of a node now; those that count begin at zero with its process. */
export const nodeFigures = z.object({
  /** The node's own steady clock in ms, to know the time between two of these. */
  atMs: z.number().nonnegative(),
  uptimeSecs: count,
  /** Null on a node that does not serve the admin API: only with it does a node measure its requests. */
  process: processFigures.nullable(),
  queues: z.array(z.object({ name: queueFact.shape.name, length: count })),
  /** See GetClusterStatus. */
  syncQueueLength: count.nullable(),
  peers: z.array(z.object({ id: nodeId, roundTripMs: z.number().nonnegative() })),
})

export const diagnosisResults = {
  'cluster.diagnose': clusterDiagnosis,
  'node.diagnose': ofNodes(nodeDiagnostics),
  'node.figures': ofNodes(nodeFigures),
}
