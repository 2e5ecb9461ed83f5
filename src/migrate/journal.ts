import { hash } from 'node:crypto'
import type { Db } from '../db/db.js'
import { successor } from '../table/row-keys.js'
import type { Version } from './store.js'

const VERSIONS = 'versions'
const FACTS = 'facts'
export const JOURNAL_TREES = [VERSIONS, FACTS]

const KEY_BYTES_MAX = 1800
/** Entries that one read takes: it runs without a pause. */
const PAGE = 500

/** What is known of one version of the source. */
export interface Entry {
  /** Of the source's version: its ETag, size and time, by which a change is seen. */
  print: string
  /** Whether it is whole at the destination; else the copy was begun. */
  isDone: boolean
  /** Of the copy. */
  id: string
  etag: string
}

/** By which a change of an object is seen. */
export function printOf({ etag, bytes, modifiedMs, isMarker }: Version): string {
  return isMarker ? `marker ${modifiedMs}` : `${etag} ${bytes} ${modifiedMs}`
}

/**
 * What was copied, on the disk of the machine that copies: a row for each version, made when its copy begins and again when
 * it is whole. So a run that was killed knows which copies may be there without its knowledge.
 */
export class Journal {
  constructor(private readonly db: Db) {}

  entry(bucket: string, key: string, version: string): Entry | undefined {
    const value = this.db.get(VERSIONS, rowKey(bucket, key, version))
    return value && (JSON.parse(value.toString()) as { entry: Entry }).entry
  }

  async set(bucket: string, key: string, version: string, entry: Entry): Promise<void> {
    const value = Buffer.from(JSON.stringify({ key, version, entry }))
    await this.db.transact((tx) => tx.put(VERSIONS, rowKey(bucket, key, version), value))
  }

  async forget(bucket: string, key: string, version: string): Promise<void> {
    await this.db.transact((tx) => tx.delete(VERSIONS, rowKey(bucket, key, version)))
  }

  /** All entries of a bucket, by key. */
  async *entries(bucket: string): AsyncGenerator<{ key: string; version: string; entry: Entry }> {
    let start: Buffer = Buffer.from(`${bucket}\0`)
    const end = Buffer.from(`${bucket}\x01`)
    for (;;) {
      const page = [...this.db.range(VERSIONS, { start, end, limit: PAGE })]
      for (const { value } of page)
        yield JSON.parse(value.toString()) as { key: string; version: string; entry: Entry }
      if (page.length < PAGE) return
      start = successor(page.at(-1)!.key)
    }
  }

  fact(name: string): string | undefined {
    return this.db.get(FACTS, Buffer.from(name))?.toString()
  }

  async setFact(name: string, value: string): Promise<void> {
    await this.db.transact((tx) => tx.put(FACTS, Buffer.from(name), Buffer.from(value)))
  }

  async forgetFact(name: string): Promise<void> {
    await this.db.transact((tx) => tx.delete(FACTS, Buffer.from(name)))
  }

  close(): Promise<void> {
    return this.db.close()
  }
}

/** Long names are cut, and told apart by their hash: the row itself has them whole. */
function rowKey(bucket: string, key: string, version: string): Buffer {
  const whole = Buffer.from(`${bucket}\0${key}\0${version}`)
  if (whole.length <= KEY_BYTES_MAX) return whole
  return Buffer.concat([whole.subarray(0, KEY_BYTES_MAX - 64), Buffer.from(hash('sha256', whole))])
}
