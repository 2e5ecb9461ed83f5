import { randomBytes } from 'node:crypto'
import type http from 'node:http'
import type { Operation } from './job.js'
import { element, type RawS3 } from './raw-s3.js'
import { treeKey } from './tree-keys.js'

/** One kind of request, made again and again by several slots at a time. */
export interface Operator {
  /** Prepares request `i`; its time does not count. */
  before?(i: number, slot: number): Promise<void>
  /** Makes request `i`. @returns bytes of content moved */
  once(i: number, slot: number): Promise<number>
}

const CHUNK_BYTES = 1 << 20
const CHUNKS_IN_FLIGHT = 4
/** Distance of the marks that make random bodies differ, in bytes: below the smallest block of any store. */
const MARK_BYTES = 64 << 10

/** @param connections number of slots */
export function operatorOf(operation: Operation, s3: RawS3, bucket: string, connections: number): Operator {
  switch (operation.kind) {
    case 'put':
      return putter(operation, s3, bucket, connections)
    case 'get':
    case 'head': {
      const { prefix, size, keys } = operation
      const method = operation.kind.toUpperCase()
      return {
        async once(i) {
          const { bytes, headers } = await s3.request(method, `/${bucket}/${prefix}${i % keys}`)
          const length = method === 'GET' ? bytes : Number(headers['content-length'])
          if (length !== size) throw new Error(`${method}: ${length} bytes, expected ${size}`)
          return bytes
        },
      }
    }
    case 'delete':
      return {
        async once(i) {
          await s3.request('DELETE', `/${bucket}/${operation.prefix}${i}`)
          return 0
        },
      }
    case 'list':
      return lister(operation, s3, bucket)
    case 'buckets':
      return { once: async () => (await s3.request('GET', '/')).bytes }
    case 'multipart':
      return multipart(operation, s3, bucket)
    case 'range': {
      const { prefix, size, keys, rangeBytes } = operation
      return {
        async once(i) {
          // The offsets jump about and fall on no block's border.
          const at = Math.floor(((i * 0.618034) % 1) * (size - rangeBytes))
          const headers = { range: `bytes=${at}-${at + rangeBytes - 1}` }
          const { bytes } = await s3.request('GET', `/${bucket}/${prefix}${i % keys}`, { headers })
          if (bytes !== rangeBytes) throw new Error(`GET range: ${bytes} bytes, expected ${rangeBytes}`)
          return bytes
        },
      }
    }
    case 'complete':
      return completer(operation, s3, bucket)
    case 'get-tree':
    case 'head-tree': {
      const method = operation.kind === 'get-tree' ? 'GET' : 'HEAD'
      return {
        // Knuth's multiplicative hash: consecutive requests read distant keys of the tree.
        once: async (i) =>
          (await s3.request(method, `/${bucket}/${treeKey((i * 2654435761) % operation.count)}`)).bytes,
      }
    }
    case 'fill-tree': {
      const body = Buffer.from('tiny')
      return {
        async once(i) {
          await s3.request('PUT', `/${bucket}/${treeKey(i)}`, { body })
          return body.length
        },
      }
    }
  }
}

function putter(
  { prefix, size, same = false }: { prefix: string; size: number; same?: boolean },
  s3: RawS3,
  bucket: string,
  connections: number,
): Operator {
  if (size > CHUNK_BYTES) {
    const slots = Array.from({ length: connections }, () => new BodySender(same))
    return {
      async once(i, slot) {
        await slots[slot]!.put(s3, `/${bucket}/${prefix}${i}`, '', size, i)
        return size
      },
    }
  }
  const bodies = Array.from({ length: connections }, () => randomBytes(size))
  return {
    async once(i, slot) {
      const body = bodies[slot]!
      if (!same && size >= 8) mark(body, i, 0)
      await s3.request('PUT', `/${bucket}/${prefix}${i}`, { body })
      return size
    },
  }
}

/** Random bytes that no other request of this run sends, at the cost of a few writes. */
function mark(body: Buffer, i: number, chunk: number): void {
  for (let at = 0; at + 8 <= body.length; at += MARK_BYTES) {
    body.writeUInt32LE(i >>> 0, at)
    body.writeUInt32LE(chunk >>> 0, at + 4)
  }
}

/** Sends large bodies from a few buffers, which are marked anew before each use. */
class BodySender {
  readonly #buffers = Array.from({ length: CHUNKS_IN_FLIGHT }, () => randomBytes(CHUNK_BYTES))

  constructor(private readonly same: boolean) {}

  async put(s3: RawS3, path: string, query: string, size: number, i: number): Promise<string> {
    const { headers } = await s3.request('PUT', path, {
      query,
      headers: { 'content-length': size },
      send: (request) => this.#send(request, size, this.same ? 0 : i),
    })
    return headers.etag ?? ''
  }

  async #send(request: http.ClientRequest, size: number, i: number): Promise<void> {
    const written: Promise<void>[] = []
    for (let chunk = 0; chunk * CHUNK_BYTES < size; chunk++) {
      const slot = chunk % CHUNKS_IN_FLIGHT
      await written[slot]
      const buffer = this.#buffers[slot]!
      mark(buffer, i, chunk)
      const bytes = buffer.subarray(0, Math.min(CHUNK_BYTES, size - chunk * CHUNK_BYTES))
      // A failed write ends the request with an error of its own.
      written[slot] = new Promise((resolve) => request.write(bytes, () => resolve()))
    }
    request.end()
    await Promise.all(written)
  }
}

function lister({ query, walk }: { query: string; walk: boolean }, s3: RawS3, bucket: string): Operator {
  const tokens = new Map<number, string>()
  return {
    async once(_i, slot) {
      const token = walk ? tokens.get(slot) : undefined
      const full = token ? `continuation-token=${encodeURIComponent(token)}&${query}` : query
      const { bytes, text } = await s3.request('GET', `/${bucket}`, { query: full, text: walk })
      if (!walk) return bytes
      const next = element(text, 'NextContinuationToken')
      if (!token && !text.includes('<Key>') && !text.includes('<CommonPrefixes>'))
        throw new Error('GET list: empty page')
      if (next) tokens.set(slot, next.replaceAll('&amp;', '&'))
      else tokens.delete(slot)
      return bytes
    },
  }
}

async function createUpload(s3: RawS3, path: string): Promise<string> {
  const { text } = await s3.request('POST', path, {
    query: 'uploads=',
    text: true,
    headers: { 'content-length': 0 },
  })
  const id = element(text, 'UploadId')
  if (!id) throw new Error(`POST ${path}?uploads: no UploadId in the answer`)
  return encodeURIComponent(id)
}

async function completeUpload(s3: RawS3, path: string, id: string, etags: readonly string[]): Promise<void> {
  const parts = etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`)
  const { text } = await s3.request('POST', path, {
    query: `uploadId=${id}`,
    text: true,
    body: Buffer.from(`<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`),
  })
  // S3 may answer 200 with an error in the body.
  if (!text.includes('CompleteMultipartUploadResult'))
    throw new Error(`POST ${path}: ${element(text, 'Code') || 'malformed answer'}`)
}

function multipart(
  {
    prefix,
    size,
    partBytes,
    parallel,
  }: { prefix: string; size: number; partBytes: number; parallel: number },
  s3: RawS3,
  bucket: string,
): Operator {
  const senders = Array.from({ length: parallel }, () => new BodySender(false))
  return {
    async once(i) {
      const path = `/${bucket}/${prefix}${i}`
      const id = await createUpload(s3, path)
      const count = Math.ceil(size / partBytes)
      const etags: string[] = []
      let next = 0
      await Promise.all(
        senders.map(async (sender) => {
          while (next < count) {
            const part = next++
            const bytes = Math.min(partBytes, size - part * partBytes)
            const query = `partNumber=${part + 1}&uploadId=${id}`
            etags[part] = await sender.put(s3, path, query, bytes, i * count + part)
          }
        }),
      )
      await completeUpload(s3, path, id, etags)
      return size
    },
  }
}

/** Measures CompleteMultipartUpload alone: the parts are uploaded before. */
function completer(
  { prefix, parts }: { prefix: string; parts: readonly number[] },
  s3: RawS3,
  bucket: string,
): Operator {
  const uploads = new Map<number, { id: string; etags: string[] }>()
  const sender = new BodySender(false)
  const pathOf = (i: number) => `/${bucket}/${prefix}${i}`
  return {
    async before(i) {
      const path = pathOf(i)
      const id = await createUpload(s3, path)
      const etags: string[] = []
      for (const [part, bytes] of parts.entries()) {
        const query = `partNumber=${part + 1}&uploadId=${id}`
        etags.push(await sender.put(s3, path, query, bytes, i * parts.length + part))
      }
      uploads.set(i, { id, etags })
    },
    async once(i) {
      const { id, etags } = uploads.get(i)!
      uploads.delete(i)
      await completeUpload(s3, pathOf(i), id, etags)
      return 0
    },
  }
}
