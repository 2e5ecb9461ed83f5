/** A value that is stored, or null for a deletion. Several clients that did not see each other's writes leave several. */
export type K2vValue = Uint8Array | null

/** A value to store; a text is stored as UTF-8. */
export type K2vInput = Uint8Array | string

/** What a read has shown of one item. */
export interface K2vItem {
  /** At least one; more than one if writes were concurrent. null is a deletion. */
  readonly values: readonly K2vValue[]
  /** Says which values were seen: a write that brings it replaces these and no others. */
  readonly token: string
}

/** An item in the answer of ReadBatch or PollRange. */
export interface K2vRangeItem extends K2vItem {
  readonly sortKey: string
}

/** Sort keys (or partition keys, of an index) from `start` on, before `end`, that begin with `prefix`. All are optional. */
export interface K2vRange {
  readonly prefix?: string
  /** The first key; with `reverse` the last one. */
  readonly start?: string
  /** The key before which the range ends; with `reverse`, after which it ends. */
  readonly end?: string
}

export interface K2vCallOptions {
  /** Ends the call: it rejects with the signal's reason. A write may have been carried out nevertheless. */
  readonly signal?: AbortSignal
}

export interface K2vReadOptions extends K2vCallOptions {
  /** Takes an answer that a later read may not confirm where a write is under way, and saves a round trip at times. */
  readonly nonMonotonic?: boolean
}

export interface K2vInsertOptions extends K2vCallOptions {
  /** Of the read whose values this one replaces. Without it the value stands beside all others. */
  readonly token?: string
}

export interface K2vPollOptions extends K2vCallOptions {
  /**
   * How long the server waits, in seconds: an integer from 1 to 600, 50 unless told. Proxies often end a request after 60 s
   * and Node's fetch after 300 s.
   */
  readonly timeoutSeconds?: number
}

export interface K2vPollRangeOptions extends K2vPollOptions, K2vRange {
  /** Of the answer before; without it all items come at once. */
  readonly seenMarker?: string
}

export interface K2vIndexOptions extends K2vCallOptions, K2vRange {
  /** Most keys of the answer. */
  readonly limit?: number
  readonly reverse?: boolean
}

/** A partition key, with exact counts. */
export interface K2vIndexEntry {
  readonly partitionKey: string
  /** Items that have a value. */
  readonly entries: number
  /** Items that have more than one value. */
  readonly conflicts: number
  readonly values: number
  /** Bytes of all values. */
  readonly bytes: number
}

export interface K2vIndex {
  readonly partitionKeys: readonly K2vIndexEntry[]
  /** Where to go on; undefined at the end. */
  readonly nextStart: string | undefined
}

/** One write of a batch. */
export interface K2vWrite {
  readonly partitionKey: string
  readonly sortKey: string
  /** null deletes the item. */
  readonly value: K2vInput | null
  /** See K2vInsertOptions. */
  readonly token?: string
}

/** Items of one partition key to read. */
export interface K2vSearch extends K2vRange {
  readonly partitionKey: string
  /** Most items of the answer. */
  readonly limit?: number
  readonly reverse?: boolean
  /** Only the item whose sort key is `start`. */
  readonly singleItem?: boolean
  /** Only items that have more than one value. */
  readonly conflictsOnly?: boolean
  /** Deleted items too. */
  readonly tombstones?: boolean
}

export interface K2vSearchResult {
  readonly items: readonly K2vRangeItem[]
  /** Where to go on; undefined at the end. */
  readonly nextStart: string | undefined
}

/** Items of one partition key to delete. */
export interface K2vDeletion extends K2vRange {
  readonly partitionKey: string
  /** Only the item whose sort key is `start`. */
  readonly singleItem?: boolean
}

/** Items of a range that changed. */
export interface K2vRangeChanges {
  /** Deleted items have the value null. */
  readonly items: readonly K2vRangeItem[]
  /** For the next poll of this range or a part of it. */
  readonly seenMarker: string
}
