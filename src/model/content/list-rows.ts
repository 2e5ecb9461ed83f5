import { pack } from 'msgpackr'
import type { Table } from '../../table/table.js'
import type { StoredBody } from './blobs.js'
import { type BlockListRow, deletedBlockList, LIST_ROW_PARTS } from './block-lists.js'
import {
  type Content,
  LIST_ROW_BLOCKS,
  MAX_ROW_BLOCKS,
  MAX_ROW_PARTS,
  type PartInfo,
  packBlocks,
  packPart,
} from './refs.js'

/** Rows of lists that are written together: a row of blocks has 36 KiB. */
const ROWS_PER_WRITE = 32

/** Where list rows are to be found by who owns them; see BlockListRow. */
export type ListPlace = Pick<BlockListRow, 'bucket' | 'owner' | 'key' | 'part'>

/** How a row refers to these blocks, and the list rows to be written before it, if they are many; see `writeLists`. */
export function contentOf(
  stored: Pick<StoredBody, 'body' | 'blocks'>,
  place: ListPlace,
): { content: Content; lists: Iterable<BlockListRow> } {
  if (stored.body) return { content: { kind: 'inline' }, lists: [] }
  const { blocks } = stored
  if (blocks.length <= MAX_ROW_BLOCKS)
    return { content: { kind: 'blocks', blocks: packBlocks(blocks) }, lists: [] }
  const chunkBytes: number[] = []
  for (const [i, { size }] of blocks.entries()) {
    const index = Math.floor(i / LIST_ROW_BLOCKS)
    chunkBytes[index] = (chunkBytes[index] ?? 0) + size
  }
  const row = (index: number): BlockListRow => {
    const at = index * LIST_ROW_BLOCKS
    const data = packBlocks(blocks.slice(at, at + LIST_ROW_BLOCKS))
    return { ...place, index, kind: 'blocks', deleted: false, data }
  }
  const lists = {
    *[Symbol.iterator]() {
      for (const index of chunkBytes.keys()) yield row(index)
    },
  }
  return { content: { kind: 'lists', chunkBytes }, lists }
}

/** List rows for the parts of a multipart object, if they are too many for its row. */
export function partRowsOf(parts: readonly PartInfo[], place: ListPlace): BlockListRow[] {
  if (parts.length <= MAX_ROW_PARTS) return []
  const rows: BlockListRow[] = []
  for (let at = 0; at < parts.length; at += LIST_ROW_PARTS) {
    const tuples = parts.slice(at, at + LIST_ROW_PARTS).map(packPart)
    rows.push({ ...place, index: rows.length, kind: 'parts', deleted: false, data: pack(tuples) })
  }
  return rows
}

/** Writes list rows, some at a time, so that they are not all in memory. @throws QuorumUnavailable: some may be written then */
export async function writeLists(
  lists: Pick<Table<BlockListRow>, 'insertMany'>,
  ...kinds: Iterable<BlockListRow>[]
): Promise<void> {
  let some: BlockListRow[] = []
  for (const rows of kinds) {
    for (const row of rows) {
      some.push(row)
      if (some.length < ROWS_PER_WRITE) continue
      await lists.insertMany(some)
      some = []
    }
  }
  if (some.length > 0) await lists.insertMany(some)
}

/** Takes list rows back that were written. @throws QuorumUnavailable */
export function deleteLists(
  lists: Pick<Table<BlockListRow>, 'insertMany'>,
  ...kinds: Iterable<BlockListRow>[]
): Promise<void> {
  return writeLists(lists, ...kinds.map((rows) => mapped(rows, deletedBlockList)))
}

function* mapped<T, U>(items: Iterable<T>, map: (item: T) => U): Generator<U> {
  for (const item of items) yield map(item)
}
