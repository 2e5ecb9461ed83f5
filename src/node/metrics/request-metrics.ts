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

  constructor(registry: Registry) {
    this.#apis = Object.fromEntries(
      Object.entries(APIS).map(([api, { prefix, label }]) => [api, apiMetrics(registry, prefix, label)]),
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
    metrics.requests.inc({ [label]: what })
    metrics.durations.observe({ [label]: what }, record.durationMs / 1000)
    if (record.status >= 400) metrics.errors.inc({ [label]: what, status_code: record.status })
    else if (record.bucket !== undefined) this.#addToBucket(record.bucket, record)
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

function apiMetrics(registry: Registry, prefix: string, label: string): ApiMetrics {
  const registers = [registry]
  return {
    requests: new Counter({
      name: `${prefix}_request_counter`,
      help: 'Requests by what they ask for',
      ...{ labelNames: [label], registers },
    }),
    errors: new Counter({
      name: `${prefix}_error_counter`,
      help: 'Requests whose answer has a status from 400 on',
      ...{ labelNames: [label, 'status_code'], registers },
    }),
    durations: new Histogram({
      name: `${prefix}_request_duration`,
      help: 'Seconds from the head of a request to the end of its answer',
      ...{ labelNames: [label], registers, buckets: SECONDS_BUCKETS },
    }),
  }
}
