import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { Histogram, type HistogramData } from './histogram.js'
import type { Target } from './raw-s3.js'

/** The work of one process of a crowd. */
export interface CrowdJob {
  target: Target
  bucket: string
  kind: 'get' | 'put'
  /** Keys are this and a number. */
  prefix: string
  /** The bytes of an object that is put. */
  bytes: number
  /** How many keys are read in turn. */
  keys: number
  /** Number of the first request. */
  first: number
  connections: number
  /** How a client goes on after a refusal: as SDKs do, or at once. */
  retry: 'backoff' | 'at once'
  warmSeconds: number
  seconds: number
}

/** What ended in the time that counts. */
export interface CrowdResult {
  /** Answers 200, refusals (503), other answers, and connections that failed. */
  good: number
  refused: number
  failed: number
  broken: number
  /** Of good answers. */
  latencies: HistogramData
}

/** Many clients at the same time, spread over processes of their own. */
export class CrowdOfClients {
  readonly #children: ChildProcess[]

  /** @param folder where the built program of the processes is; beside this module unless told */
  constructor(processes: number, folder = import.meta.dirname) {
    this.#children = Array.from({ length: processes }, () =>
      fork(join(folder, 'crowd-worker.js'), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
    )
  }

  get pids(): number[] {
    return this.#children.map(({ pid }) => pid!)
  }

  /** Runs `job.connections` clients, all at the same time. @throws Error if a process dies */
  async run(job: CrowdJob): Promise<CrowdResult & { histogram: Histogram }> {
    const count = this.#children.length
    const results = await Promise.all(
      this.#children.map(async (child, i) => {
        const connections = Math.floor((job.connections + i) / count)
        const done = new AbortController()
        const { signal } = done
        try {
          const exited = once(child, 'exit', { signal }).then(() => {
            throw new Error('a process of the load ended')
          })
          const answered = once(child, 'message', { signal }) as Promise<[CrowdResult]>
          // The one that is not waited for any more rejects.
          for (const promise of [answered, exited]) promise.catch(() => {})
          child.send({ ...job, connections, first: job.first + i * 1e9 } satisfies CrowdJob)
          const [result] = await Promise.race([answered, exited])
          return result
        } finally {
          done.abort()
        }
      }),
    )
    const histogram = new Histogram()
    for (const { latencies } of results) histogram.add(latencies)
    const sum = (name: 'good' | 'refused' | 'failed' | 'broken') =>
      results.reduce((all, result) => all + result[name], 0)
    return {
      ...{ good: sum('good'), refused: sum('refused'), failed: sum('failed'), broken: sum('broken') },
      ...{ latencies: histogram.data(), histogram },
    }
  }

  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }
}
