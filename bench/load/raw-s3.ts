import { createHmac, hash } from 'node:crypto'
import http from 'node:http'

/** The address and the key that requests use. */
export interface Target {
  /** http://host:port */
  endpoint: string
  accessKeyId: string
  secretAccessKey: string
  region: string
}

export interface Reply {
  /** The number of bytes of the body. */
  bytes: number
  /** The body if it was asked for, else ''. */
  text: string
  headers: http.IncomingHttpHeaders
}

export interface RequestOptions {
  query?: string
  body?: Buffer
  /** Headers that are not signed. */
  headers?: Record<string, string | number>
  /** Whether to return the body's text. */
  text?: boolean
  /** Gives a request up when nothing comes for so long. */
  timeoutMs?: number
  /** Sends a body of `content-length` bytes and ends the request. */
  send?: (request: http.ClientRequest) => Promise<void>
}

/** An answer that is no success. */
export class S3Failure extends Error {
  constructor(
    message: string,
    readonly status: number,
    /** The error's code in the answer; empty without one. */
    readonly code: string,
  ) {
    super(message)
  }
}

const SIGNED = 'host;x-amz-content-sha256;x-amz-date'
const PAYLOAD = 'UNSIGNED-PAYLOAD'

/** Signs requests by header, over three headers; the payload is not signed. */
export class RequestSigner {
  readonly #host: string
  #second = 0
  #date = ''
  #day = ''
  #signingKey: Buffer = Buffer.alloc(0)

  constructor(
    private readonly target: Target,
    private readonly service: 's3' | 'k2v' = 's3',
  ) {
    this.#host = new URL(target.endpoint).host
  }

  /** The headers of a request. Path and query are given as they are signed: encoded, the query sorted. */
  sign(method: string, path: string, query: string): Record<string, string> {
    const { service } = this
    const { accessKeyId, secretAccessKey, region } = this.target
    const second = Math.floor(Date.now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#date = new Date(second * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '')
      const day = this.#date.slice(0, 8)
      if (day !== this.#day) {
        this.#day = day
        this.#signingKey = [service, 'aws4_request'].reduce(
          hmac,
          hmac(hmac(`AWS4${secretAccessKey}`, day), region),
        )
      }
    }
    const scope = `${this.#day}/${region}/${service}/aws4_request`
    const canonical = `${method}\n${path}\n${query}\nhost:${this.#host}\nx-amz-content-sha256:${PAYLOAD}\nx-amz-date:${this.#date}\n\n${SIGNED}\n${PAYLOAD}`
    const toSign = `AWS4-HMAC-SHA256\n${this.#date}\n${scope}\n${hash('sha256', canonical)}`
    return {
      host: this.#host,
      'x-amz-date': this.#date,
      'x-amz-content-sha256': PAYLOAD,
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope},SignedHeaders=${SIGNED},Signature=${createHmac('sha256', this.#signingKey).update(toSign).digest('hex')}`,
    }
  }
}

/**
 * An S3 client (or one of K2V, whose paths are signed alike if they have no escapes) that is as cheap as Node's HTTP client allows: Signature V4 by header over three headers, payload
 * not signed, keep-alive. Paths and queries are given as they are signed: encoded, the query sorted.
 */
export class RawS3 {
  readonly #signer: RequestSigner
  readonly #hostname: string
  readonly #port: string
  readonly #agent: http.Agent

  constructor(target: Target, connections: number, service: 's3' | 'k2v' = 's3') {
    const url = new URL(target.endpoint)
    this.#signer = new RequestSigner(target, service)
    this.#hostname = url.hostname.replace(/^\[|\]$/g, '')
    this.#port = url.port || '80'
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connections, noDelay: true })
  }

  /** Cuts all connections: requests under way fail. */
  close(): void {
    this.#agent.destroy()
  }

  /** @throws S3Failure for an answer of 300 and above; Error when there is none */
  request(method: string, path: string, options: RequestOptions = {}): Promise<Reply> {
    const { query = '', body, headers: extra, text = false, timeoutMs, send } = options
    const headers: Record<string, string | number> = this.#signer.sign(method, path, query)
    if (extra) Object.assign(headers, extra)
    if (body) headers['content-length'] = body.length
    return new Promise((resolve, reject) => {
      const request = http.request(
        {
          host: this.#hostname,
          port: this.#port,
          method,
          path: query ? `${path}?${query}` : path,
          headers,
          agent: this.#agent,
        },
        (response) => {
          const failed = response.statusCode! > 299
          const chunks: Buffer[] = []
          let bytes = 0
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length
            if (failed || text) chunks.push(chunk)
          })
          response.on('error', reject)
          response.on('end', () => {
            const content = chunks.length > 0 ? Buffer.concat(chunks).toString() : ''
            if (failed) reject(failure(method, path, response.statusCode!, content))
            else resolve({ bytes, text: content, headers: response.headers })
          })
        },
      )
      request.on('error', reject)
      if (timeoutMs) request.setTimeout(timeoutMs, () => request.destroy(new Error('no answer in time')))
      if (send) send(request).catch(reject)
      else request.end(body)
    })
  }
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

function failure(method: string, path: string, status: number, body: string): S3Failure {
  const code = element(body, 'Code')
  const message = element(body, 'Message')
  const reason = code ? `${code}${message ? ` (${message})` : ''}` : body.slice(0, 200)
  return new S3Failure(`${method} ${path}: ${status} ${reason}`.trim(), status, code)
}

/** The text of the first element of that name, entities and all; '' if there is none. */
export function element(xml: string, name: string): string {
  const start = xml.indexOf(`<${name}>`)
  if (start < 0) return ''
  return xml.slice(start + name.length + 2, xml.indexOf('</', start))
}
