import { createHash } from 'node:crypto'
import { type Agent, request } from 'node:http'
import { type Signer, signedHeaders } from './signed-head.js'

/** An answer of the K2V API. */
export interface K2vAnswer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

export interface K2vCall {
  method: string
  /** As sent: path and query. */
  target: string
  headers?: Record<string, string>
  body?: Buffer | string
  signal?: AbortSignal
  agent?: Agent
  /** Whether the escapes of the path are escaped once more for the signature, as the AWS SDK for Rust does. */
  signsTwiceEncoded?: boolean
}

/** Sends signed requests to the K2V API of one node, as they are told. */
export class K2vTestClient {
  constructor(
    private readonly key: Signer['key'],
    private readonly port: number,
    private readonly bucket: string,
  ) {}

  send({ method, target, headers = {}, body = '', signal, agent, ...more }: K2vCall): Promise<K2vAnswer> {
    const { key, port } = this
    const bytes = Buffer.from(body)
    const hash = createHash('sha256').update(bytes).digest('hex')
    const signer: Signer = { key, port, nowMs: Date.now(), service: 'k2v' }
    const [path, query] = target.split('?') as [string, string?]
    const signedPath = more.signsTwiceEncoded ? path.replaceAll('%', '%25') : path
    const signed = signedHeaders(
      signer,
      method,
      query === undefined ? signedPath : `${signedPath}?${query}`,
      { ...headers, 'content-length': `${bytes.length}` },
      hash,
    )
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, method, path: target, headers: signed, signal, agent }
      const sent = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
        )
      })
      sent.on('error', reject)
      sent.end(bytes)
    })
  }

  /** The target of one item. */
  item(pk: string, sk: string, more = ''): string {
    return `/${this.bucket}/${encodeURIComponent(pk)}?sort_key=${encodeURIComponent(sk)}${more}`
  }

  read(pk: string, sk: string, accept?: string): Promise<K2vAnswer> {
    return this.send({
      method: 'GET',
      target: this.item(pk, sk),
      headers: accept === undefined ? {} : { accept },
    })
  }

  insert(pk: string, sk: string, value: Buffer | string, token?: string): Promise<K2vAnswer> {
    return this.send({ method: 'PUT', target: this.item(pk, sk), headers: tokenHeader(token), body: value })
  }

  delete(pk: string, sk: string, token?: string): Promise<K2vAnswer> {
    return this.send({ method: 'DELETE', target: this.item(pk, sk), headers: tokenHeader(token) })
  }

  poll(
    pk: string,
    sk: string,
    token: string,
    timeoutS: number,
    more: Partial<K2vCall> = {},
  ): Promise<K2vAnswer> {
    const target = this.item(pk, sk, `&causality_token=${token}&timeout=${timeoutS}`)
    return this.send({ method: 'GET', target, ...more })
  }

  /** A request with a document for the bucket, or for what is behind it. */
  post(query: string, document: unknown, pk?: string): Promise<K2vAnswer> {
    const path = pk === undefined ? '' : `/${encodeURIComponent(pk)}`
    return this.send({
      method: 'POST',
      target: `/${this.bucket}${path}${query}`,
      body: JSON.stringify(document),
    })
  }
}

export function tokenOf(answer: K2vAnswer): string {
  return String(answer.headers['x-garage-causality-token'])
}

/** The values of a ReadItem's JSON answer as text. */
export function textsOf(answer: K2vAnswer): (string | null)[] {
  const values = JSON.parse(answer.body.toString()) as (string | null)[]
  return values.map((value) => (value === null ? null : Buffer.from(value, 'base64').toString()))
}

export function jsonOf<T>(answer: K2vAnswer): T {
  return JSON.parse(answer.body.toString()) as T
}

function tokenHeader(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { 'x-garage-causality-token': token }
}
