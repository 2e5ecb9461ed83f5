import { connect, type Socket } from 'node:net'
import type { CrowdJob, CrowdResult } from './crowd.js'
import { Histogram } from './histogram.js'
import { RequestSigner } from './raw-s3.js'

// A part of a crowd of clients: a process that takes one job after the other from its parent.

/** Waits after refusals, as SDKs have them: a random part of a time that doubles each time, in ms. */
const BACKOFF = { baseMs: 100, doublings: 6 }
/** A connection that failed is made anew after this time, in ms. */
const RECONNECT_MS = 50
const REFUSED = 503

process.on('message', (job: CrowdJob) => void new Crowd(job).run().then((result) => process.send!(result)))
process.on('disconnect', () => process.exit(0))

/** Clients in a closed loop, each with a connection and one request at a time; what ends in the time that counts is counted. */
class Crowd {
  readonly result: CrowdResult = { good: 0, refused: 0, failed: 0, broken: 0, latencies: [] }
  readonly histogram = new Histogram()
  readonly signer: RequestSigner
  readonly body: Buffer
  isOver = false
  counts = false
  #next: number

  constructor(readonly job: CrowdJob) {
    this.signer = new RequestSigner(job.target)
    this.body = Buffer.alloc(job.kind === 'put' ? job.bytes : 0, 'overload')
    this.#next = job.first
  }

  async run(): Promise<CrowdResult> {
    const { connections, warmSeconds, seconds } = this.job
    const clients = Array.from({ length: connections }, () => new Client(this))
    await sleep(warmSeconds * 1000)
    this.counts = true
    await sleep(seconds * 1000)
    this.counts = false
    this.isOver = true
    for (const client of clients) client.close()
    return { ...this.result, latencies: this.histogram.data() }
  }

  /** The next request, head and body. */
  request(): Buffer {
    const { kind, bucket, prefix, keys } = this.job
    const path = `/${bucket}/${prefix}${kind === 'get' ? this.#next++ % keys : this.#next++}`
    const method = kind.toUpperCase()
    const headers: Record<string, string | number> = this.signer.sign(method, path, '')
    if (kind === 'put') headers['content-length'] = this.body.length
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`), this.body])
  }

  answered(status: number, ms: number): void {
    if (!this.counts) return
    if (status === 200) {
      this.result.good++
      this.histogram.record(ms)
    } else if (status === REFUSED) this.result.refused++
    else this.result.failed++
  }
}

class Client {
  #socket: Socket | undefined
  #startedMs = 0
  #refusals = 0
  /** Of the answer that is coming: its head as far as it came, then the bytes of body that are left. */
  #head = ''
  #status = 0
  #left = -1

  constructor(private readonly crowd: Crowd) {
    this.#connect()
  }

  close(): void {
    this.#socket?.destroy()
  }

  #connect(): void {
    const { hostname, port } = new URL(this.crowd.job.target.endpoint)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    this.#socket = socket
    this.#head = ''
    this.#left = -1
    let isBroken = false
    socket.on('connect', () => this.#send())
    socket.on('data', (data) => this.#take(data))
    socket.on('error', () => {
      isBroken = true
    })
    socket.on('close', () => {
      if (this.crowd.isOver || this.#socket !== socket) return
      if (isBroken && this.crowd.counts) this.crowd.result.broken++
      setTimeout(() => this.#connect(), RECONNECT_MS * (0.5 + Math.random()))
    })
  }

  #send(): void {
    if (this.crowd.isOver || this.#socket!.destroyed) return
    this.#startedMs = performance.now()
    this.#socket!.write(this.crowd.request())
  }

  #take(data: Buffer): void {
    let body = data.length
    if (this.#left < 0) {
      const before = this.#head.length
      this.#head += data.toString('latin1')
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return
      this.#status = Number(this.#head.slice(9, 12))
      this.#left = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#head)?.[1] ?? 0)
      body = data.length - (end + 4 - before)
      this.#head = ''
    }
    this.#left -= body
    if (this.#left > 0) return
    this.#left = -1
    this.#ended()
  }

  #ended(): void {
    this.crowd.answered(this.#status, performance.now() - this.#startedMs)
    if (this.#status !== REFUSED) {
      this.#refusals = 0
      this.#send()
      return
    }
    const doublings = Math.min(this.#refusals++, BACKOFF.doublings)
    const waitMs = this.crowd.job.retry === 'backoff' ? Math.random() * BACKOFF.baseMs * 2 ** doublings : 0
    // A connection that the server closes after its answer is made anew.
    setTimeout(() => this.#send(), waitMs)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
