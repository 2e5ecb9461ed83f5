import type { RowScrub } from '../table/row-scrub.js'
import type { Backoff } from '../util/backoff.js'
import { type Clock, sleep } from '../util/clock.js'
import { CarportError, errorCode, messageOf } from '../util/errors.js'
import { versioned } from '../util/format.js'
import type { Log } from '../util/log.js'
import type { Random } from '../util/random.js'
import { RepeatedLog } from '../util/repeated-log.js'
import type { Service } from '../util/service.js'
import { Worker, type WorkerStats } from '../util/worker.js'
import type { Compression } from './compression.js'
import type { DataDirs } from './data-dirs.js'
import { type Disk, isShortage } from './disk.js'
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

/** The parts of a scrub, in this order; in 'presence' the blocks that should have a file are looked for. */
export type ScrubPhase = 'rows' | 'blocks' | 'presence'

interface ScrubState {
  phase: ScrubPhase
  /** The folder to go on with in phase 'blocks'; 0 to FOLDERS - 1. */
  position: number
  /** Where to go on in phase 'rows', see RowScrub. */
  rowsAt: string
  /** The hash after which to go on in phase 'presence', in hexadecimal digits. */
  presenceAt: string
  running: boolean
  /** The running scrub ends after the rows. */
  rowsOnly: boolean
  /** When the next scrub begins, ms since the epoch. */
  nextMs: number
  pausedUntilMs: number
  /** When the last one ended; 0 if none did. */
  completedMs: number
  /** When all rows had been verified for the last time; 0 if they never were. */
  rowsCompletedMs: number
  /** Damaged blocks in this scrub or the last one. */
  corruptions: number
  /** The same for rows: looked at, damaged, those of before there were checksums, entries of the index put right. */
  rows: number
  damagedRows: number
  sealedRows: number
  mendedRows: number
  /** Blocks whose file was missing. */
  missing: number
  /** Blocks and folders that could not be looked at; the scrub went on without them. */
  unreadable: number
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
  /** Without it the scrub is one of blocks only. */
  rowScrub?: () => RowScrub
}

/** Shares of the progress: blocks take by far the longest. */
const ROWS_SHARE = 0.1
const PRESENCE_SHARE = 0.1
/** Blocks looked for between two rests. */
const PRESENCE_BATCH = 50
/** A store whose rows were never verified, such as one of an earlier release, has them verified soon after its start, in ms. */
const FIRST_ROWS_MS = 5 * 60_000

const BEGINNING = {
  ...{ phase: 'rows' as ScrubPhase, position: 0, rowsAt: '', presenceAt: '', running: true, rowsOnly: false },
  ...{ corruptions: 0, rows: 0, damagedRows: 0, sealedRows: 0, mendedRows: 0, missing: 0 },
  unreadable: 0,
}

/**
 * Verifies everything that this node stores, once in 25 to 35 days: first the rows of the tables (see RowScrub), then the
 * blocks, each of which is read and compared with its name, then whether each block that should be here has a file. Also
 * finds files of which nothing is known, and rests of crashed writes.
 */
export class Scrub implements Service {
  readonly name = 'block-scrub'
  readonly #worker: Worker
  #state: ScrubState
  #savedMs = 0
  #startedMs = 0
  #rows: RowScrub | undefined
  readonly #failures: RepeatedLog

  constructor(private readonly parts: ScrubParts) {
    this.#failures = new RepeatedLog(parts.clock, parts.log, 'blocks or folders could not be scrubbed')
    this.#worker = new Worker(this.name, parts, (signal) => this.#work(signal), { backoff: BACKOFF })
    this.#state = {
      ...{ ...BEGINNING, running: false },
      ...{ nextMs: 0, pausedUntilMs: 0, completedMs: 0, rowsCompletedMs: 0 },
      tranquility: parts.tranquility ?? 4,
    }
  }

  async start(): Promise<void> {
    const stored = this.parts.local.db.get(STATE, STATE_KEY)
    if (stored) this.#state = { ...this.#state, ...loadState(stored) }
    else this.#state.nextMs = this.#scheduleMs()
    this.#rows = this.parts.rowScrub?.()
    this.#startedMs = this.parts.clock.monotonicMs()
    await this.#save()
    this.#worker.start()
  }

  async stop(): Promise<void> {
    await this.#worker.stop()
    this.#failures.flush()
    await this.#save().catch((error) =>
      this.parts.log.error({ error }, "the scrub's position cannot be saved"),
    )
  }

  workerStats(): WorkerStats {
    return this.#worker.stats()
  }

  status(): ScrubStatus {
    return { ...this.#state, progress: this.#state.running ? this.#progress() : 0 }
  }

  #progress(): number {
    const { phase, position, rowsAt, presenceAt, rowsOnly } = this.#state
    if (phase === 'rows') return (this.#rows?.progress(rowsAt) ?? 0) * (rowsOnly ? 1 : ROWS_SHARE)
    if (phase === 'blocks') return ROWS_SHARE + (1 - ROWS_SHARE - PRESENCE_SHARE) * (position / FOLDERS)
    return 1 - PRESENCE_SHARE * (1 - Number.parseInt(presenceAt.slice(0, 2) || '0', 16) / FOLDERS)
  }

  /** Begins now, from the first row, unless one is running. */
  async begin(): Promise<void> {
    if (!this.#state.running) Object.assign(this.#state, BEGINNING)
    this.#state.rowsOnly = false
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

  /** The next piece, if a scrub is due or under way; returns how long to wait for the one after it, in ms. */
  async #work(signal: AbortSignal): Promise<number> {
    const nowMs = this.parts.clock.nowMs()
    const state = this.#state
    if (!state.running) {
      const toFirstRowsMs = this.#toFirstRowsMs()
      if (nowMs >= state.nextMs) Object.assign(state, BEGINNING)
      else if (toFirstRowsMs <= 0) Object.assign(state, BEGINNING, { rowsOnly: true })
      else return Math.min(state.nextMs - nowMs, toFirstRowsMs, DAY_MS)
    }
    if (state.pausedUntilMs > nowMs) return Math.min(state.pausedUntilMs - nowMs, DAY_MS)
    if (state.phase === 'rows') await this.#stepRows(signal)
    else if (state.phase === 'blocks') await this.#stepBlocks(signal)
    else await this.#stepPresence(signal)
    if (this.parts.clock.monotonicMs() - this.#savedMs >= SAVE_MS) await this.#save()
    return 0
  }

  #toFirstRowsMs(): number {
    if (!this.#rows || this.#state.rowsCompletedMs > 0) return Number.POSITIVE_INFINITY
    return this.#startedMs + FIRST_ROWS_MS - this.parts.clock.monotonicMs()
  }

  /** Scrubs a few rows. */
  async #stepRows(signal: AbortSignal): Promise<void> {
    const state = this.#state
    const at = state.rowsAt
    const startMs = this.parts.clock.monotonicMs()
    const step = await this.#rows?.step(at)
    // A command may have come in between: then the walk goes where that said.
    if (!state.running || state.phase !== 'rows' || state.rowsAt !== at) return
    state.rows += step?.rows ?? 0
    state.damagedRows += step?.damaged ?? 0
    state.sealedRows += step?.sealed ?? 0
    state.mendedRows += step?.mended ?? 0
    if (step?.next !== undefined) {
      state.rowsAt = step.next
      return this.#rest(startMs, signal)
    }
    state.rowsCompletedMs = this.parts.clock.nowMs()
    state.rowsAt = ''
    state.phase = 'blocks'
    if (state.rowsOnly) await this.#completed()
  }

  /** Scrubs the blocks of one folder. */
  async #stepBlocks(signal: AbortSignal): Promise<void> {
    const { disk, dirs } = this.parts
    const folder = this.#state.position
    const content = await readFolder(disk, dirs, folder, (path, error) => this.#passOver(path, error))
    for (const path of content.temporaries) await this.#orPassOver(path, () => this.#dropIfOld(path))
    for (const hash of content.hashes) {
      if (signal.aborted) return
      await this.#orPassOver(hash.toString('hex'), () => this.#check(hash, signal))
    }
    // A command may have come in between: the walk then goes on where the command set it.
    const state = this.#state
    if (!state.running || state.phase !== 'blocks' || state.position !== folder) return
    if (folder + 1 < FOLDERS) state.position = folder + 1
    else Object.assign(state, { phase: 'presence', presenceAt: '' })
  }

  /** Looks for the files of a few blocks that should be here: a block without one is fetched again. */
  async #stepPresence(signal: AbortSignal): Promise<void> {
    const { local, clock, log } = this.parts
    const state = this.#state
    const at = state.presenceAt
    const after = at === '' ? {} : { after: Buffer.from(at, 'hex') }
    const startMs = clock.monotonicMs()
    const hashes = local.counts.hashes(local.db, { limit: PRESENCE_BATCH, ...after })
    let missing = 0
    for (const hash of hashes) {
      if (signal.aborted) return
      const name = hash.toString('hex')
      if ((await this.#orPassOver(name, () => local.verifyPresence(hash))) !== false) continue
      missing++
      log.warn({ block: name }, "a block's file is missing; it is fetched again")
    }
    if (!state.running || state.phase !== 'presence' || state.presenceAt !== at) return
    state.missing += missing
    const last = hashes.at(-1)
    if (!last) return this.#completed()
    state.presenceAt = last.toString('hex')
    await this.#rest(startMs, signal)
  }

  async #completed(): Promise<void> {
    const { clock, log } = this.parts
    const state = this.#state
    const { rowsOnly, corruptions, rows, damagedRows, sealedRows, mendedRows, missing, unreadable } = state
    Object.assign(state, { running: false, phase: 'rows', position: 0, rowsOnly: false })
    if (!rowsOnly) Object.assign(state, { completedMs: clock.nowMs(), nextMs: this.#scheduleMs() })
    await this.#save()
    const counts = { corruptions, missing, unreadable, rows, damagedRows, sealedRows, mendedRows }
    log.info(counts, rowsOnly ? 'scrub of the rows completed' : 'scrub completed')
  }

  async #rest(startMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.parts
    const restMs = (clock.monotonicMs() - startMs) * this.#state.tranquility
    if (restMs > 0) await sleep(clock, restMs, signal).catch(() => {})
  }

  /** Runs one step, and goes on without it if it fails for its own sake: the next try of it would fail as well. */
  async #orPassOver<T>(what: string, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run()
    } catch (error) {
      if (isShortage(error) || errorCode(error) === 'Closed') throw error
      this.#passOver(what, error)
      return undefined
    }
  }

  #passOver(what: string, error: unknown): void {
    this.#state.unreadable++
    const code = String((error as { code?: unknown } | undefined)?.code)
    this.#failures.add({ code }, { what, error: messageOf(error) }, 'a block or folder cannot be scrubbed')
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
      if (block.isUnnamed) await local.rewrite(hash, block)
      const record = local.counts.get(local.db, hash)
      if (!record?.present && !record?.deleting) await local.db.transact((tx) => local.counts.adopt(tx, hash))
    }
    this.#state.corruptions += local.store.counters.corruptions - before
    await this.#rest(startMs, signal)
  }

  async #dropIfOld(path: string): Promise<void> {
    const { disk, clock } = this.parts
    if (clock.doubt?.() !== undefined) return
    const stat = await disk.stat(path)
    if (stat && clock.nowMs() - stat.mtimeMs > TEMPORARY_MS_MAX) await disk.remove(path)
  }

  #scheduleMs(): number {
    return this.parts.clock.nowMs() + (25 + 10 * this.parts.random.float()) * DAY_MS
  }

  async #save(): Promise<void> {
    this.#savedMs = this.parts.clock.monotonicMs()
    const stored = FORMAT.encode(this.#state)
    await this.parts.local.db.transact((tx) => tx.putRecord(STATE, STATE_KEY, stored))
  }
}

const FORMAT = versioned<Partial<ScrubState>>('state of the scrub', {
  encode: (state) => Buffer.from(JSON.stringify(state)),
  writes: 1,
  versions: { 1: parseState },
  unmarked: { is: (stored) => stored[0] === 0x7b /* { */, decode: parseState },
})

const NUMBERS = [
  ...['position', 'nextMs', 'pausedUntilMs', 'completedMs', 'corruptions', 'tranquility'],
  ...['rowsCompletedMs', 'rows', 'damagedRows', 'sealedRows', 'mendedRows', 'missing', 'unreadable'],
]
const PHASES: readonly unknown[] = ['rows', 'blocks', 'presence'] satisfies ScrubPhase[]

/** Takes what is well-formed: a scrub that begins anew is better than one that does not begin. */
function parseState(bytes: Buffer): Partial<ScrubState> {
  const value = JSON.parse(bytes.toString()) as Record<string, unknown>
  const state: Record<string, unknown> = {}
  for (const name of NUMBERS) {
    if (typeof value[name] === 'number' && Number.isFinite(value[name])) state[name] = value[name]
  }
  for (const name of ['running', 'rowsOnly']) if (typeof value[name] === 'boolean') state[name] = value[name]
  for (const name of ['rowsAt', 'presenceAt']) if (typeof value[name] === 'string') state[name] = value[name]
  // The first release scrubbed blocks only, and goes on with them.
  state.phase = PHASES.includes(value.phase) ? value.phase : 'blocks'
  return state as Partial<ScrubState>
}

function loadState(stored: Buffer): Partial<ScrubState> {
  try {
    return FORMAT.decode(stored)
  } catch {
    return {}
  }
}
