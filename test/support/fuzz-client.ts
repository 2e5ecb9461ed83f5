import { createHash, createHmac } from 'node:crypto'
import { connect } from 'node:net'
import { amzDate } from '../../src/api/http/date.js'
import { canonicalQuery } from '../../src/api/s3/signature/canonical.js'
import { deriveSigningKey } from '../../src/api/s3/signature/keys.js'

const REGION = 'us-east-1'
const EMPTY_SHA256 = createHash('sha256').digest('hex')

/** The framing of an aws-chunked body, and its damage. */
export interface ChunkedFraming {
  /** Sizes of the chunks that the body is cut into. */
  sizes: number[]
  signed: boolean
  /** Trailing headers, as lines without line ends. */
  trailers: string[]
  damage: 'none' | 'size' | 'signature' | 'line-end' | 'no-last' | 'more' | 'trailer-signature' | 'huge-line'
}

/** A request as data, so that a failing one can be printed and shrunk. */
export interface FuzzRequest {
  /** The operation that it is meant to be, for the statistics. */
  operation?: string
  method: string
  /** Path and query as sent; all that HTTP's first line can carry. */
  target: string
  /** Characters are bytes. */
  headers: [name: string, value: string][]
  /** Characters are bytes. */
  body: string
  auth: 'header' | 'presigned' | 'none' | 'wrong' | 'other-key'
  /** The value of x-amz-content-sha256; by default the hash of the body. */
  payloadHash?: string | undefined
  chunked?: ChunkedFraming | undefined
  /** The way of announcing the body's length; with 'short' the client leaves before its end. */
  length: 'right' | 'none' | 'short' | 'transfer-chunked' | 'transfer-broken'
}

export interface Answer {
  /** The status; undefined when the connection ended without an answer. */
  status: number | undefined
  /** Lines of the head, without the first. */
  head: string[]
  headers: Map<string, string>
  /** Characters are bytes. */
  body: string
  /** Whether the body was as long as the head said. */
  complete: boolean
}

export interface Signer {
  keyId: string
  secret: string
}

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
const latin1 = (text: string) => Buffer.from(text, 'latin1')

/** The bytes of a request on the wire, signed for a service. */
export function wireBytes(
  request: FuzzRequest,
  host: string,
  signer: Signer,
  nowMs: number,
  service = 's3',
): Buffer {
  const date = amzDate(nowMs)
  const scope = `${date.slice(0, 8)}/${REGION}/${service}/aws4_request`
  const key = deriveSigningKey(signer.secret, date.slice(0, 8), REGION, service)
  const hmac = (text: string) => createHmac('sha256', key).update(text, 'latin1').digest('hex')
  const { chunked } = request
  let body: Buffer = latin1(request.body)
  const headers: [string, string][] = [['host', host], ...request.headers]
  const has = (name: string) => headers.some(([other]) => other.toLowerCase() === name)
  let payloadHash = request.payloadHash ?? (request.auth === 'presigned' ? 'UNSIGNED-PAYLOAD' : sha256(body))
  if (chunked) {
    const kind = chunked.signed ? 'AWS4-HMAC-SHA256-PAYLOAD' : 'UNSIGNED-PAYLOAD'
    payloadHash = `STREAMING-${kind}${chunked.signed && chunked.trailers.length === 0 ? '' : '-TRAILER'}`
    if (!has('x-amz-decoded-content-length')) {
      headers.push(['x-amz-decoded-content-length', String(body.length)])
    }
  }
  let { target } = request
  let signature = ''
  const sign = (query: string) => {
    const names = [...new Set(headers.map(([name]) => name.toLowerCase()))]
      .filter((name) => name === 'host' || name.startsWith('x-amz-'))
      .sort()
    const signedValue = (name: string) =>
      headers
        .filter(([other]) => other.toLowerCase() === name)
        .map(([, value]) => value.replace(/[ \t]+/g, ' ').trim())
        .join(',')
    const [path] = target.split('?') as [string]
    const text = [
      ...[request.method, path, canonicalQuery(query)],
      ...names.map((name) => `${name}:${signedValue(name)}`),
      ...['', names.join(';'), payloadHash],
    ].join('\n')
    signature = hmac(`AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(latin1(text))}`)
    if (request.auth === 'wrong') signature = signature.replace(/^..../, 'dead')
    return names.join(';')
  }
  const mark = target.indexOf('?')
  const query = mark < 0 ? '' : target.slice(mark + 1)
  if (request.auth === 'presigned') {
    const more = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(`${signer.keyId}/${scope}`)}&X-Amz-Date=${date}&X-Amz-Expires=600&X-Amz-SignedHeaders=host`
    const all = query === '' ? more : `${query}&${more}`
    // Headers that a presigned URL has go into its query.
    const hoisted = headers.filter(([name]) => /^x-amz-/i.test(name))
    for (const one of hoisted) headers.splice(headers.indexOf(one), 1)
    const inQuery = hoisted.map(([name, value]) => `&${percentBytes(name)}=${percentBytes(value)}`)
    const whole = all + inQuery.join('')
    target = `${mark < 0 ? target : target.slice(0, mark)}?${whole}`
    sign(whole)
    target += `&X-Amz-Signature=${signature}`
  } else if (request.auth !== 'none') {
    headers.push(['x-amz-date', date], ['x-amz-content-sha256', payloadHash])
    const names = sign(query)
    headers.push([
      'authorization',
      `AWS4-HMAC-SHA256 Credential=${signer.keyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
    ])
  } else if (chunked) headers.push(['x-amz-content-sha256', payloadHash])
  if (chunked) body = frame(body, chunked, signature, date, scope, hmac)
  const transfer = request.length.startsWith('transfer')
  if (transfer) {
    headers.push(['transfer-encoding', 'chunked'])
    const end = request.length === 'transfer-broken' ? 'zz\r\n' : '0\r\n\r\n'
    const chunk = [latin1(`${body.length.toString(16)}\r\n`), body, latin1('\r\n')]
    body = Buffer.concat([...(body.length > 0 ? chunk : []), latin1(end)])
  } else if (request.length !== 'none') {
    const told = body.length + (request.length === 'short' ? 7 : 0)
    if (!has('content-length')) headers.push(['content-length', String(told)])
  } else body = Buffer.alloc(0)
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const head = `${request.method} ${target} HTTP/1.1\r\n${lines}\r\n`
  return Buffer.concat([latin1(head), body])
}

function percentBytes(text: string): string {
  return latin1(text).reduce((out, byte) => `${out}%${byte.toString(16).padStart(2, '0')}`, '')
}

/** Frames a body as aws-chunked, with the wanted damage in the middle. */
function frame(
  body: Buffer,
  { sizes, signed, trailers, damage }: ChunkedFraming,
  seed: string,
  date: string,
  scope: string,
  hmac: (text: string) => string,
): Buffer {
  const pieces: Buffer[] = []
  for (let at = 0, i = 0; at < body.length; i++) {
    const size = Math.max(1, sizes[i % Math.max(1, sizes.length)] ?? body.length)
    pieces.push(body.subarray(at, at + size))
    at += size
  }
  const broken = Math.floor(pieces.length / 2)
  if (damage !== 'no-last') pieces.push(Buffer.alloc(0))
  const out: Buffer[] = []
  let previous = seed
  pieces.forEach((piece, i) => {
    previous = hmac(
      `AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${previous}\n${EMPTY_SHA256}\n${sha256(piece)}`,
    )
    const bad = i === broken ? damage : 'none'
    const size = piece.length + (bad === 'size' ? 1 : 0)
    const extension = bad === 'huge-line' ? `;${'x'.repeat(10_000)}` : ''
    const shown = bad === 'signature' ? previous.replace(/^../, 'zz') : previous
    out.push(latin1(`${size.toString(16)}${signed ? `;chunk-signature=${shown}` : ''}${extension}`))
    out.push(latin1(bad === 'line-end' ? '\n\n' : '\r\n'), piece)
    if (piece.length > 0) out.push(latin1('\r\n'))
  })
  for (const trailer of trailers) out.push(latin1(`${trailer}\r\n`))
  if (signed && trailers.length > 0 && damage !== 'trailer-signature') {
    const text = sha256(latin1(trailers.map((line) => `${line}\n`).join('')))
    out.push(
      latin1(
        `x-amz-trailer-signature:${hmac(`AWS4-HMAC-SHA256-TRAILER\n${date}\n${scope}\n${previous}\n${text}`)}\r\n`,
      ),
    )
  }
  out.push(latin1('\r\n'))
  if (damage === 'more') out.push(latin1('5\r\nhello\r\n'))
  return Buffer.concat(out)
}

/** Sends bytes on a connection of their own and waits for the answer. @throws Error after `deadlineMs` */
export function exchange(
  port: number,
  bytes: Buffer,
  method: string,
  options: { leaves: boolean; deadlineMs: number },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const chunks: Buffer[] = []
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`no answer within ${options.deadlineMs} ms`))
    }, options.deadlineMs)
    const finish = (ended: boolean) => {
      const answer = parseAnswer(Buffer.concat(chunks).toString('latin1'), method, ended)
      if (!answer) return
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      finish(false)
    })
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    socket.on('close', () => finish(true))
    socket.write(bytes, () => {
      if (options.leaves) socket.end()
    })
  })
}

/** Reads an answer; undefined while more of it is to come. */
function parseAnswer(received: string, method: string, ended: boolean): Answer | undefined {
  let text = received
  while (/^HTTP\/1\.1 1\d\d [\s\S]*?\r\n\r\n/.test(text)) text = text.slice(text.indexOf('\r\n\r\n') + 4)
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) {
    if (!ended) return undefined
    return { status: undefined, head: [], headers: new Map(), body: text, complete: false }
  }
  const [first, ...head] = text.slice(0, end).split('\r\n') as [string, ...string[]]
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? 0)
  const headers = new Map(
    head.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    }),
  )
  const rest = text.slice(end + 4)
  if (method === 'HEAD' || status === 204 || status === 304) {
    return { status, head, headers, body: rest, complete: true }
  }
  if (headers.get('transfer-encoding') === 'chunked') {
    const whole = unchunked(rest)
    if (whole === undefined && !ended) return undefined
    return { status, head, headers, body: whole ?? rest, complete: whole !== undefined }
  }
  const length = headers.get('content-length')
  if (length !== undefined && rest.length >= Number(length)) {
    return { status, head, headers, body: rest, complete: rest.length === Number(length) }
  }
  return ended ? { status, head, headers, body: rest, complete: false } : undefined
}

/** The content of a body in chunked transfer; undefined if it is not whole. */
function unchunked(body: string): string | undefined {
  let content = ''
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(body.slice(at, lineEnd), 16)
    const end = lineEnd + 2 + size
    if (body.length < end + 2) return undefined
    if (size === 0) return content
    content += body.slice(lineEnd + 2, end)
    at = end + 2
  }
}
