import { type NodeId, Priority } from '../net/transport.js'
import { eachLimited } from '../util/limited.js'
import { BULK_TIMEOUT_MS, type TableEnv } from './env.js'
import type { LocalTable } from './local.js'
import { type RowReader, readSets } from './quorum-read.js'
import type { RowWriter } from './quorum-write.js'
import { mergePages } from './range-merge.js'
import { methodOf, pageFingerprint } from './replica.js'
import { parseHead, parsePage } from './replies.js'
import type { WireRow } from './rows.js'

const FETCHES_IN_FLIGHT = 16

export interface RangeQuery {
  /** First sort key, inclusive. */
  start?: Buffer
  /** End, exclusive. */
  end?: Buffer
  reverse?: boolean
  limit: number
  /** Also load bodies (default false). */
  body?: boolean
  /** See TableSchema.moving. `start` must be given then. */
  replacedBy?: Buffer
  /** See ReadOptions. */
  writeBack?: boolean
}

/** The reading side of a table, for ranges of rows. */
export class PageReader<E> {
  readonly #method: string

  constructor(
    private readonly local: LocalTable<E>,
    private readonly env: TableEnv,
    private readonly reader: RowReader<E>,
    private readonly writer: RowWriter<E>,
  ) {
    this.#method = methodOf(local.schema.name, 'range')
  }

  /** Rows from the start of a range on, and the sort key after which to go on. */
  async page(partitionKey: Buffer, query: RangeQuery): Promise<{ rows: E[]; next: Buffer | undefined }> {
    const { placement, quorum } = this.env
    const { codec } = this.local
    const partition = codec.partitionOf(partitionKey)
    const sets = this.reader.setsOf(partition)
    const options = { quorum: placement.readQuorum, timeoutMs: BULK_TIMEOUT_MS, priority: Priority.high }
    const ask = (pageFrom: NodeId | null) =>
      readSets(
        quorum,
        sets,
        this.#method,
        [
          partitionKey,
          query.start ?? null,
          query.end ?? null,
          query.reverse === true,
          query.limit,
          query.body === true,
          pageFrom,
          ...(query.replacedBy ? [query.replacedBy] : []),
        ],
        options,
      )

    if (sets.length === 1) {
      // One replica sends the page, the others a fingerprint of theirs, which is nearly always the same.
      const nearest = this.reader.nearest(sets[0]!)
      const replies = await ask(nearest)
      const first = replies.find(({ node }) => node === nearest)
      if (first) {
        const page = parsePage(first.node, first.body)
        const print = replies.length > 1 ? pageFingerprint(page) : undefined
        const agrees = (body: unknown) =>
          body === first.body || (Buffer.isBuffer(body) && body.equals(print!))
        if (replies.every(({ body }) => agrees(body))) {
          const rows = page.rows.map((row) => parseHead(codec, row.head, row.body))
          return { rows, next: page.more ? page.rows.at(-1)!.sortKey : undefined }
        }
      }
    }

    const pages = (await ask(null)).map(({ node, body }) => parsePage(node, body))
    const merged = mergePages(pages, query.reverse === true, query.limit)
    const rows: (E | undefined)[] = new Array(merged.keys.length)
    const writeBack: WireRow[] = []
    const mayBeHidden = this.local.schema.hiddenBy !== undefined
    await eachLimited([...merged.keys.keys()], FETCHES_IN_FLIGHT, async (i) => {
      const { sortKey, copies } = merged.keys[i]!
      const key = codec.keyOf(partitionKey, sortKey)
      const withBody = query.body === true
      const resolved = await this.reader.resolve(key, copies, withBody, query.replacedBy)
      if (!resolved.row) return
      rows[i] = resolved.row.entry
      if (query.writeBack === false || this.reader.mayBeShown(sets, copies, resolved)) return
      // A row that later ones may keep from a quorum is judged on its own.
      if (mayBeHidden) rows[i] = (await this.reader.get(key, withBody, query.replacedBy))?.entry
      else {
        const row = await this.reader.forWriteBack(key, copies, resolved.row, query.replacedBy)
        writeBack.push(codec.toWire(row))
      }
    })
    if (writeBack.length > 0) await this.writer.writeMany(new Map([[partition, writeBack]]), Priority.high)
    return { rows: rows.filter((row) => row !== undefined), next: merged.next }
  }
}
