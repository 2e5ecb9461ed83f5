import { createHash } from 'node:crypto'
import { crc32 } from '@node-rs/crc32'
import { XMLValidator } from 'fast-xml-parser'
import { S3_ERROR_CODES } from '../../src/api/s3/error-codes.js'
import { realClock } from '../../src/platform/clock-and-random.js'
import { type Answer, exchange, type FuzzRequest, type Signer, wireBytes } from './fuzz-client.js'

const DEADLINE_MS = 20_000
/** Further statuses of error codes, which AWS also uses or this store chose (see the sources). */
const OTHER_STATUS: Readonly<Record<string, number>> = { AuthorizationQueryParametersError: 403 }
const STS_CODES = new Set(
  [
    'AccessDenied',
    'ExpiredTokenException',
    'IDPCommunicationError',
    'InvalidAction',
    'InvalidIdentityToken',
  ].concat(['InvalidParameterValue', 'MalformedPolicyDocument', 'PackedPolicyTooLarge', 'ValidationError']),
)

/** Sends fuzzed requests to a node and judges the answers. */
export class FuzzRunner {
  /** How often each status and code was answered, by operation-less names like "400 InvalidArgument". */
  readonly seen = new Map<string, number>()
  /** How often each operation was done. */
  readonly done = new Map<string, number>()
  #requests = 0
  readonly #pool = { V: [] as string[], U: [] as string[], E: [] as string[], T: [] as string[] }

  /** Buckets whose configuration was changed, or that were deleted. */
  readonly changed = new Set<string>()

  constructor(
    /** The ports of the nodes, which are asked in turn. */
    private readonly ports: readonly number[],
    private readonly key: Signer,
    private readonly other: Signer,
    /** Lines logged as errors; the reader empties the list. */
    private readonly errors: () => readonly string[],
  ) {}

  /** Forgets ids of earlier answers, so that a sequence depends on nothing that was before it. */
  reset(): void {
    for (const list of Object.values(this.#pool)) list.length = 0
  }

  /** @throws Error that tells what is wrong with the answer */
  async run(request: FuzzRequest): Promise<Answer> {
    const resolved = this.#resolve(request)
    const signer = request.auth === 'other-key' ? this.other : this.key
    const port = this.#nextPort()
    const bytes = wireBytes(resolved, `127.0.0.1:${port}`, signer, realClock.nowMs())
    const leaves = request.length === 'short'
    const answer = await this.send(bytes, request.method, port, {
      leaves,
      mayClose: leaves || request.length === 'transfer-broken',
    })
    const { operation } = request
    const [path] = resolved.target.split('?')
    // A request for a bucket by its path alone: of the bucket itself, or of its configuration.
    const [, bucket] = /^\/([^/]+)\/?$/.exec(path!) ?? []
    if (bucket !== undefined && !['GET', 'HEAD', 'OPTIONS'].includes(request.method)) this.changed.add(bucket)
    if (operation && answer.status && answer.status < 300) {
      this.done.set(operation, (this.done.get(operation) ?? 0) + 1)
    }
    return answer
  }

  /** Sends bytes that are a request, and judges the answer. */
  async send(
    bytes: Buffer,
    method: string,
    port = this.#nextPort(),
    { leaves, mayClose } = { leaves: false, mayClose: false },
  ): Promise<Answer> {
    const answer = await exchange(port, bytes, method, { leaves, deadlineMs: DEADLINE_MS })
    const problem = this.#judge(answer, mayClose)
    if (problem !== undefined) {
      throw new Error(
        `${problem}\nanswer: ${JSON.stringify({ ...answer, headers: undefined }).slice(0, 3000)}`,
      )
    }
    this.#learn(answer)
    return answer
  }

  #nextPort(): number {
    return this.ports[this.#requests++ % this.ports.length]!
  }

  #judge(answer: Answer, mayClose: boolean): string | undefined {
    const errors = this.errors()
    if (errors.length > 0) return `logged: ${errors.join('\n')}`
    const { status, body, headers, head } = answer
    if (status === undefined) return mayClose ? undefined : 'closed without an answer'
    if (status >= 500 && status !== 501) return `status ${status}`
    if (!answer.complete) return 'the body is not as long as announced'
    const bad = head.find((line) => !/^[A-Za-z0-9-]+: ?/.test(line) && !/^x-amz-meta-/i.test(line))
    if (bad !== undefined || headers.has('x-injected')) return `a header that nobody sent: ${bad}`
    const code = /<Code>(\w+)<\/Code>/.exec(body)?.[1]
    const name = `${status}${status >= 400 && code ? ` ${code}` : ''}`
    this.seen.set(name, (this.seen.get(name) ?? 0) + 1)
    const isXml = /xml/.test(headers.get('content-type') ?? '') && body.startsWith('<?xml version="1.0" enc')
    if (status < 400) return isXml ? malformed(body) : undefined
    if (body === '') return undefined // An answer to HEAD has no body to look at.
    const problem = malformed(body)
    if (problem) return problem
    if (headers.get('content-type') === 'text/xml') {
      return body.includes('<ErrorResponse') && STS_CODES.has(code ?? '') ? undefined : 'no error of STS'
    }
    if (!body.includes('<Error><Code>')) return 'no error document'
    if (/<Message>(?:table|model|block)\b/.test(body)) return 'an error that tells of the inside'
    if (!Object.hasOwn(S3_ERROR_CODES, code ?? '')) return `unknown code ${code}`
    const usual = S3_ERROR_CODES[code as keyof typeof S3_ERROR_CODES][0]
    return status === usual || status === OTHER_STATUS[code!] ? undefined : `${code} with status ${status}`
  }

  #learn({ body, headers }: Answer): void {
    const add = (list: string[], value: string | undefined) => {
      if (value !== undefined && value !== '' && list.length < 50) list.unshift(value)
    }
    add(this.#pool.V, headers.get('x-amz-version-id'))
    add(this.#pool.U, /<UploadId>(\w+)</.exec(body)?.[1])
    add(this.#pool.E, headers.get('etag')?.replaceAll('"', ''))
    add(this.#pool.T, /<(?:NextC|C)ontinuationToken>([^<]+)</.exec(body)?.[1])
  }

  #resolve(request: FuzzRequest): FuzzRequest {
    const sums: Record<string, () => string> = {
      ID: () => this.key.keyId,
      K: () => 'a key',
      MD5: () => createHash('md5').update(request.body, 'latin1').digest('base64'),
      SHA256: () => createHash('sha256').update(request.body, 'latin1').digest('base64'),
      CRC32: () => {
        const sum = Buffer.alloc(4)
        sum.writeUInt32BE(crc32(Buffer.from(request.body, 'latin1')))
        return sum.toString('base64')
      },
    }
    const text = (value: string, encode = (plain: string) => plain) =>
      value.replace(
        /(?:@|%40)([VUET])(\d)(?:@|%40)|(?:@|%40)(ID|K|MD5|SHA256|CRC32)(?:@|%40)/g,
        (_, pool, at, name) => {
          if (name) return encode(sums[name]!())
          const list = this.#pool[pool as 'V']
          return encode(list[Number(at) % Math.max(1, list.length)] ?? '0'.repeat(32))
        },
      )
    const { chunked } = request
    return {
      ...request,
      target: text(request.target, encodeURIComponent),
      headers: request.headers.map(([name, value]) => [name, text(value)]),
      body: text(request.body),
      ...(chunked && { chunked: { ...chunked, trailers: chunked.trailers.map((line) => text(line)) } }),
    }
  }
}

/** The faults of an XML document. References to control characters are none, since AWS sends them as well. */
function malformed(body: string): string | undefined {
  const text = Buffer.from(body, 'latin1').toString('utf8')
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)) return 'XML with a control character'
  if (Buffer.from(text).toString('latin1') !== body) return 'XML that is not UTF-8'
  const verdict = XMLValidator.validate(text)
  if (verdict !== true) return `XML that is not well-formed: ${verdict.err.msg}`
  if (/<[^>]*<|&(?!amp;|lt;|gt;|quot;|#\d+;|#x[0-9a-f]+;)/.test(text)) return 'XML with an unescaped value'
  return undefined
}
