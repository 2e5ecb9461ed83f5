import type { ProcessFigures } from '../../api/admin/types.js'
import type { RequestRecord } from '../../api/http/front.js'
import type { Disk } from '../../block/disk.js'
import type { Config } from '../../config/config.js'
import type { Transport } from '../../net/transport.js'
import type { Clock } from '../../util/clock.js'
import type { Core } from '../core.js'
import { clusterMetrics } from './cluster-metrics.js'
import { measuredDisk } from './measured-disk.js'
import { MeasuredTransport } from './measured-transport.js'
import { processMetrics } from './process-metrics.js'
import { Registry } from './prom-client.js'
import { RequestMetrics } from './request-metrics.js'
import { storageMetrics } from './storage-metrics.js'
import { tableMetrics } from './table-metrics.js'
import { workerMetrics } from './worker-metrics.js'

/**
 * The metrics of a node (docs/metrics.md lists them). Loaded only where the admin API is served. Parts of the node are
 * wrapped in others that measure, before the node is put together from them.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #requests: RequestMetrics
  #stop: (() => void) | undefined
  #scrape: Promise<{ contentType: string; body: string }> | undefined

  constructor(private readonly clock: Clock) {
    this.#requests = new RequestMetrics(this.#registry)
  }

  measureTransport(transport: Transport): Transport {
    return new MeasuredTransport(transport, this.clock, this.#registry)
  }

  measureDisk(disk: Disk): Disk {
    return measuredDisk(disk, this.clock, this.#registry)
  }

  /** Adds what the whole node tells. */
  observe(core: Core, config: Config, version: string): void {
    clusterMetrics(this.#registry, core, { version, replicationFactor: config.replicationFactor })
    storageMetrics(this.#registry, core, {
      ramBufferBytes: config.blockRamBufferMaxBytes,
      compressionLevel: config.compressionLevel,
    })
    tableMetrics(this.#registry, this.clock, core)
    workerMetrics(this.#registry, core)
    this.#requests.addHosts = config.web?.addHostToMetrics ?? false
    this.#stop = processMetrics(this.#registry, this.clock)
  }

  /** Takes note of a request that has ended. @param api the front that served it: "s3", "web" … */
  addRequest(api: string, record: RequestRecord): void {
    this.#requests.add(api, record)
  }

  /** All metrics in Prometheus's text format. Those who ask at the same time share an answer. */
  text(): Promise<{ contentType: string; body: string }> {
    this.#scrape ??= this.#registry
      .metrics()
      .then((body) => ({ contentType: this.#registry.contentType, body }))
      .finally(() => {
        this.#scrape = undefined
      })
    return this.#scrape
  }

  /** The figures of requests and of the process, as data. */
  async figures(): Promise<ProcessFigures> {
    const { processFigures } = await import('./figures.js')
    return processFigures(this.#registry)
  }

  stop(): void {
    this.#stop?.()
  }
}
