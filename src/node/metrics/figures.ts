import type { ProcessFigures } from '../../api/admin/types.js'
import type { Registry } from './prom-client.js'
import { APIS, type ApiName } from './request-metrics.js'

interface Sample {
  labels: Record<string, string | number | undefined>
  value: number
  metricName?: string
}

/** The figures of requests and of the process, out of the metrics that are kept anyway. */
export async function processFigures(registry: Registry): Promise<ProcessFigures> {
  const samples = async (name: string): Promise<Sample[]> => {
    const metric = registry.getSingleMetric(name) as unknown as
      | { get(): Promise<{ values: Sample[] }> }
      | undefined
    return metric ? (await metric.get()).values : []
  }
  const requests: ProcessFigures['requests'] = {}
  for (const api of Object.keys(APIS) as ApiName[]) {
    const { prefix } = APIS[api]
    const [counted, failed, timed] = await Promise.all([
      samples(`${prefix}_request_counter`),
      samples(`${prefix}_error_counter`),
      samples(`${prefix}_request_duration`),
    ])
    const ofStatus = (from: number, to: number) =>
      sum(
        failed.filter(({ labels }) => Number(labels.status_code) >= from && Number(labels.status_code) < to),
      )
    requests[api] = {
      count: sum(counted),
      clientErrors: ofStatus(400, 500),
      serverErrors: ofStatus(500, 600),
      durations: durationsOf(timed),
    }
  }
  const [bytes, delays, longest, memory, cpu] = await Promise.all([
    samples('carport_bucket_request_bytes_total'),
    samples('carport_event_loop_delay_seconds'),
    samples('carport_event_loop_longest_turn_seconds'),
    samples('carport_memory_bytes'),
    samples('process_cpu_seconds_total'),
  ])
  return {
    requests,
    bytesIn: sum(bytes.filter(({ labels }) => labels.direction === 'in')),
    bytesOut: sum(bytes.filter(({ labels }) => labels.direction === 'out')),
    eventLoopDelay: {
      p50: labelled(delays, 'quantile', 0.5),
      p99: labelled(delays, 'quantile', 0.99),
      longest: sum(longest),
    },
    memory: { rss: labelled(memory, 'kind', 'rss'), heapUsed: labelled(memory, 'kind', 'heap_used') },
    cpuSecs: sum(cpu),
  }
}

function sum(samples: readonly Sample[]): number {
  return samples.reduce((total, { value }) => total + value, 0)
}

function labelled(samples: readonly Sample[], label: string, value: string | number): number {
  return samples.find(({ labels }) => labels[label] === value)?.value ?? 0
}

/** The buckets of histograms by bound, over all other labels. */
function durationsOf(samples: readonly Sample[]): ProcessFigures['requests'][string]['durations'] {
  const counts = new Map<number, number>()
  for (const { labels, value, metricName } of samples) {
    const seconds = Number(labels.le)
    if (!metricName?.endsWith('_bucket') || !Number.isFinite(seconds)) continue
    counts.set(seconds, (counts.get(seconds) ?? 0) + value)
  }
  return [...counts].sort(([a], [b]) => a - b).map(([seconds, count]) => ({ seconds, count }))
}
