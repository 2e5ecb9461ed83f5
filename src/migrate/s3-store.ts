import { encodeUri, type S3Client, StoreError } from '../api/client/s3-client.js'
import type { Headers, StreamAnswer } from '../api/client/stream-call.js'
import { STORED_HEADERS } from '../api/s3/objects/headers.js'
import { parseXml, type XmlElement } from '../api/xml/reader.js'
import { escapeXml } from '../api/xml/writer.js'
import type {
  ByteRange,
  Destination,
  Extras,
  KeyVersions,
  Opened,
  Source,
  Version,
  Written,
} from './store.js'

/** Headers that are stored with an object, beside x-amz-meta-*. */
const STORED: readonly string[] = [...STORED_HEADERS, 'x-amz-storage-class']
const LOCK = /^x-amz-object-lock-/
const MULTIPART_ETAG = /^[0-9a-f]{32}-\d+$/
const MD5_ETAG = /^[0-9a-f]{32}$/
const FULL_CONTROL = 'FULL_CONTROL'

/** By which key and name a bucket is reached. */
export interface BucketAccess {
  client: S3Client
  name: string
  /** Whether objects have access lists that count. */
  hasAcls: boolean
  /** Whether to list versions. */
  hasVersions: boolean
  /** Whether the store takes the Last-Modified of what is written: see takesTimes. */
  takesTimes: boolean
}

/** The header by which a Carport is told what Last-Modified an object has; see docs/s3-compatibility.md. */
const LAST_MODIFIED = 'x-carport-last-modified'

/** Whether a store takes Last-Modified from this key in a bucket. @throws StoreError if there is no such bucket */
export async function takesTimes({ client, name }: Pick<BucketAccess, 'client' | 'name'>): Promise<boolean> {
  const asked = { [LAST_MODIFIED]: new Date(0).toISOString() }
  const { headers } = await client.bytes({ method: 'HEAD', bucket: name, headers: asked })
  return headers[LAST_MODIFIED] === 'accepted'
}

/** An S3 endpoint as source and destination. */
export class S3Store implements Source, Destination {
  /**
   * @param names the buckets
   * @param access how to reach a bucket; asked once for each call
   * @param clockMs the time now, in ms
   */
  constructor(
    private readonly names: () => Promise<string[]>,
    private readonly access: (bucket: string) => Promise<BucketAccess>,
    private readonly clockMs: () => number,
  ) {}

  buckets(): Promise<string[]> {
    return this.names()
  }

  async *list(bucket: string): AsyncGenerator<KeyVersions> {
    const { client, name, hasVersions } = await this.access(bucket)
    if (hasVersions) yield* listVersions(client, name, '')
    else yield* listObjects(client, name)
  }

  async open(bucket: string, key: string, version: Version, range?: ByteRange): Promise<Opened> {
    const { client, name } = await this.access(bucket)
    // Parts must all be of the object as it was listed.
    const headers = range && {
      range: `bytes=${range.start}-${range.end - 1}`,
      'if-match': `"${version.etag}"`,
    }
    const query = versionQuery(version)
    return openedOf(
      await client.once({ method: 'GET', bucket: name, key, query, ...(headers && { headers }) }),
    )
  }

  async parts(bucket: string, key: string, version: Version): Promise<number[] | undefined> {
    if (!MULTIPART_ETAG.test(version.etag)) return undefined
    const { client, name } = await this.access(bucket)
    const sizes: number[] = []
    const wanted = Number(version.etag.slice(33))
    for (let number = 1; number <= wanted; number++) {
      const query = { ...versionQuery(version), partNumber: String(number) } as Record<string, string>
      const { headers } = await client.bytes({ method: 'HEAD', bucket: name, key, query })
      if (Number(headers['x-amz-mp-parts-count'] ?? wanted) !== wanted) return undefined
      sizes.push(Number(headers['content-length']))
    }
    return sizes.reduce((sum, size) => sum + size, 0) === version.bytes ? sizes : undefined
  }

  async head(bucket: string, key: string, version: Version): Promise<Omit<Opened, 'content'>> {
    const { client, name } = await this.access(bucket)
    const { headers } = await client.bytes({
      ...{ method: 'HEAD', bucket: name, key },
      query: versionQuery(version),
    })
    return openedOf({ status: 200, headers, body: NO_CONTENT })
  }

  async extras(
    bucket: string,
    key: string,
    version: Version,
    { tagCount }: Omit<Opened, 'content'>,
  ): Promise<Extras> {
    const { client, name, hasAcls } = await this.access(bucket)
    const read = (what: string) => ({
      ...{ method: 'GET', bucket: name, key },
      query: { ...versionQuery(version), [what]: '' },
    })
    const tags = tagCount > 0 ? tagsOf(await client.xml(read('tagging'), 'Tagging')) : []
    const acl = hasAcls ? (await client.bytes(read('acl'))).body.toString() : undefined
    return { tags, acl }
  }

  async put(bucket: string, key: string, object: Opened, extras: Extras): Promise<Written> {
    const { client, name, takesTimes } = await this.access(bucket)
    const answer = await client.once({
      ...{ method: 'PUT', bucket: name, key, body: object.content },
      headers: {
        ...this.#written(object, extras),
        ...this.#dated(takesTimes, object.modifiedMs),
        'content-length': String(object.bytes),
        // The store refuses content that is not what the source has.
        ...(MD5_ETAG.test(object.etag) && {
          'content-md5': Buffer.from(object.etag, 'hex').toString('base64'),
        }),
      },
    })
    await drain(answer)
    const written = writtenOf(answer.headers)
    await putAcl(client, name, key, written.id, extras)
    return written
  }

  async finish(bucket: string, key: string, id: string, extras: Extras): Promise<void> {
    const { client, name } = await this.access(bucket)
    await putAcl(client, name, key, id, extras)
  }

  async putParts(
    bucket: string,
    key: string,
    object: Omit<Opened, 'content'>,
    extras: Extras,
    parts: readonly number[],
    part: (range: ByteRange) => Promise<Opened>,
  ): Promise<Written> {
    const { client, name, takesTimes } = await this.access(bucket)
    const at = { bucket: name, key }
    const headers = this.#written(object, extras)
    const begun = await client.xml(
      { method: 'POST', ...at, query: { uploads: '' }, headers },
      'InitiateMultipartUploadResult',
    )
    const uploadId = begun.needText('UploadId')
    try {
      const done: string[] = []
      let start = 0
      for (const [index, bytes] of parts.entries()) {
        const number = index + 1
        const range = { start, end: start + bytes }
        start += bytes
        const etag = await client.retried(async () => {
          const opened = await part(range)
          const answer = await client.once({
            ...{ method: 'PUT', ...at, query: { partNumber: String(number), uploadId } },
            headers: { 'content-length': String(bytes) },
            body: opened.content,
          })
          await drain(answer)
          return etagOf(answer.headers)
        })
        done.push(`<Part><PartNumber>${number}</PartNumber><ETag>&quot;${etag}&quot;</ETag></Part>`)
      }
      const document = `<CompleteMultipartUpload>${done.join('')}</CompleteMultipartUpload>`
      const answer = await client.bytes({
        ...{ method: 'POST', ...at, query: { uploadId }, body: Buffer.from(document) },
        headers: this.#dated(takesTimes, object.modifiedMs),
      })
      const text = answer.body.toString()
      const etag = /<ETag>(?:&quot;|&#34;|")?([^<&"]+)/.exec(text)?.[1]
      // An error may come after a status of 200, which was sent while the store was at work.
      if (etag === undefined)
        throw new StoreError('InternalError', `${name}/${key}: the parts were not put together`, 500)
      const written = { id: answer.headers['x-amz-version-id'] ?? '', etag }
      await putAcl(client, name, key, written.id, extras)
      return written
    } catch (error) {
      await client.bytes({ method: 'DELETE', ...at, query: { uploadId } }).catch(() => {})
      throw error
    }
  }

  async remove(bucket: string, key: string, id = ''): Promise<Written> {
    const { client, name } = await this.access(bucket)
    const query: Record<string, string> = id === '' ? {} : { versionId: id }
    const { headers } = await client.bytes({ method: 'DELETE', bucket: name, key, query })
    return { id: headers['x-amz-version-id'] ?? '', etag: '' }
  }

  async mark(bucket: string, key: string, modifiedMs: number): Promise<Written> {
    const { client, name, takesTimes } = await this.access(bucket)
    const dated = this.#dated(takesTimes, modifiedMs)
    const { headers } = await client.bytes({ method: 'DELETE', bucket: name, key, headers: dated })
    return { id: headers['x-amz-version-id'] ?? '', etag: '' }
  }

  async versions(bucket: string, key: string): Promise<Version[]> {
    const { client, name, hasVersions } = await this.access(bucket)
    if (hasVersions) {
      for await (const found of listVersions(client, name, key)) if (found.key === key) return found.versions
      return []
    }
    try {
      const { headers } = await client.bytes({ method: 'HEAD', bucket: name, key })
      const bytes = Number(headers['content-length'] ?? 0)
      return [{ id: '', isMarker: false, bytes, etag: etagOf(headers), modifiedMs: modifiedOf(headers) }]
    } catch (error) {
      if (error instanceof StoreError && error.status === 404) return []
      throw error
    }
  }

  /** The header that tells a time. What lies in the future, by a wrong clock or a file's time, is not told. */
  #dated(takesTimes: boolean, modifiedMs: number): Record<string, string> {
    if (!takesTimes || modifiedMs <= 0 || modifiedMs > this.clockMs()) return {}
    return { [LAST_MODIFIED]: new Date(modifiedMs).toISOString() }
  }

  /** The headers of a write: those that are stored, tags, and locks that have not ended. */
  #written({ headers, lock }: Omit<Opened, 'content'>, { tags }: Extras): Record<string, string> {
    const until = lock['x-amz-object-lock-retain-until-date']
    const ended = until !== undefined && Date.parse(until) <= this.clockMs()
    const locks = Object.entries(lock).filter(([name, value]) =>
      name.endsWith('legal-hold') ? value === 'ON' : !ended,
    )
    const tagging = tags.map(([key, value]) => `${encodeUri(key)}=${encodeUri(value)}`).join('&')
    return { ...headers, ...Object.fromEntries(locks), ...(tagging !== '' && { 'x-amz-tagging': tagging }) }
  }
}

/**
 * Gives a bucket, or a version of an object, the grants of the source; its owner is whoever wrote it here. Lists that grant
 * nothing to others are left as they are.
 */
export async function putAcl(
  client: S3Client,
  bucket: string,
  key: string | undefined,
  id: string,
  { acl }: Pick<Extras, 'acl'>,
): Promise<void> {
  if (acl === undefined) return
  const wanted = await parseXml(Buffer.from(acl), 'AccessControlPolicy')
  const owner = wanted.need('Owner').text('ID') ?? ''
  const grants = wanted.child('AccessControlList')?.all('Grant') ?? []
  if (grants.every((grant) => grant.text('Permission') === FULL_CONTROL && granteeOf(grant) === owner)) return
  const query: Record<string, string> = { ...(id !== '' && { versionId: id }), acl: '' }
  const at = { bucket, ...(key !== undefined && { key }), query }
  const own = await client.xml({ method: 'GET', ...at }, 'AccessControlPolicy')
  const ownId = own.need('Owner').text('ID') ?? ''
  const list = grants.map((grant) => grantXml(grant, owner, ownId)).join('')
  const document = `<AccessControlPolicy><Owner><ID>${escapeXml(ownId)}</ID></Owner><AccessControlList>${list}</AccessControlList></AccessControlPolicy>`
  await client.bytes({ method: 'PUT', ...at, body: Buffer.from(document) })
}

const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type'

const granteeOf = (grant: XmlElement) => grant.child('Grantee')?.text('ID')

function grantXml(grant: XmlElement, owner: string, ownId: string): string {
  const id = granteeOf(grant)
  const uri = grant.child('Grantee')?.text('URI')
  const grantee =
    uri === undefined
      ? `<Grantee ${XSI}="CanonicalUser"><ID>${escapeXml(id === owner ? ownId : (id ?? ''))}</ID></Grantee>`
      : `<Grantee ${XSI}="Group"><URI>${escapeXml(uri)}</URI></Grantee>`
  return `<Grant>${grantee}<Permission>${escapeXml(grant.text('Permission') ?? '')}</Permission></Grant>`
}

const tagsOf = (document: XmlElement) =>
  document
    .need('TagSet')
    .all('Tag')
    .map((tag) => [tag.needText('Key'), tag.needText('Value')] as const)

function versionQuery({ id }: Version): Record<string, string> {
  return id === '' ? {} : { versionId: id }
}
const etagOf = (headers: Headers) => (headers.etag ?? '').replaceAll('"', '')
const modifiedOf = (headers: Headers) => Date.parse(headers['last-modified'] ?? '') || 0
const writtenOf = (headers: Headers): Written => ({
  id: headers['x-amz-version-id'] ?? '',
  etag: etagOf(headers),
})

/** Reads what is left of an answer, so that its connection is free for the next. */
async function drain({ body }: StreamAnswer): Promise<void> {
  for await (const _ of body);
}

/** Of answers to HEAD. */
const NO_CONTENT: StreamAnswer['body'] = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
}

function openedOf({ headers, body }: StreamAnswer): Opened {
  const stored = Object.entries(headers).filter(
    ([name]) => STORED.includes(name) || name.startsWith('x-amz-meta-'),
  )
  return {
    bytes: Number(headers['content-length']),
    etag: headers['x-amz-server-side-encryption-customer-algorithm'] ? '' : etagOf(headers),
    modifiedMs: modifiedOf(headers),
    headers: Object.fromEntries(stored),
    lock: Object.fromEntries(Object.entries(headers).filter(([name]) => LOCK.test(name))),
    tagCount: Number(headers['x-amz-tagging-count'] ?? 0),
    content: body,
  }
}

const decoded = (element: XmlElement, name: string) =>
  decodeURIComponent((element.text(name) ?? '').replaceAll('+', '%20'))

async function* listObjects(client: S3Client, bucket: string): AsyncGenerator<KeyVersions> {
  let token: string | undefined
  do {
    const query = {
      ...{ 'list-type': '2', 'encoding-type': 'url' },
      ...(token !== undefined && { 'continuation-token': token }),
    }
    const page = await client.xml({ method: 'GET', bucket, query }, 'ListBucketResult')
    for (const item of page.all('Contents'))
      yield { key: decoded(item, 'Key'), versions: [versionOf(item, '')] }
    token = page.boolean('IsTruncated') ? page.text('NextContinuationToken') : undefined
  } while (token)
}

/** Lists versions; a key's versions may go on on the next page. */
async function* listVersions(client: S3Client, bucket: string, prefix: string): AsyncGenerator<KeyVersions> {
  let open: KeyVersions | undefined
  let marker: Record<string, string> | undefined = {}
  while (marker) {
    const query = { versions: '', 'encoding-type': 'url', ...(prefix !== '' && { prefix }), ...marker }
    const page: XmlElement = await client.xml({ method: 'GET', bucket, query }, 'ListVersionsResult')
    for (const item of page.children) {
      if (item.name !== 'Version' && item.name !== 'DeleteMarker') continue
      const key = decoded(item, 'Key')
      if (open?.key !== key) {
        if (open) yield open
        open = { key, versions: [] }
      }
      // The newest comes first.
      open.versions.unshift(versionOf(item, item.text('VersionId') ?? ''))
    }
    const next: Record<string, string> = { 'key-marker': decoded(page, 'NextKeyMarker') }
    const id = page.text('NextVersionIdMarker')
    if (id) next['version-id-marker'] = id
    marker = page.boolean('IsTruncated') ? next : undefined
  }
  if (open) yield open
}

function versionOf(item: XmlElement, id: string): Version {
  return {
    ...{ id, isMarker: item.name === 'DeleteMarker', bytes: item.integer('Size') ?? 0 },
    etag: (item.text('ETag') ?? '').replaceAll('"', ''),
    modifiedMs: Date.parse(item.text('LastModified') ?? '') || 0,
  }
}
