import type { Clock } from '../util/clock.js'
import type { Log } from '../util/log.js'
import type { DiskReport } from './node-status.js'

/** How long a measurement is waited for, in ms: a disk that hangs must not keep the node from what it does beside. */
const WAIT_MS = 5_000

/** Measures the disks, one measurement at a time, and keeps the last figures. */
export class DiskWatch {
  /** What was measured last. */
  report: DiskReport = { metadata: null, data: null }
  #measuring: Promise<void> | undefined
  #isLate = false

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly diskSpace: (() => Promise<DiskReport>) | undefined,
  ) {}

  /** Measures now; resolves when `report` has the figures, or does not get them within five seconds. Never rejects. */
  async measure(): Promise<void> {
    if (!this.diskSpace || this.#isLate) return
    this.#measuring ??= this.#measure(this.diskSpace)
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(WAIT_MS, () => {
        if (!this.#isLate) this.log.error({}, 'a disk does not answer: nobody can tell its free space now')
        this.#isLate = true
        resolve()
      })
      void this.#measuring!.then(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  async #measure(diskSpace: () => Promise<DiskReport>): Promise<void> {
    try {
      this.report = await diskSpace()
    } catch (error) {
      this.log.warn({ error: String(error) }, 'could not ask for the free space of the disks')
    }
    if (this.#isLate) this.log.info({}, 'the disk answers again')
    this.#isLate = false
    this.#measuring = undefined
  }
}
