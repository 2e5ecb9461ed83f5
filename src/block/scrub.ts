import type { Backoff } from '../util/backoff.js'
import { type Clock, sleep } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import { versioned } from '../util/format.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import type { Compression } from './compression.js'
import type { DataDirs } from './data-dirs.js'
import type { Disk } from './disk.js'
import { matchesHash } from './format.js'
import type { LocalBlocks } from './local-blocks.js'
import { FOLDERS, readFolder } from './walk.js'

/** 'scrub' → ScrubState */
const STATE = 'block:scrub'
export const SCRUB_TREES: readonly string[] = [STATE]
const STATE_KEY = Buffer.from('scrub')

const DAY_MS = 86_400_000
/** A temporary file this old belongs to no write any more, in ms. */
const TEMPORARY_MS_MAX = DAY_MS
/** The waits after a folder or the database could not be read. */
const BACKOFF: Backoff = { baseMs: 60_000, maxMs: 3_600_000 }
/** How often the position is saved, in ms. */
const SAVE_MS = 30_000

interface ScrubState {
  /** The folder to go on with; 0 to FOLDERS - 1. */
  position: number
  running: boolean
  /** When the next scrub begins, ms since the epoch. */
  nextMs: number
  pausedUntilMs: number
  /** When the last one ended; 0 if none did. */
  completedMs: number
  corruptions: number
  tranquility: number
}

export interface ScrubStatus extends ScrubState {
  /** Share of the walk that is done, 0 to 1. */
  progress: number
}

export interface ScrubParts {
  local: LocalBlocks
  disk: Disk
  dirs: DataDirs
  compression: Compression
  clock: Clock
  random: Random
  log: Log
  /** Rest after each block, as a multiple of the time it took; a value that was set and saved earlier wins. */
  tranquility?: number
}

/**
 * Reads every block of this node once in 25 to 35 days and compares it with its name; also finds files of which
 * nothing is known, blocks that lie where they should not be counted as absent, and rests of crashed writes.
 */
export class Scrub implements Service {
  readonly name = 'block-scrub'
  readonly #worker: Worker
  #state: ScrubState
  #savedMs = 0

  constructor(private readonly parts: ScrubParts) {
    this.#worker = new Worker(this.name, parts, (signal) => this.#work(signal), { backoff: BACKOFF })
    this.#state = {
      ...{ position: 0, running: false, nextMs: 0, pausedUntilMs: 0, completedMs: 0, corruptions: 0 },
      tranquility: parts.tranquility ?? 4,
    }
  }

  async start(): Promise<void> {
    const stored = this.parts.local.db.get(STATE, STATE_KEY)
    if (stored) this.#state = { ...this.#state, ...loadState(stored) }
    else this.#state.nextMs = this.#scheduleMs()
    await this.#save()
    this.#worker.start()
  }

  async stop(): Promise<void> {
    await this.#worker.stop()
    await this.#save().catch((error) =>
      this.parts.log.error({ error }, "the scrub's position cannot be saved"),
    )
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  status(): ScrubStatus {
    return { ...this.#state, progress: this.#state.running ? this.#state.position / FOLDERS : 0 }
  }

  /** Begins now, from the first block, unless one is running. */
  async begin(): Promise<void> {
    if (!this.#state.running) Object.assign(this.#state, { position: 0, running: true, corruptions: 0 })
    this.#state.pausedUntilMs = 0
    await this.#changed()
  }

  async pause(durationMs: number): Promise<void> {
    this.#state.pausedUntilMs = this.parts.clock.nowMs() + durationMs
    await this.#changed()
  }

  async resume(): Promise<void> {
    this.#state.pausedUntilMs = 0
    await this.#changed()
  }

  /** Ends the running scrub; the next one comes when it would have come after it. */
  async cancel(): Promise<void> {
    if (this.#state.running)
      Object.assign(this.#state, { running: false, position: 0, nextMs: this.#scheduleMs() })
    await this.#changed()
  }

  /** @throws CarportError InvalidArgument */
  async setTranquility(tranquility: number): Promise<void> {
    if (!(tranquility >= 0 && tranquility <= 1000)) {
      throw new CarportError('InvalidArgument', 'the scrub tranquility must be 0 to 1000')
    }
    this.#state.tranquility = tranquility
    await this.#changed()
  }

  async #changed(): Promise<void> {
    await this.#save()
    this.#worker.wake()
  }

  /** The next folder, if a scrub is due or under way; returns how long to wait for the one after it, in ms. */
  async #work(signal: AbortSignal): Promise<number> {
    const nowMs = this.parts.clock.nowMs()
    const state = this.#state
    if (!state.running && nowMs >= state.nextMs)
      Object.assign(state, { running: true, position: 0, corruptions: 0 })
    const waitMs =
      state.pausedUntilMs > nowMs ? state.pausedUntilMs - nowMs : state.running ? 0 : state.nextMs - nowMs
    if (waitMs > 0) return Math.min(waitMs, DAY_MS)
    await this.#step(signal)
    return 0
  }

  /** Scrubs one folder. */
  async #step(signal: AbortSignal): Promise<void> {
    const { disk, dirs, clock, log } = this.parts
    const folder = this.#state.position
    const content = await readFolder(disk, dirs, folder)
    for (const path of content.temporaries) await this.#dropIfOld(path)
    for (const hash of content.hashes) {
      if (signal.aborted) return
      await this.#check(hash, signal)
    }
    // A command may have come in between: the walk then goes on where the command set it.
    const state = this.#state
    if (!state.running || state.position !== folder) return
    if (folder + 1 < FOLDERS) {
      state.position = folder + 1
      if (clock.monotonicMs() - this.#savedMs >= SAVE_MS) await this.#save()
      return
    }
    Object.assign(state, {
      running: false,
      position: 0,
      completedMs: clock.nowMs(),
      nextMs: this.#scheduleMs(),
    })
    await this.#save()
    log.info({ corruptions: state.corruptions }, 'scrub completed')
  }

  async #check(hash: Buffer, signal: AbortSignal): Promise<void> {
    const { local, compression, clock, log } = this.parts
    const startMs = clock.monotonicMs()
    const before = local.store.counters.corruptions
    const block = await local.read(hash)
    if (block && !(await matchesHash(block, hash, compression))) {
      log.warn(
        { block: hash.toString('hex') },
        'a block does not match its name; it is set aside and fetched again',
      )
      await local.setAside(hash, true)
    } else if (block) {
      const record = local.counts.get(local.db, hash)
      if (!record?.present && !record?.deleting) await local.db.transact((tx) => local.counts.adopt(tx, hash))
    }
    this.#state.corruptions += local.store.counters.corruptions - before
    const restMs = (clock.monotonicMs() - startMs) * this.#state.tranquility
    if (restMs > 0) await sleep(clock, restMs, signal).catch(() => {})
  }

  async #dropIfOld(path: string): Promise<void> {
    const { disk, clock } = this.parts
    const stat = await disk.stat(path)
    if (stat && clock.nowMs() - stat.mtimeMs > TEMPORARY_MS_MAX) await disk.remove(path)
  }

  #scheduleMs(): number {
    return this.parts.clock.nowMs() + (25 + 10 * this.parts.random.float()) * DAY_MS
  }

  async #save(): Promise<void> {
    this.#savedMs = this.parts.clock.monotonicMs()
    const stored = FORMAT.encode(this.#state)
    await this.parts.local.db.transact((tx) => tx.put(STATE, STATE_KEY, stored))
  }
}

const FORMAT = versioned<Partial<ScrubState>>('state of the scrub', {
  encode: (state) => Buffer.from(JSON.stringify(state)),
  writes: 1,
  versions: { 1: parseState },
  unmarked: { is: (stored) => stored[0] === 0x7b /* { */, decode: parseState },
})

/** Reads the well-formed parts of a stored state: a scrub that begins anew is better than none. */
function parseState(bytes: Buffer): Partial<ScrubState> {
  const value = JSON.parse(bytes.toString()) as Record<string, unknown>
  const state: Record<string, unknown> = {}
  for (const name of ['position', 'nextMs', 'pausedUntilMs', 'completedMs', 'corruptions', 'tranquility']) {
    if (typeof value[name] === 'number' && Number.isFinite(value[name])) state[name] = value[name]
  }
  if (typeof value.running === 'boolean') state.running = value.running
  return state as Partial<ScrubState>
}

function loadState(stored: Buffer): Partial<ScrubState> {
  try {
    return FORMAT.decode(stored)
  } catch {
    return {}
  }
}
