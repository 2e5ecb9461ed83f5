import { createHash } from 'node:crypto'
import type { VersionRecord } from '../../../model/versions/record.js'
import type { StreamAnswer } from '../../client/stream-call.js'
import { parseHttpDate } from '../../http/date.js'
import { STORED_HEADERS } from '../objects/headers.js'

/** An object of the source, in the form of those that are here, so that the same code answers for both. */
export interface ThroughRecord extends VersionRecord {
  readonly through: {
    /** As the source tells it, with its quotes. */
    etag: string
    tagCount: number
    /** Whether the ETag is the MD5 of the content. */
    isMd5: boolean
  }
}

const META = 'x-amz-meta-'
const ETAG = /^"?([0-9a-f]{32})(?:-(\d{1,5}))?"?$/
const NO_ID = Buffer.alloc(16)

/** What an ETag is here: those of other forms than AWS's are told by their hash. */
export function etagFields(text: string): { etag: Buffer; etagParts: number } {
  const match = ETAG.exec(text)
  if (!match) return { etag: createHash('md5').update(text).digest(), etagParts: 0 }
  return { etag: Buffer.from(match[1]!, 'hex'), etagParts: Number(match[2] ?? 0) }
}

/** The record of an object of the source by the headers of its HEAD. */
export function throughRecord(
  bucket: Buffer,
  key: Buffer,
  headers: StreamAnswer['headers'],
  owner: string,
): ThroughRecord {
  const etag = headers.etag ?? ''
  const modifiedMs = parseHttpDate(headers['last-modified'] ?? '')
  const createdUs = Math.max(0, modifiedMs ?? 0) * 1000
  const names = Object.keys(headers)
  const encryption = headers['x-amz-server-side-encryption'] ?? 'AES256'
  const fields = etagFields(etag)
  return {
    ...{ bucket, key, state: 'object', isNull: true, timeUs: createdUs, generation: 0, id: NO_ID },
    ...{ createdUs, size: Number(headers['content-length'] ?? 0), ...fields, owner },
    headers: Object.fromEntries(
      STORED_HEADERS.flatMap((name) => {
        const value = headers[name]
        return value === undefined || value === '' ? [] : [[name, value]]
      }),
    ),
    metadata: Object.fromEntries(
      names.filter((name) => name.startsWith(META)).map((name) => [name.slice(META.length), headers[name]!]),
    ),
    content: { kind: 'none' },
    mutable: {},
    body: undefined,
    through: {
      etag,
      tagCount: Number(headers['x-amz-tagging-count'] ?? 0),
      isMd5: ETAG.test(etag) && fields.etagParts === 0 && encryption === 'AES256',
    },
  }
}

/** What a version says of its source; undefined for those that are here. */
export function throughOf(version: VersionRecord): ThroughRecord | undefined {
  return 'through' in version ? (version as ThroughRecord) : undefined
}
