import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock, Timer } from '../../util/clock.js'
import { counter, gauge } from './families.js'
import type { Registry } from './prom-client.js'

/** How often the event loop's delay is sampled, in ms. */
const RESOLUTION_MS = 20
/** The longest turn is that of the last one to two of these, in ms, so that no scrape misses it. */
const WINDOW_MS = 60_000
const NANOSECONDS = 1e9

/** Measures the process: the event loop, memory, time. Returns what stops it. */
export function processMetrics(registry: Registry, clock: Clock): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  let longestBefore = 0
  let window: Timer
  const nextWindow = () => {
    longestBefore = delay.max
    delay.reset()
    window = clock.after(WINDOW_MS, nextWindow)
  }
  window = clock.after(WINDOW_MS, nextWindow)

  // The histogram has the whole time between two samples: what is longer than the resolution is delay.
  const late = (nanoseconds: number) =>
    Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION_MS / 1000) : 0
  gauge(
    registry,
    'carport_event_loop_delay_seconds',
    'How late timers are, by quantile, in this minute',
    ['quantile'],
    (tell) => {
      for (const quantile of [0.5, 0.9, 0.99]) tell({ quantile }, late(delay.percentile(quantile * 100)))
    },
  )
  gauge(
    registry,
    'carport_event_loop_longest_turn_seconds',
    'The longest turn of the event loop in the last one to two minutes',
    [],
    (tell) => tell({}, late(Math.max(longestBefore, delay.max))),
  )
  gauge(
    registry,
    'carport_memory_bytes',
    'Memory of the process: rss is all of it, array_buffers a part of external',
    ['kind'],
    (tell) => {
      const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage()
      tell({ kind: 'rss' }, rss)
      tell({ kind: 'heap_total' }, heapTotal)
      tell({ kind: 'heap_used' }, heapUsed)
      tell({ kind: 'external' }, external)
      tell({ kind: 'array_buffers' }, arrayBuffers)
    },
  )
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory of the process', [], (tell) =>
    tell({}, process.memoryUsage.rss()),
  )
  counter(registry, 'process_cpu_seconds_total', 'Time on the processor', ['mode'], (tell) => {
    const { user, system } = process.cpuUsage()
    tell({ mode: 'user' }, user / 1e6)
    tell({ mode: 'system' }, system / 1e6)
  })
  const startedSeconds = Math.round(clock.nowMs() / 1000 - process.uptime())
  gauge(registry, 'process_start_time_seconds', 'When the process began, since the epoch', [], (tell) =>
    tell({}, startedSeconds),
  )
  return () => {
    window.cancel()
    delay.disable()
  }
}
