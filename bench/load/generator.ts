import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Job, JobResult } from './job.js'

/** The load generator, in a process of its own so that its work delays no measurement of this one. */
export class LoadGenerator {
  #child: ChildProcess | undefined

  /** Runs a job to its end. @throws Error if the generator dies */
  async run(job: Job): Promise<JobResult> {
    const child = this.#started()
    const done = new AbortController()
    const { signal } = done
    try {
      const exited = once(child, 'exit', { signal }).then(([code]) => {
        throw new Error(`the load generator ended with status ${code}`)
      })
      const answered = once(child, 'message', { signal }) as Promise<[JobResult]>
      child.send(job)
      const [result] = await Promise.race([answered, exited])
      return result
    } finally {
      done.abort()
    }
  }

  stop(): void {
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  #started(): ChildProcess {
    if (!this.#child || this.#child.exitCode !== null) {
      this.#child = fork(join(import.meta.dirname, 'worker.js'), {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
    }
    return this.#child
  }
}
