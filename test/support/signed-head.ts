import { createHash, createHmac } from 'node:crypto'
import { amzDate } from '../../src/api/http/date.js'
import { canonicalQuery } from '../../src/api/s3/signature/canonical.js'
import { deriveSigningKey } from '../../src/api/s3/signature/keys.js'

/** Who signs, for which node, and when. */
export interface Signer {
  key: { id: string; secret: string }
  port: number
  nowMs: number
  /** Default 's3'. */
  service?: string
}

/** The headers of a request signed for a single node. */
export function signedHeaders(
  { key, port, nowMs, service = 's3' }: Signer,
  method: string,
  target: string,
  headers: Record<string, string> = {},
  payloadHash = 'UNSIGNED-PAYLOAD',
): Record<string, string> {
  const date = amzDate(nowMs)
  const all: Record<string, string> = {
    host: `127.0.0.1:${port}`,
    'x-amz-content-sha256': payloadHash,
    'x-amz-date': date,
    ...headers,
  }
  // Hop-by-hop and length headers stay out of the signature, as in real clients.
  const names = Object.keys(all)
    .filter((name) => name === 'host' || name.startsWith('x-amz-'))
    .sort()
  const [path, query = ''] = target.split('?') as [string, string?]
  const canonical = [
    method,
    path,
    canonicalQuery(query),
    ...names.map((name) => `${name}:${all[name]}`),
    '',
    names.join(';'),
    payloadHash,
  ].join('\n')
  const scope = `${date.slice(0, 8)}/us-east-1/${service}/aws4_request`
  const stringToSign = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${createHash('sha256').update(canonical).digest('hex')}`
  const signature = createHmac('sha256', deriveSigningKey(key.secret, date.slice(0, 8), 'us-east-1', service))
    .update(stringToSign)
    .digest('hex')
  const credential = `Credential=${key.id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`
  return { ...all, authorization: `AWS4-HMAC-SHA256 ${credential}` }
}

/** The head of a request signed for a single node, the empty line included. */
export function signedHead(
  signer: Signer,
  method: string,
  target: string,
  headers: Record<string, string> = {},
  payloadHash?: string,
): string {
  const all = signedHeaders(signer, method, target, headers, payloadHash)
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** A URL that is good for a minute. @param target path and query, whose parameters are signed too; the header host is all else that is */
export function presignedUrl(
  { key, port, nowMs, service = 's3' }: Signer,
  method: string,
  target: string,
): string {
  const date = amzDate(nowMs)
  const scope = `${date.slice(0, 8)}/us-east-1/${service}/aws4_request`
  const url = new URL(`http://127.0.0.1:${port}${target}`)
  const parameters = {
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${key.id}/${scope}`,
    'X-Amz-Date': date,
    'X-Amz-Expires': '60',
    'X-Amz-SignedHeaders': 'host',
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  const payloadHash = url.searchParams.get('X-Amz-Content-Sha256') ?? 'UNSIGNED-PAYLOAD'
  const query = canonicalQuery(url.search.slice(1))
  const canonical = [method, url.pathname, query, `host:${url.host}`, '', 'host', payloadHash].join('\n')
  const hash = createHash('sha256').update(canonical).digest('hex')
  const signature = createHmac('sha256', deriveSigningKey(key.secret, date.slice(0, 8), 'us-east-1', service))
    .update(`AWS4-HMAC-SHA256\n${date}\n${scope}\n${hash}`)
    .digest('hex')
  url.searchParams.set('X-Amz-Signature', signature)
  return url.href
}
