import { CarportError } from '../util/errors.js'
import type { Copy, Page, PageRow } from './range-merge.js'
import type { RowCodec } from './rows.js'

function malformed(what: string): CarportError {
  return new CarportError('RemoteError', `a replica sent a malformed ${what}`)
}

/** A reply of 'insert' that is not null. */
export function parseLater(body: unknown): number {
  const later = (body as { later?: unknown } | undefined)?.later
  if (typeof later !== 'number' || !Number.isFinite(later)) throw malformed('write reply')
  return later
}

/** Judges a reply of 'insert' for the writer of one row: taken if the row is, or was, the replica's copy. */
export function judgeWrite(body: unknown): 'taken' | 'blind' | 'overruled' | 'unknown' {
  if (body === null) return 'taken'
  const { was, blind } = body as { was?: unknown; blind?: unknown }
  if (was === true) return blind === true ? 'blind' : 'taken'
  return was === false ? 'overruled' : 'unknown'
}

/** A reply of 'get'. */
export function parseCopy(node: string, body: unknown): Copy {
  if (body === null) return { node, head: undefined, body: undefined, hasBody: false }
  if (!Array.isArray(body) || body.length !== 2 || !Buffer.isBuffer(body[0])) throw malformed('row')
  return { node, head: body[0], ...bodyOf(body[1]) }
}

/** A reply of 'range' with rows. */
export function parsePage(node: string, body: unknown): Page {
  if (!Array.isArray(body) || body.length !== 2 || !Array.isArray(body[0])) throw malformed('page')
  const rows = (body[0] as unknown[]).map((row): PageRow => {
    if (!Array.isArray(row) || row.length !== 3 || !Buffer.isBuffer(row[0]) || !Buffer.isBuffer(row[1])) {
      throw malformed('page')
    }
    return { sortKey: row[0], head: row[1], ...bodyOf(row[2]) }
  })
  const more = body[1] === true
  if (more && rows.length === 0) throw malformed('page')
  return { node, rows, more }
}

/** Decodes a head of a reply; its key is the requested one. @throws CarportError Corrupted */
export function parseHead<E>(codec: RowCodec<E>, head: Buffer, body: Buffer | undefined): E {
  return codec.decodeStored(head, () => body)
}

function bodyOf(value: unknown): { body: Buffer | undefined; hasBody: boolean } {
  if (Buffer.isBuffer(value)) return { body: value, hasBody: true }
  if (typeof value !== 'boolean') throw malformed('row')
  return { body: undefined, hasBody: value }
}
