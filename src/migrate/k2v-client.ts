import { hash } from 'node:crypto'
import { encodeUri, readAll, retried, type S3Endpoint, StoreError } from '../api/client/s3-client.js'
import { signed } from '../api/client/sign.js'
import type { MigrationWorld } from './world.js'

/** A value, or null for a deletion that stands beside values. */
export type K2vValue = Buffer | null

export interface K2vItem {
  partitionKey: string
  sortKey: string
  values: K2vValue[]
  /** Says which values were seen. */
  token: string
}

/** One write; with a token it takes the place of the values that the token has seen. */
export interface K2vWrite {
  partitionKey: string
  sortKey: string
  value: K2vValue
  token: string | undefined
}

/** Items of one page of a search, and partition keys of one page of the index. */
const PAGE_ITEMS = 50
const PAGE_KEYS = 1000
/** An item has up to a hundred values of a MiB; they come in base64. */
const ANSWER_BYTES_MAX = 256 << 20

type Fields = Readonly<Record<string, unknown>>

/** The calls of the K2V API that carry a bucket's items. Answers of another form than K2V's are errors. */
export class K2vEndpoint {
  readonly #url: URL

  /** @throws TypeError if the endpoint is no URL */
  constructor(
    readonly at: S3Endpoint,
    private readonly bucket: string,
    private readonly world: Pick<MigrationWorld, 'call' | 'clock' | 'random'>,
  ) {
    this.#url = new URL(at.endpoint)
  }

  /** All items that have a value, by partition key and sort key, page by page. */
  async *items(): AsyncGenerator<K2vItem[]> {
    for await (const partitionKey of this.#partitionKeys()) {
      let start: string | undefined
      do {
        const search = { partitionKey, limit: PAGE_ITEMS, ...(start !== undefined && { start }) }
        const [page] = await this.#search([search])
        if (page!.items.length > 0) yield page!.items
        start = page!.next
      } while (start !== undefined)
    }
  }

  /** What is there under these keys, in their order: undefined where nothing ever was. Deletions alone count as something. */
  async read(keys: readonly Pick<K2vItem, 'partitionKey' | 'sortKey'>[]): Promise<(K2vItem | undefined)[]> {
    const found: (K2vItem | undefined)[] = keys.map(() => undefined)
    let wanted = [...keys.keys()]
    while (wanted.length > 0) {
      const searches = wanted.map((i) => ({
        ...{ partitionKey: keys[i]!.partitionKey, start: keys[i]!.sortKey },
        ...{ singleItem: true, tombstones: true },
      }))
      const answers = await this.#search(searches)
      // An answer has room for so many bytes: what did not fit is asked for again.
      const left = wanted.filter(
        (_, at) => answers[at]!.items.length === 0 && answers[at]!.next !== undefined,
      )
      for (const [at, i] of wanted.entries()) found[i] = answers[at]!.items[0]
      if (left.length === wanted.length) throw unknownForm()
      wanted = left
    }
    return found
  }

  /** @throws StoreError with the code of K2V; some of the writes may have been carried out */
  async insert(writes: readonly K2vWrite[]): Promise<void> {
    if (writes.length === 0) return
    const document = writes.map(({ partitionKey, sortKey, value, token }) => ({
      ...{ pk: partitionKey, sk: sortKey, ct: token ?? null, v: value?.toString('base64') ?? null },
    }))
    await this.#call('POST', {}, document)
  }

  async *#partitionKeys(): AsyncGenerator<string> {
    let start: string | undefined
    do {
      const query = { limit: String(PAGE_KEYS), ...(start !== undefined && { start }) }
      const answer = objectOf(await this.#json('GET', query))
      for (const entry of listOf(answer.partitionKeys)) yield textOf(objectOf(entry).pk)
      start = nextOf(answer)
    } while (start !== undefined)
  }

  async #search(searches: readonly object[]): Promise<{ items: K2vItem[]; next: string | undefined }[]> {
    const answers = listOf(await this.#json('POST', { search: '' }, searches)).map(objectOf)
    if (answers.length !== searches.length) throw unknownForm()
    return answers.map((answer) => {
      const partitionKey = textOf(answer.partitionKey)
      const items = listOf(answer.items).map((item) => itemOf(partitionKey, objectOf(item)))
      return { items, next: nextOf(answer) }
    })
  }

  async #json(method: string, query: Readonly<Record<string, string>>, body?: unknown): Promise<unknown> {
    const text = await this.#call(method, query, body)
    try {
      return JSON.parse(text) as unknown
    } catch {
      throw unknownForm()
    }
  }

  /** @throws StoreError */
  #call(method: string, query: Readonly<Record<string, string>>, body?: unknown): Promise<string> {
    const { world, at } = this
    const { origin, host, pathname } = this.#url
    const path = `${pathname.replace(/\/$/, '')}/${encodeUri(this.bucket)}`
    const queryText = Object.entries(query)
      .map(([name, value]) => `${encodeUri(name)}=${encodeUri(value)}`)
      .join('&')
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body))
    const headers = {
      host,
      ...(body !== undefined && { 'content-type': 'application/json', 'content-length': `${bytes.length}` }),
    }
    const request = { method, path, query: queryText, headers }
    return retried(world, async () => {
      const answer = await world.call({
        ...{ origin, method, target: queryText === '' ? path : `${path}?${queryText}` },
        headers: signed(
          ...([request, at.credentials, at.region, world.clock.nowMs()] as const),
          ...(['k2v', hash('sha256', bytes)] as const),
        ),
        ...(body !== undefined && { body: bytes }),
      })
      const text = (await readAll(answer.body, ANSWER_BYTES_MAX)).toString()
      if (answer.status < 300) return text
      throw errorOf(answer.status, text, `${method} ${this.bucket}`)
    })
  }
}

function errorOf(status: number, text: string, what: string): StoreError {
  let document: Fields = {}
  try {
    document = objectOf(JSON.parse(text))
  } catch {
    // A proxy answers with a page of its own.
  }
  const code = typeof document.code === 'string' ? document.code : String(status)
  return new StoreError(code, `K2V: ${what}: ${code}: ${document.message ?? 'no reason given'}`, status)
}

function itemOf(partitionKey: string, { sk, ct, v }: Fields): K2vItem {
  const values = listOf(v).map((value) => (value === null ? null : Buffer.from(textOf(value), 'base64')))
  return { partitionKey, sortKey: textOf(sk), token: textOf(ct), values }
}

const unknownForm = () => new StoreError('NoK2v', 'the K2V API answers in an unknown form', 400)

function nextOf({ nextStart }: Fields): string | undefined {
  return nextStart === null || nextStart === undefined ? undefined : textOf(nextStart)
}
function listOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value
  throw unknownForm()
}
function objectOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw unknownForm()
}
function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  throw unknownForm()
}
