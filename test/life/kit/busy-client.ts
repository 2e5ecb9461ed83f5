import { createHash, randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'

/** What a client did in one part of the run. */
export interface Tally {
  requests: number
  /** Attempts beyond the first, which the SDK made by itself. */
  retries: number
  /** Requests that failed after all attempts, or whose answer was wrong. */
  failures: string[]
  /** The longest time in which no request succeeded, in ms. */
  longestGapMs: number
}

/** What a key may hold: several states while a write is under way, whose order is not known. */
interface KeyState {
  /** Hashes of the contents that a reader may find; null stands for no object. */
  possible: Set<string | null>
  /** Counts writes begun, so that a reader knows whether one overlapped with it. */
  writes: number
}

const BUCKET = 'life'
const SIZES: readonly [share: number, bytes: number][] = [
  [0.5, 4_096],
  [0.25, 40_000],
  [0.2, 120_000],
  [0.05, 1_500_000],
]
const PART_BYTES = 5 << 20
const UPLOAD_EVERY_MS = 10_000
const WRITERS = 2
const READERS = 2
/** Rest after each request, in ms: the client is there all the time, it does not try to be fast. */
const REST_MS = 40

/**
 * A client that reads and writes as long as it is told, through one endpoint and by the AWS SDK with its own retries, and that
 * knows what each key must hold.
 */
export class BusyClient {
  readonly #s3: S3Client
  readonly #keys = new Map<string, KeyState>()
  /** Keys with an acknowledged write, in order of their first. */
  readonly #known: string[] = []
  #running: Promise<unknown> = Promise.resolve()
  #stopping = false
  #tally: Tally = newTally()
  #lastSuccessMs = 0

  constructor(
    endpoint: string,
    private readonly credentials: { accessKeyId: string; secretAccessKey: string },
  ) {
    this.#s3 = this.#clientOf(endpoint)
  }

  #clientOf(endpoint: string): S3Client {
    return new S3Client({ endpoint, region: 'garage', forcePathStyle: true, credentials: this.credentials })
  }

  static readonly bucket = BUCKET

  start(): void {
    this.#stopping = false
    this.#lastSuccessMs = performance.now()
    const loops = [
      ...Array.from({ length: WRITERS }, (_, i) => this.#loop(() => this.#write(i))),
      ...Array.from({ length: READERS }, () => this.#loop(() => this.#read())),
      this.#loop(() => this.#list()),
      this.#loop(() => this.#upload(), UPLOAD_EVERY_MS),
    ]
    this.#running = Promise.all(loops)
  }

  /** Lets the requests under way end. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
    this.#noteSuccess()
  }

  /** What was done since the last call. */
  take(): Tally {
    const now = performance.now()
    const tally = {
      ...this.#tally,
      longestGapMs: Math.max(this.#tally.longestGapMs, now - this.#lastSuccessMs),
    }
    this.#tally = newTally()
    return tally
  }

  /** The number of keys that were written. */
  get size(): number {
    return this.#known.length
  }

  /**
   * Reads every key through one node, and compares. The client must have been stopped.
   * @returns what was wrong
   */
  async verify(endpoint: string, keys = this.#known): Promise<{ verified: number; wrong: string[] }> {
    const s3 = this.#clientOf(endpoint)
    const wrong: string[] = []
    const rest = [...keys]
    const reader = async () => {
      for (let key = rest.pop(); key !== undefined; key = rest.pop()) {
        const { possible } = this.#keys.get(key)!
        try {
          const { hash } = await this.#get(s3, key)
          if (!possible.has(hash))
            wrong.push(`${key}: ${hash ?? 'absent'} instead of ${[...possible].join(' or ')}`)
        } catch (error) {
          wrong.push(`${key}: ${textOf(error)}`)
        }
      }
    }
    await Promise.all(Array.from({ length: 8 }, reader))
    s3.destroy()
    return { verified: keys.length - wrong.length, wrong }
  }

  destroy(): void {
    this.#s3.destroy()
  }

  async #loop(work: () => Promise<void>, restMs = REST_MS): Promise<void> {
    while (!this.#stopping) {
      await work()
      for (let waited = 0; waited < restMs && !this.#stopping; waited += REST_MS) await sleep(REST_MS)
    }
  }

  /** Runs one request and counts it. Resolves to undefined if it failed. */
  async #count<T>(what: string, run: () => Promise<T & { attempts: number }>): Promise<T | undefined> {
    this.#tally.requests++
    try {
      const result = await run()
      this.#tally.retries += result.attempts - 1
      this.#noteSuccess()
      return result
    } catch (error) {
      this.#tally.retries += ((error as S3ServiceException).$metadata?.attempts ?? 1) - 1
      this.#fail(`${what}: ${textOf(error)}`)
      return undefined
    }
  }

  #noteSuccess(): void {
    const now = performance.now()
    this.#tally.longestGapMs = Math.max(this.#tally.longestGapMs, now - this.#lastSuccessMs)
    this.#lastSuccessMs = now
  }

  #fail(message: string): void {
    this.#tally.failures.push(`${new Date().toISOString().slice(11, 23)} ${message}`)
  }

  /** Writes a new key, or one of this writer's own anew, or deletes it. */
  async #write(writer: number): Promise<void> {
    const own = this.#known.length > 20 && Math.random() < 0.3 ? this.#ownKey(writer) : undefined
    const key =
      own ?? `${writer}/${this.#known.length.toString().padStart(6, '0')}-${randomBytes(3).toString('hex')}`
    const deletes = own !== undefined && Math.random() < 0.3
    const body = randomBytes(sizeOf(Math.random()))
    const hash = deletes ? null : hashOf(body)
    const command = deletes
      ? new DeleteObjectCommand({ Bucket: BUCKET, Key: key })
      : new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body })
    await this.#change(key, hash, async () => {
      const { $metadata } = await this.#s3.send(command as PutObjectCommand)
      return { attempts: $metadata.attempts ?? 1 }
    })
  }

  async #change(key: string, hash: string | null, run: () => Promise<{ attempts: number }>): Promise<void> {
    const state = this.#keys.get(key) ?? { possible: new Set([null]), writes: 0 }
    this.#keys.set(key, state)
    state.writes++
    state.possible.add(hash)
    const done = await this.#count(`${hash === null ? 'delete' : 'write'} ${key}`, run)
    // A write that failed may have taken effect: the key may hold either.
    if (!done) return
    state.possible = new Set([hash])
    state.writes++
    if (!this.#known.includes(key)) this.#known.push(key)
  }

  #ownKey(writer: number): string | undefined {
    for (let tries = 0; tries < 8; tries++) {
      const key = this.#known[randomInt(this.#known.length)]!
      if (key.startsWith(`${writer}/`)) return key
    }
    return undefined
  }

  async #read(): Promise<void> {
    if (this.#known.length === 0) return
    // Half of the reads are of the keys that were written last.
    const first = Math.random() < 0.5 ? Math.max(0, this.#known.length - 20) : 0
    const key = this.#known[randomInt(first, this.#known.length)]!
    const state = this.#keys.get(key)!
    const { writes } = state
    const possible = new Set(state.possible)
    const read = await this.#count(`read ${key}`, () => this.#get(this.#s3, key))
    if (!read || state.writes !== writes || possible.has(read.hash)) return
    this.#fail(`read ${key}: found ${read.hash ?? 'nothing'} instead of ${[...possible].join(' or ')}`)
  }

  async #get(s3: S3Client, key: string): Promise<{ hash: string | null; attempts: number }> {
    // A connection that breaks in the midst of a body is no attempt of the SDK's: a user reads again.
    for (let reads = 1; ; reads++) {
      try {
        const { Body, $metadata } = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
        const hash = hashOf(await Body!.transformToByteArray())
        return { hash, attempts: ($metadata.attempts ?? 1) + reads - 1 }
      } catch (error) {
        const { name, $metadata } = error as S3ServiceException
        if (name === 'NoSuchKey') return { hash: null, attempts: $metadata.attempts ?? 1 }
        if ($metadata?.httpStatusCode !== undefined || reads === 3) throw error
      }
    }
  }

  /** Lists a part of the keys: those that were there before and not deleted since must be in it. */
  async #list(): Promise<void> {
    const writer = randomInt(WRITERS)
    const from = Math.max(0, this.#known.length - 200)
    const startAfter = `${writer}/${from.toString().padStart(6, '0')}`
    const expected = this.#known
      .filter((key) => key.startsWith(`${writer}/`) && key > startAfter)
      .map((key) => ({ key, state: this.#keys.get(key)!, writes: this.#keys.get(key)!.writes }))
      .filter(({ state }) => !state.possible.has(null))
    const listed = await this.#count(`list ${startAfter}`, async () => {
      const { Contents = [], $metadata } = await this.#s3.send(
        new ListObjectsV2Command({ Bucket: BUCKET, Prefix: `${writer}/`, StartAfter: startAfter }),
      )
      return { keys: new Set(Contents.map(({ Key }) => Key!)), attempts: $metadata.attempts ?? 1 }
    })
    if (!listed) return
    for (const { key, state, writes } of expected) {
      if (state.writes === writes && !listed.keys.has(key))
        this.#fail(`list ${startAfter}: ${key} is not in it`)
    }
  }

  /** Uploads a long object in two parts. */
  async #upload(): Promise<void> {
    const Key = `m/${randomBytes(6).toString('hex')}`
    const parts = [randomBytes(PART_BYTES), randomBytes(300_000)]
    const names = { Bucket: BUCKET, Key }
    const created = await this.#count(`create upload ${Key}`, async () => {
      const { UploadId, $metadata } = await this.#s3.send(new CreateMultipartUploadCommand(names))
      return { UploadId, attempts: $metadata.attempts ?? 1 }
    })
    if (!created) return
    const { UploadId } = created
    const etags: { PartNumber: number; ETag: string | undefined }[] = []
    for (const [i, Body] of parts.entries()) {
      const part = await this.#count(`upload part ${i + 1} of ${Key}`, async () => {
        const { ETag, $metadata } = await this.#s3.send(
          new UploadPartCommand({ ...names, UploadId, PartNumber: i + 1, Body }),
        )
        return { ETag, attempts: $metadata.attempts ?? 1 }
      })
      if (!part) {
        await this.#s3.send(new AbortMultipartUploadCommand({ ...names, UploadId })).catch(() => {})
        return
      }
      etags.push({ PartNumber: i + 1, ETag: part.ETag })
    }
    await this.#change(Key, hashOf(Buffer.concat(parts)), async () => {
      const MultipartUpload = { Parts: etags }
      const { $metadata } = await this.#s3.send(
        new CompleteMultipartUploadCommand({ ...names, UploadId, MultipartUpload }),
      )
      return { attempts: $metadata.attempts ?? 1 }
    })
  }
}

function newTally(): Tally {
  return { requests: 0, retries: 0, failures: [], longestGapMs: 0 }
}

function sizeOf(chance: number): number {
  let rest = chance
  for (const [share, bytes] of SIZES) {
    if (rest < share) return bytes + randomInt(100)
    rest -= share
  }
  return SIZES[0]![1]
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}

function textOf(error: unknown): string {
  const { name, message, $metadata, code } = error as S3ServiceException & { code?: string }
  return `${name} ${code ?? ''} ${message} (status ${$metadata?.httpStatusCode}, ${$metadata?.attempts} attempts)`
}
