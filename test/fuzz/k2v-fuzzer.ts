import { connect } from 'node:net'
import fc from 'fast-check'
import { type Answer, exchange, type FuzzRequest, type Signer, wireBytes } from '../support/fuzz-client.js'
import { headerBytes, oddText, urlBytes } from '../support/fuzz-text.js'
import type { FuzzCluster } from './fuzz-cluster.js'
import { asError, type PortFuzzer, UnexpectedAnswer } from './port-fuzzer.js'

const BUCKET = 'fuzz-k2v'
const DEADLINE_MS = 30_000
/** What a node takes in any case of a body that it refuses. */
const REST_TAKEN = 256 << 10
const BODY_BYTES_MAX = 4 << 20

const base64 = (text: string) => Buffer.from(text).toString('base64')
/** `@T@` and `@M@` stand for the last token and the last marker that a node has given. */
const TOKENS = ['', 'AAAA', '====', 'A'.repeat(4000), `${'_'.repeat(22)}`, '@T@@T@', '@M@']
const token = fc.oneof(
  { weight: 12, arbitrary: fc.constant('@T@') },
  { weight: 6, arbitrary: fc.constantFrom(...TOKENS) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }).map((b) => Buffer.from(b).toString('base64url')) },
  { weight: 1, arbitrary: oddText },
)
const KEYS = [
  'a',
  'a',
  'b',
  'c/d',
  'e',
  'é',
  '\u0000',
  '\u0001\u0000',
  'x'.repeat(900),
  'x'.repeat(901),
  '\u0000'.repeat(450),
]
const itemKey = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...KEYS) },
  { weight: 1, arbitrary: oddText },
)
const number = fc.constantFrom<unknown>(null, null, 0, 1, 2, 1000, 2 ** 53 - 1)
const bool = fc.constantFrom<unknown>(true, false, false, null)
const marker = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('@M@', '@M@', '', '@T@', 'A'.repeat(50_000), '{}') },
  { weight: 1, arbitrary: oddText },
)
const odd = fc.oneof(
  oddText,
  fc.constantFrom<unknown>(-1, 1.5, 2 ** 53, 1e308, 0, '1', true, null),
  fc.constantFrom<unknown>({}, [], [[]], { __proto__: null }, '\ud800', 'x'.repeat(5000)),
)
/** Mostly what belongs there, and now and then something else. */
const nearly = (arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 60, arbitrary }, { weight: 1, arbitrary: odd })
const fields = (shape: Record<string, fc.Arbitrary<unknown>>, required: string[]) =>
  fc.record(Object.fromEntries(Object.entries(shape).map(([name, value]) => [name, nearly(value)])), {
    requiredKeys: required,
  })
const value = fc.constantFrom<unknown>(
  null,
  '',
  base64('v'),
  base64('v'),
  'AA',
  '!',
  base64('x'.repeat(60_000)),
)
const insert = fields({ pk: itemKey, sk: itemKey, ct: token, v: value }, ['pk', 'sk'])
const range = { partitionKey: itemKey, prefix: itemKey, start: itemKey, end: itemKey, singleItem: bool }
const search = fields({ ...range, limit: number, reverse: bool, conflictsOnly: bool, tombstones: bool }, [
  'partitionKey',
])
const removal = fields(range, ['partitionKey'])
const polls = fields(
  { prefix: itemKey, start: itemKey, end: itemKey, timeout: fc.constantFrom(0, 1, 1), seenMarker: marker },
  ['timeout'],
)
// A second at the most: the client takes no answer within half a minute for a fault.
const poll = polls.map((body) => {
  const { timeout } = body as { timeout?: unknown }
  return typeof timeout === 'number' && timeout > 1 ? { ...body, timeout: 1 } : body
})
const whole = (texts: fc.Arbitrary<string>) => texts.map((text): Body => ({ text, fills: false }))
const json = (arbitrary: fc.Arbitrary<unknown>) => arbitrary.map((value) => JSON.stringify(value))
const HOSTILE = [
  '',
  '{',
  'null',
  '0',
  '[]',
  '[[]]',
  '[null]',
  '{}',
  '['.repeat(50_000),
  '[{"a":'.repeat(20_000),
  '"\\ud800"',
  '[1e999]',
  '\u00ff',
]
const documentOf = (element: fc.Arbitrary<unknown>): fc.Arbitrary<Body> =>
  fc.oneof(
    { weight: 30, arbitrary: whole(json(fc.array(element, { maxLength: 6 }))) },
    {
      weight: 3,
      arbitrary: whole(json(fc.array(element, { minLength: 900, maxLength: 1100, size: 'max' }))),
    },
    { weight: 2, arbitrary: json(element).map((text) => ({ text, fills: true })) },
    { weight: 2, arbitrary: whole(fc.constantFrom(...HOSTILE)) },
  )

interface Body {
  text: string
  /** Whether it is one element of a list that fills the longest body with copies of it. */
  fills: boolean
}

/** What is read of an answer. */
interface Document {
  seenMarker?: string
  code?: string
}

interface Shape {
  method: string
  path: string
  query: [name: string, value: string | undefined][]
  body: Body
}

const path = (hasKey: boolean) =>
  fc.oneof(
    { weight: 20, arbitrary: itemKey.map((key) => `/${BUCKET}${hasKey ? `/${urlBytes(key)}` : ''}`) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '/',
        '//',
        '/no-such-bucket/a',
        `/${BUCKET}/`,
        `//${BUCKET}//a/b`,
        `/${BUCKET}/%zz`,
        `/${BUCKET}/%ff`,
        '*',
      ),
    },
    { weight: 1, arbitrary: oddText.map((text) => `/${urlBytes(text, true)}`) },
  )
const operation = (
  method: string,
  hasKey: boolean,
  query: fc.Arbitrary<Shape['query']>,
  body: fc.Arbitrary<Body> = whole(fc.constant('')),
): fc.Arbitrary<Shape> => fc.record({ method: fc.constant(method), path: path(hasKey), query, body })
const flag = (name: string) => fc.constantFrom<Shape['query']>([[name, undefined]], [[name, '']])
const none = fc.constant<Shape['query']>([])
const sortKey = itemKey.map((key): Shape['query'] => [['sort_key', key]])
const polled = fc
  .tuple(itemKey, token, fc.constantFrom('1', '1', '1', '0', '-1', 'x', ''))
  .map(([key, seen, timeout]): Shape['query'] => [
    ['sort_key', key],
    ['causality_token', seen],
    ['timeout', timeout],
  ])
const indexed = fc.array(
  fc.tuple(
    fc.constantFrom('prefix', 'start', 'end', 'limit', 'reverse', 'sort_key', 'x'),
    fc.oneof(itemKey, fc.constantFrom('1', '0', '10', 'true', 'false', '', undefined)),
  ),
  { maxLength: 4 },
)
const singleValue = fc.oneof(
  { weight: 10, arbitrary: fc.constantFrom('', 'v', 'x'.repeat(3000)) },
  { weight: 1, arbitrary: fc.constantFrom('x'.repeat(1 << 20), 'x'.repeat((1 << 20) + 1)) },
)

const shape: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 4, arbitrary: operation('GET', true, sortKey) },
  { weight: 4, arbitrary: operation('PUT', true, sortKey, whole(singleValue)) },
  { weight: 3, arbitrary: operation('DELETE', true, sortKey) },
  { weight: 3, arbitrary: operation('GET', true, polled) },
  { weight: 3, arbitrary: operation('GET', false, indexed) },
  { weight: 4, arbitrary: operation('POST', false, none, documentOf(insert)) },
  { weight: 2, arbitrary: operation('POST', false, flag('search'), documentOf(search)) },
  { weight: 2, arbitrary: operation('SEARCH', false, none, documentOf(search)) },
  { weight: 2, arbitrary: operation('POST', false, flag('delete'), documentOf(removal)) },
  { weight: 3, arbitrary: operation('POST', true, flag('poll_range'), whole(json(poll))) },
  { weight: 1, arbitrary: operation('SEARCH', true, flag('poll_range'), documentOf(poll)) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('OPTIONS', 'HEAD', 'PATCH', 'SEARCH', 'FOO')
      .chain((method) => operation(method, false, indexed)),
  },
)
const header: fc.Arbitrary<[string, string]> = fc.oneof(
  {
    weight: 6,
    arbitrary: token.map((text): [string, string] => ['X-Garage-Causality-Token', headerBytes(text)]),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(
        'application/json',
        'application/octet-stream',
        '*/*',
        'application/json, application/octet-stream',
        'x',
        ','.repeat(5000),
      )
      .map((text): [string, string] => ['Accept', text]),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('true', '1', 'x')
      .map((text): [string, string] => ['X-Garage-Non-Monotonic-Read', text]),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('http://a.example', 'null').map((text): [string, string] => ['Origin', text]),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom(
          'Expect',
          'Content-Type',
          'Content-MD5',
          'x-amz-checksum-crc32',
          'x-amz-security-token',
        ),
        oddText,
      )
      .map(([name, text]): [string, string] => [name, headerBytes(text)]),
  },
)
const mostly = <T>(usual: T, ...others: T[]) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  )
const k2vRequest = fc.record({
  shape,
  headers: fc.array(header, { maxLength: 2 }),
  auth: mostly<FuzzRequest['auth']>('header', 'presigned', 'none', 'wrong', 'other-key'),
  length: mostly<FuzzRequest['length']>('right', 'none', 'short', 'transfer-chunked', 'transfer-broken'),
  payloadHash: mostly<string | undefined>(undefined, 'UNSIGNED-PAYLOAD', 'x', '0'.repeat(64)),
  /** The connection is cut off without a word so long after the request, in ms. */
  cutAfterMs: fc.oneof({ weight: 12, arbitrary: fc.constant(undefined) }, fc.constantFrom(0, 5, 100)),
})

/** The K2V API: all operations with documents, tokens, markers and bodies that are nearly right, and polls that are left. */
export class K2vFuzzer implements PortFuzzer {
  readonly name = 'k2v'
  /** Kinds of answers, as "PUT 204" or "POST 400 InvalidBase64", and how many there were. */
  readonly seen = new Map<string, number>()
  #requests = 0
  /** What the nodes have given last. */
  #token = 'AAAA'
  #marker = 'AAAA'

  private constructor(
    private readonly cluster: FuzzCluster,
    private readonly key: Signer,
  ) {}

  static async create(
    cluster: FuzzCluster,
    key: Signer,
    put: (target: string, body: string) => Promise<void>,
  ): Promise<K2vFuzzer> {
    await put(`/${BUCKET}`, '')
    return new K2vFuzzer(cluster, key)
  }

  async *run(seed: number): AsyncGenerator<number> {
    for (const { shape, headers, auth, length, payloadHash, cutAfterMs } of fc.sample(k2vRequest, {
      seed,
      numRuns: 60,
    })) {
      const { ports } = this.cluster.nodes[this.#requests++ % this.cluster.nodes.length]!
      const query = shape.query.map(([name, text]) =>
        text === undefined ? name : `${name}=${urlBytes(this.#fill(text))}`,
      )
      const sent: FuzzRequest = {
        method: shape.method,
        target: `${shape.path}${query.length > 0 ? '?' : ''}${query.join('&')}`,
        headers: headers.map(([name, text]) => [name, this.#fill(text)]),
        body: this.#body(shape.body),
        ...{ auth, length, payloadHash },
      }
      const signer = auth === 'other-key' ? { ...this.key, keyId: 'GK0000' } : this.key
      try {
        const bytes = wireBytes(sent, `127.0.0.1:${ports.k2v}`, signer, Date.now(), 'k2v')
        if (cutAfterMs !== undefined) {
          await cutOff(ports.k2v, bytes, cutAfterMs)
          yield 0
        } else yield await this.#exchange(ports.k2v, bytes, sent)
      } catch (error) {
        const shown = { ...sent, body: sent.body.slice(0, 2000), bytes: sent.body.length }
        throw new UnexpectedAnswer(asError(error).message, shown, seed)
      }
    }
  }

  async #exchange(port: number, bytes: Buffer, { method, length }: FuzzRequest): Promise<number> {
    const leaves = length !== 'right'
    // Of a request that is refused, a node takes so much more of the body and no more: the client may miss the answer.
    const mayClose = leaves || bytes.length > REST_TAKEN
    const answer = await exchange(port, bytes, method, { leaves, deadlineMs: DEADLINE_MS })
    const { status = 0, body, headers } = answer
    if (status === 0) {
      if (mayClose) return 0
      throw new Error('closed without an answer')
    }
    if (status >= 500 && status !== 501) throw new Error(`status ${status}: ${body.slice(0, 500)}`)
    if (headers.has('x-injected')) throw new Error('a header that nobody sent')
    // A long answer breaks off where its client closes its side while it is sent.
    if (answer.complete || !leaves) this.#learn(answer, method)
    return status
  }

  /** @throws Error if the answer is not what its head says */
  #learn({ status, headers, body, complete }: Answer, method: string): void {
    if (!complete) throw new Error(`status ${status}, and the answer breaks off`)
    this.#token = headers.get('x-garage-causality-token') ?? this.#token
    const isJson = method !== 'HEAD' && headers.get('content-type') === 'application/json' && body !== ''
    const document = isJson ? (JSON.parse(Buffer.from(body, 'latin1').toString('utf8')) as Document) : {}
    if (isJson && status! >= 400 && typeof document.code !== 'string')
      throw new Error(`status ${status} without a code`)
    const kind = [method, status, ...(document.code ? [document.code] : [])].join(' ')
    this.seen.set(kind, (this.seen.get(kind) ?? 0) + 1)
    this.#marker = document.seenMarker ?? this.#marker
  }

  #body({ text, fills }: Body): string {
    const bytes = Buffer.from(this.#fill(text)).toString('latin1')
    if (!fills) return bytes
    return `[${bytes}${`,${bytes}`.repeat((BODY_BYTES_MAX - 2) / (bytes.length + 1) - 1)}]`
  }

  #fill(text: string): string {
    return text.includes('@') ? text.replaceAll('@T@', this.#token).replaceAll('@M@', this.#marker) : text
  }
}

/** Sends bytes and cuts the connection off. */
function cutOff(port: number, bytes: Buffer, afterMs: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.once('close', () => resolve())
    socket.write(bytes, () => setTimeout(() => socket.resetAndDestroy(), afterMs))
  })
}
