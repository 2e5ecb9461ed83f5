import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { type Credentials, encode, objectPath, queryText, signHeaders } from '../../client/sign.js'
import { session } from '../session'
import { settings } from '../settings'
import { ApiError, noticeEnd, unreachable } from './errors'

/** Where the S3 API is below the console's own address. */
const PREFIX = '/console/s3'

export interface S3Call {
  readonly method?: string
  readonly bucket?: string
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Blob | string
  readonly signal?: AbortSignal
  /** Credentials other than the session's. */
  readonly as?: Credentials
}

/** One signed request. @throws ApiError */
export async function s3(call: S3Call): Promise<Response> {
  const { url, method, headers } = prepare(call)
  let response: Response
  try {
    const body = call.body === undefined ? {} : { body: call.body }
    const signal = call.signal ? { signal: call.signal } : {}
    response = await fetch(url, { method, headers, cache: 'no-store', ...body, ...signal })
  } catch (error) {
    if (call.signal?.aborted) throw error
    throw unreachable()
  }
  if (response.ok) return response
  throw refusal(call, response.status, await response.text())
}

/** As `s3`, with the answer's document. */
export async function s3Xml(call: S3Call): Promise<Document> {
  return parseXml(await (await s3(call)).text())
}

/** Sends a body and tells how much of it went, which fetch cannot. Resolves with the answer's ETag. */
export function s3Upload(call: S3Call & { body: Blob }, onProgress: (sent: number) => void): Promise<string> {
  const { url, method, headers } = prepare({ method: 'PUT', ...call })
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open(method, url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = ({ loaded }) => onProgress(loaded)
    request.onload = () => {
      if (request.status < 300) resolve(request.getResponseHeader('etag') ?? '')
      else reject(refusal(call, request.status, request.responseText))
    }
    request.onerror = () => reject(unreachable())
    request.onabort = () => reject(new DOMException('aborted', 'AbortError'))
    call.signal?.addEventListener('abort', () => request.abort(), { once: true })
    request.send(call.body)
  })
}

function prepare({ method = 'GET', bucket, key, query, headers, as }: S3Call) {
  const credentials = as ?? session().key
  if (!credentials) throw new ApiError(401, 'InvalidAccessKeyId', 'no access key')
  const path = bucket === undefined ? '/' : objectPath(bucket, key)
  const text = queryText(query)
  const { region } = settings()
  const facts = { method, host: location.host, path, region, now: new Date() }
  const signed = signHeaders({ ...facts, ...(query && { query }), ...(headers && { headers }) }, credentials)
  return { url: `${PREFIX}${path}${text && `?${text}`}`, method, headers: signed }
}

export function parseXml(text: string): Document {
  return new DOMParser().parseFromString(text, 'application/xml')
}

function refusal({ as }: S3Call, status: number, text: string): ApiError {
  const error = errorOf(status, text)
  if (as === undefined) noticeEnd(error)
  return error
}

/** The error that a document of S3, or of the token service, tells. */
export function errorOf(status: number, text: string): ApiError {
  const { documentElement: root } = parseXml(text)
  // The token service has its errors one element deeper.
  const [error = root] = childrenOf(root, 'Error')
  const code = textOf(error, 'Code')
  return new ApiError(status, code || String(status), textOf(error, 'Message') || `status ${status}`)
}

/** The text of the first child of that name; empty if there is none. */
export function textOf(parent: Element, name: string): string {
  for (const child of parent.children) if (child.localName === name) return child.textContent ?? ''
  return ''
}

export function childrenOf(parent: Element, name: string): Element[] {
  return [...parent.children].filter((child) => child.localName === name)
}

// ---- Buckets and objects ----

export interface BucketEntry {
  readonly name: string
  readonly created: string
}

export async function listBuckets(as?: Credentials): Promise<BucketEntry[]> {
  const document = await s3Xml(as ? { as } : {})
  const [buckets] = childrenOf(document.documentElement, 'Buckets')
  return childrenOf(buckets!, 'Bucket').map((each) => ({
    name: textOf(each, 'Name'),
    created: textOf(each, 'CreationDate'),
  }))
}

/** Listings encode keys as forms do. */
export function decode(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}

/** An object to delete, or one of its versions. */
export interface Doomed {
  readonly key: string
  readonly versionId?: string
}

/** Deletes up to 1000 objects or versions. Resolves with those that could not be deleted, and why. */
export async function deleteObjects(
  bucket: string,
  doomed: readonly Doomed[],
): Promise<{ key: string; message: string }[]> {
  const objects = doomed
    .map(({ key, versionId }) => {
      const version = versionId === undefined ? '' : `<VersionId>${escapeXml(versionId)}</VersionId>`
      return `<Object><Key>${escapeXml(key)}</Key>${version}</Object>`
    })
    .join('')
  const body = `<Delete><Quiet>true</Quiet>${objects}</Delete>`
  const document = await s3Xml({
    method: 'POST',
    bucket,
    query: { delete: '' },
    body,
    headers: checksum(body),
  })
  return childrenOf(document.documentElement, 'Error').map((each) => ({
    key: textOf(each, 'Key'),
    message: textOf(each, 'Message'),
  }))
}

export function checksum(body: string): Record<string, string> {
  const digest = sha256(utf8ToBytes(body))
  return { 'x-amz-checksum-sha256': btoa(String.fromCharCode(...digest)) }
}

export function escapeXml(text: string): string {
  return text.replace(/[<>&"'\x00-\x1f]/g, (c) => `&#${c.charCodeAt(0)};`)
}

/** An object, or one of its versions. */
export interface Source {
  readonly bucket: string
  readonly key: string
  readonly versionId?: string
}

/** The name of an object, or of one of its versions, as the source of a copy. */
export function sourceOf({ bucket, key, versionId }: Source): string {
  const version = versionId === undefined ? '' : `?versionId=${encode(versionId)}`
  return `${encode(bucket)}/${key.split('/').map(encode).join('/')}${version}`
}

/** The header of an object that leads elsewhere. */
export const REDIRECT = 'x-amz-website-redirect-location'

/** Copies an object, or a version of it, within the store. Its redirect, which S3 leaves behind, goes along. */
export async function copyObject(from: Source, to: { bucket: string; key: string }): Promise<void> {
  const { versionId, ...object } = from
  const redirect = await s3({ method: 'HEAD', ...object, ...(versionId && { query: { versionId } }) }).then(
    ({ headers }) => headers.get(REDIRECT),
    (error) => {
      // An answer to HEAD does not say why. The copy needs the same permission, and its answer does.
      if (error instanceof ApiError && error.status === 403) return null
      throw error
    },
  )
  const named = { 'x-amz-copy-source': sourceOf(from), ...(redirect && { [REDIRECT]: redirect }) }
  await s3({ method: 'PUT', ...to, headers: named })
}

export async function deleteObject(bucket: string, key: string): Promise<void> {
  await s3({ method: 'DELETE', bucket, key })
}
