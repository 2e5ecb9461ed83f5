import { prefixEnd, successor } from '../../table/row-keys.js'
import type { Table } from '../../table/table.js'
import type { Hlc } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import type { Random } from '../../util/random.js'
import type { Versioning } from '../buckets/documents.js'
import type { BlobStore, StoredBody } from '../content/blobs.js'
import type { BlockListRow } from '../content/block-lists.js'
import { contentOf, deleteLists, writeLists } from '../content/list-rows.js'
import { type BlockPointer, NONCE_BYTES, versionId } from '../content/refs.js'
import { terminatedKey, uploadSortKey } from '../sort-keys.js'
import type { Precondition } from '../versions/conditional-writes.js'
import { boundedStart, isKeyWithinBounds } from '../versions/key-bounds.js'
import type { Objects } from '../versions/objects.js'
import type { VersionRecord } from '../versions/record.js'
import { deletedUpload, type PartRow, partSortKey, type UploadRow } from './tables.js'

const PAGE = 1000
const ENDS_IN_FLIGHT = 8

/** The fields that a part adds to its stored body. */
export type NewPart = Pick<PartRow, 'number' | 'etag' | 'checksumAlgorithm' | 'checksum' | 'crc64' | 'iv'>

/** Rows that one page looks at, whatever it finds. */
const PAGE_ROWS_MAX = 20_000

/** Multipart uploads. */
export class Uploads {
  constructor(
    private readonly deps: {
      uploads: Table<UploadRow>
      parts: Table<PartRow>
      lists: Table<BlockListRow>
      blobs: BlobStore
      objects: Objects
      hlc: Hlc
      random: Random
    },
  ) {}

  /** Starts an upload; its id is unique and ordered by time. */
  async create(upload: Omit<UploadRow, 'id' | 'deleted' | 'timeUs'>): Promise<UploadRow> {
    const timeUs = this.deps.hlc.now()
    const row: UploadRow = {
      ...upload,
      id: versionId(timeUs, this.deps.random.bytes(8)),
      deleted: false,
      timeUs,
    }
    await this.deps.uploads.insert(row)
    return row
  }

  /** The upload; undefined if it never was, or is completed or aborted. */
  async get(bucket: Buffer, key: Buffer, id: Buffer): Promise<UploadRow | undefined> {
    const row = await this.deps.uploads.get(bucket, uploadSortKey(key, id))
    return row && !row.deleted ? row : undefined
  }

  /** Records a part whose body is stored; replaces an earlier one of the same number. */
  async putPart(upload: UploadRow, part: NewPart, stored: StoredBody): Promise<PartRow> {
    const { parts, lists, blobs, hlc, random } = this.deps
    const { bucket, key, id: uploadId } = upload
    let isFirst = true
    let undo: (() => Promise<void>) | undefined
    const { entry, replaced } = await parts.insertLatest(async (laterUs) => {
      const timeUs = laterUs === 0 ? hlc.now() : hlc.after(laterUs)
      const first = isFirst ? stored.nonce : undefined
      isFirst = false
      const id = versionId(timeUs, first ?? random.bytes(NONCE_BYTES))
      if (!first) await blobs.retain(id, stored.blocks)
      else if (stored.claims) await stored.claims.confirm()
      const place = { bucket, owner: id, key, part: { uploadId, number: part.number } }
      const { content, lists: rows } = contentOf(stored, place)
      const hasLists = content.kind === 'lists'
      if (hasLists) await writeLists(lists, rows)
      const row: PartRow = {
        ...part,
        bucket,
        key,
        uploadId,
        id,
        timeUs,
        deleted: false,
        size: stored.size,
        content,
      }
      undo = async () => {
        if (hasLists) await deleteLists(lists, rows)
      }
      return { entry: row, undo }
    })
    if (replaced) await undo?.()
    return entry
  }

  /** The parts of an upload by number, from the one after `afterNumber` on. */
  async parts(
    upload: Pick<UploadRow, 'bucket' | 'id'>,
    afterNumber = 0,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<PartRow[]> {
    const found: PartRow[] = []
    const end = prefixEnd(upload.id)
    let start = partSortKey(upload.id, afterNumber + 1)
    while (found.length < limit) {
      const rows = await this.deps.parts.range(upload.bucket, { start, ...(end && { end }), limit: PAGE })
      for (const row of rows) if (!row.deleted && found.length < limit) found.push(row)
      if (rows.length < PAGE) break
      start = partSortKey(upload.id, rows.at(-1)!.number + 1)
    }
    return found
  }

  /** The blocks of the given parts in order, as one body. */
  async gather(parts: readonly PartRow[]): Promise<BlockPointer[]> {
    const blocks: BlockPointer[] = []
    for (const part of parts) {
      for await (const { ref } of this.deps.blobs.blocksOf(part.bucket, part.id, part.content))
        blocks.push(ref)
    }
    return blocks
  }

  /**
   * Makes an object of the given parts. The object refers to the parts' blocks under its own id, and each replica ends
   * the upload, whose parts can go then, in the transaction that stores the object's row.
   */
  async complete(
    upload: UploadRow,
    parts: readonly PartRow[],
    version: Parameters<Objects['put']>[0],
    etagMd5: Buffer,
    versioning: Versioning,
    precondition?: Precondition,
  ): Promise<VersionRecord> {
    const blocks = await this.gather(parts)
    const size = parts.reduce((sum, part) => sum + part.size, 0)
    const stored = { size, md5: etagMd5, blocks, partsOf: upload.id }
    if (precondition) return this.#completeOn(precondition, upload, version, stored, versioning)
    const { row, replaced } = await this.deps.objects.write(version, stored, versioning)
    // Then perhaps no replica stored the row that ends the upload.
    if (replaced) await this.end(upload)
    return row
  }

  /** The upload ends only once the object is there: its parts stay usable if the condition does not hold. */
  async #completeOn(
    precondition: Precondition,
    upload: UploadRow,
    version: Parameters<Objects['put']>[0],
    stored: StoredBody,
    versioning: Versioning,
  ): Promise<VersionRecord> {
    // An earlier request completed it, and its node died before it ended the upload.
    let completed: VersionRecord | undefined
    const isCompleted: Precondition = (current, row) => {
      completed = current?.completes?.equals(upload.id) ? current : undefined
      if (completed) throw new CarportError('Conflict', 'the upload is completed already')
      precondition(current, row)
    }
    let row: VersionRecord
    try {
      row = await this.deps.objects.put(version, stored, versioning, isCompleted)
    } catch (error) {
      if (!completed) throw error
      row = completed
    }
    await this.end(upload)
    return row
  }

  /** Ends an upload; its parts are deleted in the background. */
  async end(upload: UploadRow): Promise<void> {
    await this.deps.uploads.insert(deletedUpload(upload))
  }

  /**
   * Ends all uploads of a bucket that were started before `beforeUs` (HLC time, µs; default: all there are).
   * Returns how many.
   */
  async endAll(bucket: Buffer, beforeUs = Number.POSITIVE_INFINITY): Promise<number> {
    let ended = 0
    let after: { key: Buffer; id?: Buffer } | undefined
    do {
      const page = await this.page(bucket, {
        prefix: '',
        delimiter: '',
        limit: PAGE,
        ...(after && { after }),
      })
      const old = page.uploads.filter((upload) => upload.timeUs < beforeUs)
      await eachLimited(old, ENDS_IN_FLIGHT, (upload) => this.end(upload))
      ended += old.length
      after = page.next && {
        key: Buffer.from(page.next.key),
        ...(page.next.id !== undefined && { id: Buffer.from(page.next.id, 'hex') }),
      }
    } while (after)
    return ended
  }

  /**
   * A page of a bucket's uploads under way, in order of key and then time, folded by a delimiter. It may have fewer than there
   * are, or none, where it has looked at many that ended: `next` says where to go on.
   * @param query.after the upload (or with no id: all uploads of that key) that the page starts after
   */
  async page(
    bucket: Buffer,
    query: { prefix: string; delimiter: string; limit: number; after?: { key: Buffer; id?: Buffer } },
  ): Promise<UploadPage> {
    const { prefix, delimiter, limit } = query
    const page: UploadPage = { uploads: [], prefixes: [], next: undefined }
    if (!isKeyWithinBounds(Buffer.from(prefix))) return page
    const after = query.after && boundedUpload(query.after)
    const escaped = terminatedKey(Buffer.from(prefix)).subarray(0, -1)
    const end = prefixEnd(escaped)
    let start: Buffer = escaped
    if (after) {
      const past = pastUpload(after, delimiter, prefix)
      if (past.compare(start) > 0) start = past
    }
    let last: UploadPage['next']
    let lookedAt = 0
    while (true) {
      const rows = await this.deps.uploads.range(bucket, { start, ...(end && { end }), limit: PAGE })
      for (const row of rows) {
        if (row.deleted) continue
        const key = row.key.toString()
        const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
        const folded = cut < 0 ? undefined : key.slice(0, cut + delimiter.length)
        if (folded !== undefined && folded === page.prefixes.at(-1)) continue
        if (page.uploads.length + page.prefixes.length >= limit) return { ...page, next: last }
        if (folded !== undefined) {
          page.prefixes.push(folded)
          last = { key: folded }
        } else {
          page.uploads.push(row)
          last = { key, id: row.id.toString('hex') }
        }
      }
      if (rows.length < PAGE) return page
      const { key, id } = rows.at(-1)!
      const folded = page.prefixes.at(-1)
      // What else is below a common prefix is skipped, not walked.
      const isFolded = folded !== undefined && key.toString().startsWith(folded)
      const behind = isFolded ? { key: Buffer.from(folded) } : { key, id }
      start = pastUpload(behind, delimiter, prefix)
      lookedAt += rows.length
      if (lookedAt >= PAGE_ROWS_MAX) {
        return { ...page, next: isFolded ? { key: folded } : { key: key.toString(), id: id.toString('hex') } }
      }
    }
  }
}

/** A page of a listing of uploads. */
export interface UploadPage {
  uploads: UploadRow[]
  prefixes: string[]
  /** The position that the next page starts after; undefined if there is none. */
  next: { key: string; id?: string } | undefined
}

/** A key that is too long comes after every upload of the longest key that it begins with. */
function boundedUpload(after: { key: Buffer; id?: Buffer }): { key: Buffer; id?: Buffer } {
  const start = boundedStart(after.key)
  return start === after.key ? after : { key: start.subarray(0, -1) }
}

/** The first sort key behind an upload, behind all uploads of a key, or behind a common prefix. */
function pastUpload(after: { key: Buffer; id?: Buffer }, delimiter: string, prefix: string): Buffer {
  if (after.id) return successor(uploadSortKey(after.key, after.id))
  const key = after.key.toString()
  const cut = delimiter === '' || !key.startsWith(prefix) ? -1 : key.indexOf(delimiter, prefix.length)
  const isFolded = cut >= 0 && cut + delimiter.length === key.length
  const sortKey = terminatedKey(after.key)
  // There is an end: the last byte is the terminator, or the delimiter's, and no text has a byte 0xff.
  return prefixEnd(isFolded ? sortKey.subarray(0, -1) : sortKey)!
}
