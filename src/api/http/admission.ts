import type { Socket } from 'node:net'
import type { Clock } from '../../util/clock.js'
import { AnswerError } from '../../util/errors.js'
import type { Log } from '../../util/log.js'

/** Decides what the node takes on; all its fronts ask the same one. */
export interface Admission {
  /**
   * Whether a new connection is kept. One that is not is closed before anything of it is read. A few above the limit are
   * kept for the answer that there are too many: their requests are refused, and `isSurplus` says so.
   */
  admitConnection(socket: Socket): boolean
  /** Whether a connection is above the limit, and is to be closed after its answer. */
  isSurplus(socket: Socket): boolean
  /**
   * Whether a request is served. Each one that is admitted ends with `endRequest`.
   * @param isBulk whether it brings more than fits into a few packets: see LimitedAdmission
   */
  admitRequest(socket: Socket, isBulk: boolean): boolean
  /** Whether a request that was admitted may turn out to be bulk, since its answer is long. */
  admitBulk(): boolean
  endRequest(isBulk: boolean): void
}

/** A request was not admitted: the node has too many in hand. */
export class OverloadedError extends AnswerError {
  override readonly name = 'OverloadedError'
  constructor() {
    super('too many requests in flight')
  }
}

/** How much a node takes on at the same time. */
export interface AdmissionLimits {
  readonly connections: number
  readonly requests: number
}

/** A machine's means, as far as they bound what a node can take on. */
export interface MachineLimits {
  /** Files and sockets that the process may have open. */
  readonly openFiles: number
  readonly memoryBytes: number
}

const MIB = 1024 * 1024
/** Of these, ten thousand may be polls that wait. */
const CONNECTIONS_MAX = 20_000
/** An idle connection takes some 20 KiB, a busy one 64 KiB and more. */
const MEMORY_PER_CONNECTION = 128 * 1024
const REQUESTS_MAX = 512
const MEMORY_PER_REQUEST = 4 * MIB
const REQUESTS_MIN = 64
/** Descriptors left for blocks, the database and peers: a quarter of all, within these bounds. */
const RESERVED_FILES = { min: 128, max: 1024 } as const

/** Descriptors that connections of clients leave free. */
export function reservedFiles(openFiles: number): number {
  return Math.min(RESERVED_FILES.max, Math.max(RESERVED_FILES.min, Math.floor(openFiles / 4)))
}

/**
 * The limits of a node: those of its configuration, else what its machine allows. More connections than there are
 * descriptors for are never admitted, whatever the configuration says.
 */
export function admissionLimits(
  settings: { readonly maxConnections: number | null; readonly maxRequests: number | null },
  machine: MachineLimits,
): AdmissionLimits {
  const byFiles = Math.max(1, machine.openFiles - reservedFiles(machine.openFiles))
  const byMemory = Math.floor(machine.memoryBytes / MEMORY_PER_CONNECTION)
  const requests = Math.floor(machine.memoryBytes / MEMORY_PER_REQUEST)
  return {
    connections: Math.min(byFiles, settings.maxConnections ?? Math.min(CONNECTIONS_MAX, byMemory)),
    requests: settings.maxRequests ?? Math.max(REQUESTS_MIN, Math.min(REQUESTS_MAX, requests)),
  }
}

/** Connections above the limit that are kept for one answer. */
const SURPLUS_MAX = 64
/** The share of requests that may be bulk: the rest is for short ones, which soon make room again. */
const BULK_SHARE = 0.75
/** A flood of refusals leaves a line this often, in ms. */
const REPORT_MS = 10_000

/**
 * Admits connections and requests up to fixed numbers. Requests with long bodies or answers, which clients on slow links
 * may stretch over hours, can take three quarters of the places.
 */
export class LimitedAdmission implements Admission {
  #connections = 0
  /** One for all connections, of which there are thousands. */
  readonly #disconnected = () => {
    this.#connections--
  }
  #requests = 0
  #bulk = 0
  #refused = 0
  #reportedMs = Number.NEGATIVE_INFINITY
  readonly #surplus = new Set<Socket>()
  readonly #bulkMax: number

  constructor(
    readonly limits: AdmissionLimits,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.#bulkMax = Math.max(1, Math.floor(limits.requests * BULK_SHARE))
  }

  /** Numbers as of now, for status and metrics. `refused` counts since the start. */
  stats(): { connections: number; requests: number; bulk: number; refused: number } {
    const { size } = this.#surplus
    return {
      connections: this.#connections + size,
      requests: this.#requests,
      bulk: this.#bulk,
      refused: this.#refused,
    }
  }

  admitConnection(socket: Socket): boolean {
    if (this.#connections < this.limits.connections) {
      this.#connections++
      socket.on('close', this.#disconnected)
      return true
    }
    if (this.#surplus.size >= SURPLUS_MAX) {
      this.#refuse()
      return false
    }
    this.#surplus.add(socket)
    socket.once('close', () => this.#surplus.delete(socket))
    return true
  }

  isSurplus(socket: Socket): boolean {
    return this.#surplus.size > 0 && this.#surplus.has(socket)
  }

  admitRequest(socket: Socket, isBulk: boolean): boolean {
    const isFull = this.#requests >= this.limits.requests || (isBulk && this.#bulk >= this.#bulkMax)
    if (isFull || this.isSurplus(socket)) {
      this.#refuse()
      return false
    }
    this.#requests++
    if (isBulk) this.#bulk++
    return true
  }

  admitBulk(): boolean {
    if (this.#bulk >= this.#bulkMax) {
      this.#refuse()
      return false
    }
    this.#bulk++
    return true
  }

  endRequest(isBulk: boolean): void {
    this.#requests--
    if (isBulk) this.#bulk--
  }

  #refuse(): void {
    this.#refused++
    const nowMs = this.clock.monotonicMs()
    if (nowMs - this.#reportedMs < REPORT_MS) return
    this.#reportedMs = nowMs
    this.log.warn(
      { ...this.stats(), limits: this.limits },
      'requests are refused: this node has too many in hand',
    )
  }
}
