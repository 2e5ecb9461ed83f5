import { setTimeout as sleep } from 'node:timers/promises'
import { RawS3, S3Failure, type Target } from '../../bench/load/raw-s3.js'
import type { RegisterOp } from '../../testing/register-check.js'
import type { RegisterHistory } from '../../testing/register-history.js'
import type { SeededRandom } from '../../testing/seeded-random.js'
import { contentOf, etagOf, valueIn } from './contents.js'

export const BUCKET = 'torture'
/** Few keys that all write, and many that are seldom met. */
const HOT_KEYS = 6
const COLD_KEYS = 150
const WORKERS_PER_NODE = 3
/** Rest between requests of a worker, ms. */
const REST_MS = 10
const TIMEOUT_MS = 10_000

/** How the clients of one node fare. */
export interface NodeTally {
  requests: number
  /** Answers of 5xx. */
  refused: number
  /** Connections that failed or gave no answer in time. */
  broken: number
  /** The longest time without a success while nothing was done to the node, ms. */
  longestGapMs: number
  /** Requests refused or broken while nothing was done to the node. */
  unexpected: Map<string, number>
  /** Times of requests that succeeded, in ms, in their order. */
  latencies: number[]
}

interface NodeClients {
  readonly name: string
  readonly s3: RawS3
  readonly tally: NodeTally
  lastSuccessMs: number
  /** Whether something is done to the node, so that failures are to be expected. */
  harmed: boolean
  /** Which release it runs, where these differ. */
  release?: string
}

/**
 * Clients of all nodes that write, read, delete, list and change on conditions the same keys, and a history of all that they
 * did. No request is tried again: one that failed may have taken effect.
 */
export class TortureLoad {
  readonly #nodes = new Map<string, NodeClients>()
  /** What was wrong with an answer by itself. */
  readonly violations: string[] = []
  /** Whether clients write on conditions; the first release does not know how. */
  isConditional = true
  #running: Promise<unknown>[] = []
  #stopping = false
  #writes = 0
  /** Values by the ETag of their content. */
  readonly #valueOfEtag = new Map<string, string>()

  constructor(
    private readonly history: RegisterHistory,
    private readonly random: SeededRandom,
  ) {}

  /** Adds the clients of a node; they begin at once when the others run. */
  addNode(name: string, target: Target): void {
    const tally = {
      requests: 0,
      refused: 0,
      broken: 0,
      longestGapMs: 0,
      unexpected: new Map(),
      latencies: [],
    }
    const node = {
      name,
      s3: new RawS3(target, WORKERS_PER_NODE),
      tally,
      lastSuccessMs: performance.now(),
      harmed: false,
    }
    this.#nodes.set(name, node)
    if (this.#running.length > 0) this.#startNode(node)
  }

  get tallies(): ReadonlyMap<string, NodeTally> {
    return new Map([...this.#nodes].map(([name, { tally }]) => [name, tally]))
  }

  start(): void {
    this.#stopping = false
    for (const node of this.#nodes.values()) {
      node.lastSuccessMs = performance.now()
      this.#startNode(node)
    }
  }

  /** Lets the requests under way end. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#running)
    this.#running = []
  }

  destroy(): void {
    for (const { s3 } of this.#nodes.values()) s3.close()
  }

  /** Says that failures of a node are to be expected from now on, or not any more. */
  setHarmed(name: string, harmed: boolean): void {
    const node = this.#nodes.get(name)!
    node.harmed = harmed
    node.lastSuccessMs = performance.now()
  }

  /** Says which release a node runs, for those who are told of its failures. */
  setRelease(name: string, release: string): void {
    this.#nodes.get(name)!.release = release
  }

  /** Resolves when requests at a node succeed again: with the time that it took, ms. @throws Error after a minute */
  async untilServed(name: string): Promise<number> {
    const { s3 } = this.#nodes.get(name)!
    const startMs = performance.now()
    for (let successes = 0; successes < 3; ) {
      try {
        await s3.request('PUT', `/${BUCKET}/served`, { body: Buffer.from(name), timeoutMs: TIMEOUT_MS })
        successes++
      } catch (error) {
        successes = 0
        if (performance.now() - startMs > 60_000) throw error
        await sleep(20)
      }
    }
    return performance.now() - startMs
  }

  /** Reads every key through every node, as one more operation on it each. */
  async readAll(): Promise<void> {
    const keys = [...Array(HOT_KEYS).keys()].map(hotKey).concat([...Array(COLD_KEYS).keys()].map(coldKey))
    for (const node of this.#nodes.values()) {
      for (const key of keys) {
        const failure = await this.#get(node, key)
        if (failure) this.violations.push(`at rest, ${node.name} does not serve ${key}: ${failure.message}`)
      }
      await this.#list(node)
    }
  }

  #startNode(node: NodeClients): void {
    for (let i = 0; i < WORKERS_PER_NODE; i++) this.#running.push(this.#work(node))
  }

  async #work(node: NodeClients): Promise<void> {
    while (!this.#stopping) {
      const startMs = performance.now()
      const failure = await this.#step(node)
      this.#note(node, performance.now() - startMs, failure)
      await sleep(failure ? REST_MS * 5 : REST_MS)
    }
  }

  #note(node: NodeClients, tookMs: number, failure: Error | undefined): void {
    const { tally } = node
    const now = performance.now()
    tally.requests++
    if (!node.harmed) tally.longestGapMs = Math.max(tally.longestGapMs, now - node.lastSuccessMs)
    if (!failure) {
      node.lastSuccessMs = now
      tally.latencies.push(tookMs)
      return
    }
    if (failure instanceof S3Failure) tally.refused++
    else tally.broken++
    if (node.harmed) return
    const by = node.release ? `${node.release}: ` : ''
    const what = `${by}${failure.message.replace(/\/torture\/?\S*/, '').slice(0, 160)}`
    tally.unexpected.set(what, (tally.unexpected.get(what) ?? 0) + 1)
  }

  /** One operation on a key. Resolves with the reason when it was not served. */
  #step(node: NodeClients): Promise<Error | undefined> {
    const { random } = this
    const key =
      random.float() < 0.3
        ? hotKey(Math.floor(random.float() * HOT_KEYS))
        : coldKey(Math.floor(random.float() * COLD_KEYS))
    const draw = random.float()
    if (draw < 0.35) return this.#put(node, key)
    if (draw < 0.7) return this.#get(node, key)
    if (draw < 0.8) return this.#delete(node, key)
    if (draw >= 0.95) return this.#list(node)
    if (!this.isConditional) return this.#get(node, key)
    if (draw < 0.85) return this.#create(node, key)
    return this.#increment(node, key)
  }

  #newValue(): string {
    const value = `v${this.#writes++}`
    this.#valueOfEtag.set(etagOf(value), value)
    return value
  }

  async #put(node: NodeClients, key: string): Promise<Error | undefined> {
    const value = this.#newValue()
    const op = this.history.call(key, 'write', value, `put at ${node.name}`)
    return this.#write(node, op, 'PUT', key, {}, contentOf(value))
  }

  async #delete(node: NodeClients, key: string): Promise<Error | undefined> {
    const op = this.history.call(key, 'write', null, `delete at ${node.name}`)
    return this.#write(node, op, 'DELETE', key, {})
  }

  async #create(node: NodeClients, key: string): Promise<Error | undefined> {
    const value = this.#newValue()
    const op = this.history.call(key, 'change', value, `create at ${node.name}`, null)
    return this.#write(node, op, 'PUT', key, { 'if-none-match': '*' }, contentOf(value))
  }

  /** Reads a key, and writes it on the condition that it is as it was read. */
  async #increment(node: NodeClients, key: string): Promise<Error | undefined> {
    const found: { value?: string | null } = {}
    const failure = await this.#get(node, key, found)
    if (failure || !found.value) return failure
    const value = this.#newValue()
    const op = this.history.call(key, 'change', value, `change at ${node.name}`, found.value)
    return this.#write(node, op, 'PUT', key, { 'if-match': etagOf(found.value) }, contentOf(value))
  }

  async #write(
    node: NodeClients,
    op: RegisterOp,
    method: string,
    key: string,
    headers: Record<string, string>,
    body?: Buffer,
  ): Promise<Error | undefined> {
    try {
      await node.s3.request(method, pathOf(key), { headers, timeoutMs: TIMEOUT_MS, ...(body && { body }) })
      this.history.answered(op)
    } catch (error) {
      const failure = error as Error
      if (!(failure instanceof S3Failure) || failure.status >= 500) return failure
      // 404 answers a change of what is not there any more; 409 says that nothing was written.
      if (op.kind === 'change' && (failure.status === 412 || failure.status === 404)) this.history.refused(op)
      else if (op.kind === 'change' && failure.status === 409) this.history.void(op)
      else this.violations.push(failure.message)
    }
    return undefined
  }

  async #get(
    node: NodeClients,
    key: string,
    found: { value?: string | null } = {},
  ): Promise<Error | undefined> {
    const op = this.history.call(key, 'read', null, `get at ${node.name}`)
    try {
      const { text } = await node.s3.request('GET', pathOf(key), { text: true, timeoutMs: TIMEOUT_MS })
      found.value = this.#valueOf(text, `${key} at ${node.name}`)
    } catch (error) {
      const failure = error as Error
      if (!(failure instanceof S3Failure) || failure.status >= 500) return failure
      if (failure.code !== 'NoSuchKey') {
        this.violations.push(failure.message)
        return undefined
      }
      found.value = null
    }
    if (found.value !== undefined) this.history.answered(op, found.value)
    return undefined
  }

  #valueOf(content: string, what: string): string | undefined {
    try {
      return valueIn(content)
    } catch (error) {
      this.violations.push(`${what}: ${(error as Error).message}`)
      return undefined
    }
  }

  /** A listing of all keys: a read of each of them. */
  async #list(node: NodeClients): Promise<Error | undefined> {
    const keys = [...Array(HOT_KEYS).keys()].map(hotKey)
    const ops = keys.map((key) => this.history.call(key, 'read', null, `list at ${node.name}`))
    let text: string
    try {
      const query = 'list-type=2&prefix=hot'
      text = (await node.s3.request('GET', `/${BUCKET}`, { query, text: true, timeoutMs: TIMEOUT_MS })).text
    } catch (error) {
      return error as Error
    }
    const etags = new Map(
      [...text.matchAll(/<Key>([^<]*)<\/Key>.*?<ETag>([^<]*)<\/ETag>/gs)].map(([, key, etag]) => [
        key!,
        etag!.replaceAll('&quot;', '"'),
      ]),
    )
    for (const [i, key] of keys.entries()) {
      const etag = etags.get(key)
      const value = etag === undefined ? null : this.#valueOfEtag.get(etag)
      if (value === undefined) this.violations.push(`${key} is listed with ${etag}, which nobody wrote`)
      else this.history.answered(ops[i]!, value)
    }
    return undefined
  }
}

const hotKey = (i: number) => `hot${i}`
const coldKey = (i: number) => `cold${i}`
const pathOf = (key: string) => `/${BUCKET}/${key}`
