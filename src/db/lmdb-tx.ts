import { CarportError } from '../util/errors.js'
import { KEY_BYTES_MAX, type TreeName, type Tx } from './db.js'
import { translate } from './lmdb-errors.js'
import { type Handles, LmdbReader, type Store } from './lmdb-reader.js'
import type { LmdbRoom } from './lmdb-room.js'

/** What the functions of a batch read and write by, one after the other, while the batch's transaction runs. */
export class LmdbTx extends LmdbReader implements Tx {
  active = false
  bytes = 0
  /** Whether the running function wrote something. */
  dirty = false
  /** The store's own failure during the running batch, which no function may swallow. */
  failure: unknown
  callbacks: (() => void)[] | undefined

  constructor(
    handles: Handles,
    private readonly room: LmdbRoom,
  ) {
    super(handles)
  }

  override get(tree: TreeName, key: Buffer): Buffer | undefined {
    const value = super.get(tree, key)
    if (value) this.bytes += value.length
    return value
  }

  override peek(tree: TreeName, key: Buffer): Buffer | undefined {
    const value = super.peek(tree, key)
    if (value) this.bytes += value.length
    return value
  }

  put(tree: TreeName, key: Buffer, value: Buffer): void {
    this.#put(tree, key, value, () => this.room.takeForPut(value.length))
  }

  putRecord(tree: TreeName, key: Buffer, value: Buffer): void {
    this.#put(tree, key, value, () => this.room.takeForRecord(value.length))
  }

  #put(tree: TreeName, key: Buffer, value: Buffer, takeRoom: () => void): void {
    const store = this.writable(tree)
    this.bytes += value.length
    if (key.length === 0 || key.length > KEY_BYTES_MAX) {
      throw new CarportError('InvalidArgument', `a key has 1 to ${KEY_BYTES_MAX} bytes, not ${key.length}`)
    }
    try {
      takeRoom()
    } catch (error) {
      throw translate(error)
    }
    try {
      store.put(key, value)
    } catch (error) {
      this.failure = error
      throw error
    }
  }

  delete(tree: TreeName, key: Buffer): void {
    const store = this.writable(tree)
    if (key.length === 0 || key.length > KEY_BYTES_MAX) return
    try {
      this.room.takeForDelete()
    } catch (error) {
      throw translate(error)
    }
    try {
      store.remove(key)
    } catch (error) {
      this.failure = error
      throw error
    }
  }

  onCommit(fn: () => void): void {
    this.callbacks ??= []
    this.callbacks.push(fn)
  }

  private writable(tree: TreeName): Store {
    // Outside of its transaction lmdb-js would take the write for an asynchronous one of its own.
    if (!this.active) throw new Error('the transaction is over')
    this.dirty = true
    return this.store(tree)
  }
}
