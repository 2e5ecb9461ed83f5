import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Db } from '../db/db.js'
import type { Clock, Timer } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'

/** Older ones are removed once a new one is complete. */
const SNAPSHOTS_KEPT = 2
/** How the folders of snapshots are named: by their time in UTC. */
export const SNAPSHOT_NAME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/
const UNFINISHED = '.tmp'

/** Copies of the metadata in `folder`, each in a folder that is named by its time (UTC) and has a whole database. */
export class MetadataSnapshots {
  #running = false

  constructor(
    private readonly db: Db,
    private readonly folder: string,
    private readonly clock: Clock,
    /** Called after each one, so that the database can be told from the snapshot when that is restored. */
    private readonly written: () => Promise<void> = async () => {},
  ) {}

  /**
   * Writes one, and removes all but the last two. Resolves with its path.
   * @throws CarportError StorageFull; Conflict if another one is being written or was made this very second
   */
  async write(): Promise<string> {
    if (this.#running) throw new CarportError('Conflict', 'a snapshot is being written already')
    this.#running = true
    try {
      return await this.#write()
    } finally {
      this.#running = false
    }
  }

  /** Writes one from time to time, if `intervalMs` says so; the nodes of a cluster not all at once. */
  every(intervalMs: number | null, random: Random, log: Log): Timer {
    if (intervalMs === null) return { cancel() {} }
    let timer: Timer
    let cancelled = false
    const schedule = () => {
      if (cancelled) return
      timer = this.clock.after(intervalMs * (0.9 + random.float() * 0.2), () => {
        this.write()
          .catch((error: unknown) => log.error({ error }, 'the automatic snapshot of the metadata failed'))
          .finally(schedule)
      })
    }
    schedule()
    return {
      cancel() {
        cancelled = true
        timer.cancel()
      },
    }
  }

  async #write(): Promise<string> {
    const name = `${new Date(this.clock.nowMs()).toISOString().slice(0, 19)}Z`
    const path = join(this.folder, name)
    await mkdir(this.folder, { recursive: true })
    const before = await readdir(this.folder)
    if (before.includes(name)) {
      throw new CarportError('Conflict', `there is a snapshot of this very second already: ${path}`)
    }
    // Left behind by a crash.
    await this.#remove(before.filter((entry) => entry.endsWith(UNFINISHED)))
    const temporary = path + UNFINISHED
    try {
      await this.db.snapshot(temporary)
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { recursive: true, force: true })
      throw error
    }
    await this.written()
    const finished = [...before.filter((entry) => SNAPSHOT_NAME.test(entry)), name].sort()
    await this.#remove(finished.slice(0, -SNAPSHOTS_KEPT))
    return path
  }

  async #remove(entries: readonly string[]): Promise<void> {
    for (const entry of entries) await rm(join(this.folder, entry), { recursive: true, force: true })
  }
}
