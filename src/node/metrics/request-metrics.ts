import type { RequestRecord } from '../../api/http/front.js'
import { SECONDS_BUCKETS } from './families.js'
import { Counter, Histogram, type Registry } from './prom-client.js'

/** The APIs that serve requests, with the prefix and the label of their metrics in Garage. */
export const APIS = {
  s3: { prefix: 'api_s3', label: 'api_endpoint' },
  k2v: { prefix: 'api_k2v', label: 'api_endpoint' },
  admin: { prefix: 'api_admin', label: 'api_endpoint' },
  web: { prefix: 'web', label: 'method' },
} as const

export type ApiName = keyof typeof APIS

/** Buckets of which the requests are counted, each for itself; those of further ones are counted as one. */
const BUCKETS_MAX = 200
const OTHER_BUCKETS = '(other)'

/** Hosts of web sites of which the requests are counted, each for itself. */
const HOSTS_MAX = 500
const OTHER_HOSTS = '(other)'

interface ApiMetrics {
  requests: Counter
  errors: Counter
  durations: Histogram
}

/** Counts the requests of the HTTP front, by what they ask for. */
export class RequestMetrics {
  readonly #apis: Record<string, ApiMetrics>
  readonly #bucketRequests: Counter
  readonly #bucketBytes: Counter
  readonly #buckets = new Set<string>()
  readonly #hosts = new Set<string>()
  /** Whether requests for web sites are told apart by host (s3_web.add_host_to_metrics). */
  addHosts = false

  constructor(registry: Registry) {
    this.#apis = Object.fromEntries(
      Object.entries(APIS).map(([api, { prefix, label }]) => [
        api,
        apiMetrics(registry, prefix, api === 'web' ? [label, 'host'] : [label]),
      ]),
    )
    this.#bucketRequests = new Counter({
      name: 'carport_bucket_requests_total',
      help: 'Requests that succeeded, by bucket; of at most 200 buckets, the others as one',
      labelNames: ['bucket'],
      registers: [registry],
    })
    this.#bucketBytes = new Counter({
      name: 'carport_bucket_request_bytes_total',
      help: 'Bytes of content that clients sent (in) and got (out), by bucket',
      labelNames: ['bucket', 'direction'],
      registers: [registry],
    })
  }

  /** Takes note of a request that has ended. Does not throw. */
  add(api: string, record: RequestRecord): void {
    const metrics = this.#apis[api]
    if (!metrics) return
    const { label } = APIS[api as keyof typeof APIS]
    // Methods come from anybody: there are few that are served.
    const what = label === 'method' ? methodOf(record.method) : (record.operation ?? 'unknown')
    const labels: Record<string, string> = { [label]: what }
    if (this.addHosts && api === 'web') labels.host = this.#hostOf(record)
    metrics.requests.inc(labels)
    metrics.durations.observe(labels, record.durationMs / 1000)
    if (record.status >= 400) metrics.errors.inc({ ...labels, status_code: record.status })
    else if (record.bucket !== undefined) this.#addToBucket(record.bucket, record)
  }

  /** Anybody can send any host: only those of requests that succeeded get a series, and only so many. */
  #hostOf({ host = '', status }: RequestRecord): string {
    const name = host.toLowerCase().slice(0, 255)
    if (this.#hosts.has(name)) return name
    if (status >= 400 || this.#hosts.size >= HOSTS_MAX) return OTHER_HOSTS
    this.#hosts.add(name)
    return name
  }

  #addToBucket(name: string, { bytesReceived, bytesSent }: RequestRecord): void {
    let bucket = name
    if (!this.#buckets.has(name)) {
      if (this.#buckets.size < BUCKETS_MAX) this.#buckets.add(name)
      else bucket = OTHER_BUCKETS
    }
    this.#bucketRequests.inc({ bucket })
    if (bytesReceived > 0) this.#bucketBytes.inc({ bucket, direction: 'in' }, bytesReceived)
    if (bytesSent > 0) this.#bucketBytes.inc({ bucket, direction: 'out' }, bytesSent)
  }
}

function methodOf(method: string): string {
  return ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE'].includes(method) ? method : 'other'
}

function apiMetrics(registry: Registry, prefix: string, labels: string[]): ApiMetrics {
  const registers = [registry]
  return {
    requests: new Counter({
      name: `${prefix}_request_counter`,
      help: 'Requests by what they ask for',
      ...{ labelNames: labels, registers },
    }),
    errors: new Counter({
      name: `${prefix}_error_counter`,
      help: 'Requests whose answer has a status from 400 on',
      ...{ labelNames: [...labels, 'status_code'], registers },
    }),
    durations: new Histogram({
      name: `${prefix}_request_duration`,
      help: 'Seconds from the head of a request to the end of its answer',
      ...{ labelNames: labels, registers, buckets: SECONDS_BUCKETS },
    }),
  }
}
