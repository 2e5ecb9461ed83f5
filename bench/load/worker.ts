import { Histogram } from './histogram.js'
import type { Job, JobResult } from './job.js'
import { operatorOf } from './operations.js'
import { RawS3 } from './raw-s3.js'

// The load generator: a separate process that takes one job after the other from its parent.

/** The longest that a request may take, in ms. It is then cut off and counts as an error. */
const STUCK_MS = 60_000

process.on('message', (job: Job) => {
  run(job).then(
    (result) => process.send!(result),
    (error: unknown) => process.send!({ ...EMPTY, errors: 1, error: oneLine(error) } satisfies JobResult),
  )
})
process.on('disconnect', () => process.exit(0))

const EMPTY: JobResult = { requests: 0, errors: 0, bytes: 0, seconds: 0, latencies: [] }

async function run(job: Job): Promise<JobResult> {
  const { target, bucket, operation, concurrency, limit = Infinity, first = 0 } = job
  const s3 = new RawS3(target, operation.kind === 'multipart' ? operation.parallel : concurrency)
  const operator = operatorOf(operation, s3, bucket, concurrency)
  const histogram = new Histogram()
  const started = new Float64Array(concurrency).fill(Infinity)
  let next = 0
  let requests = 0
  let bytes = 0
  let errors = 0
  let error: string | undefined
  let asideMs = 0
  const startMs = performance.now()
  const endMs = startMs + job.seconds * 1000
  const watchdog = setInterval(() => {
    const now = performance.now()
    if (started.some((at) => now - at > STUCK_MS)) s3.close()
  }, 1000)
  const slot = async (n: number) => {
    while (next < limit && performance.now() < endMs + asideMs) {
      const i = first + next++
      try {
        started[n] = performance.now()
        if (operator.before) {
          const before = started[n]
          await operator.before(i, n)
          started[n] = performance.now()
          asideMs += (started[n] - before) / concurrency
        }
        const at = started[n]!
        const moved = await operator.once(i, n)
        bytes += moved
        histogram.record(performance.now() - at)
        requests++
      } catch (cause) {
        errors++
        error ??= oneLine(cause)
      }
      started[n] = Infinity
    }
  }
  await Promise.all(Array.from({ length: concurrency }, (_, n) => slot(n)))
  const seconds = (performance.now() - startMs - asideMs) / 1000
  clearInterval(watchdog)
  s3.close()
  return { requests, errors, ...(error && { error }), bytes, seconds, latencies: histogram.data() }
}

function oneLine(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string }
  return `${message || code || String(error)}`.replace(/\s+/g, ' ').slice(0, 300)
}
