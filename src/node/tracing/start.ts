import type { BeginRequestSpan } from '../../api/http/request-record.js'
import type { Disk } from '../../block/disk.js'
import type { Db } from '../../db/db.js'
import type { Transport } from '../../net/transport.js'
import { otlpExporter } from '../../platform/otlp-exporter.js'
import type { Log } from '../../util/log.js'
import type { CoreParts } from '../core.js'
import { requestSpans } from './requests.js'
import { traceDb, tracedClasses, tracedDisk } from './traced-storage.js'
import { TracedTransport } from './traced-transport.js'
import { Tracing, type TracingOptions } from './tracing.js'

/** How long the collector may take to answer, in ms. */
const ANSWER_TIMEOUT_MS = 3_000

/** Parts of a node, made to trace (docs/tracing.md). Wrapped before the node is put together from them. */
export interface NodeTracing {
  transport(transport: Transport): Transport
  disk(disk: Disk): Disk
  database(db: Db): void
  classes(): NonNullable<CoreParts['classes']>
  requests(api: string): BeginRequestSpan
  /** Sends what is left. */
  stop(): Promise<void>
}

/**
 * Traces to a collector, to which nothing is sent before there are spans. This module is the only way in: a node without
 * a collector loads nothing of tracing.
 */
export function startTracing(sink: string, log: Log, options: Omit<TracingOptions, 'exporter'>): NodeTracing {
  const tracing = new Tracing({ ...options, exporter: otlpExporter(sink, ANSWER_TIMEOUT_MS, log) })
  return {
    transport: (transport) => new TracedTransport(transport, tracing),
    disk: (disk) => tracedDisk(disk, tracing),
    database: (db) => traceDb(db, tracing),
    classes: () => tracedClasses(tracing),
    requests: (api) => requestSpans(tracing, api),
    stop: () => tracing.stop(),
  }
}
