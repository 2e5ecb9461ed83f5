import type { Disk } from '../../block/disk.js'
import { BlockManager, type BlockReadOptions } from '../../block/manager.js'
import type { JudgedWriteOptions, QuorumWriteOptions } from '../../cluster/placement.js'
import { Quorum } from '../../cluster/quorum.js'
import type { Db, Tx } from '../../db/db.js'
import type { NodeId } from '../../net/transport.js'
import type { Tracing } from './tracing.js'

type Sets = readonly (readonly NodeId[])[]

/** The classes that a node is put together from, with spans of quorum calls and of blocks. */
export function tracedClasses(tracing: Tracing): {
  Quorum: typeof Quorum
  BlockManager: typeof BlockManager
} {
  class TracedQuorum extends Quorum {
    override write(sets: Sets, method: string, body: unknown, options: QuorumWriteOptions) {
      const work = () => super.write(sets, method, body, options)
      return tracing.within(`quorum write ${method}`, factsOf(sets), work)
    }

    override writeJudged(sets: Sets, method: string, body: unknown, options: JudgedWriteOptions) {
      const work = () => super.writeJudged(sets, method, body, options)
      return tracing.within(`quorum write ${method}`, factsOf(sets), work)
    }

    override readSets(sets: Sets, method: string, body: unknown, options: Parameters<Quorum['readSets']>[3]) {
      const work = () => super.readSets(sets, method, body, options)
      return tracing.within(`quorum read ${method}`, factsOf(sets), work)
    }
  }

  class TracedBlockManager extends BlockManager {
    override put(hash: Buffer, data: Buffer, owner?: Buffer, onFree?: () => void): Promise<void> {
      const facts = { 'carport.block': hash.toString('hex'), 'carport.bytes': data.length }
      return tracing.within('block put', facts, () => super.put(hash, data, owner, onFree))
    }

    override get(hash: Buffer, options?: BlockReadOptions): Promise<Buffer> {
      const facts = { 'carport.block': hash.toString('hex') }
      return tracing.within('block get', facts, () => super.get(hash, options))
    }
  }

  return { Quorum: TracedQuorum, BlockManager: TracedBlockManager }
}

/** A disk with spans of what moves bytes or waits for the medium. */
export function tracedDisk(disk: Disk, tracing: Tracing): Disk {
  return {
    read: (path, bytes) => tracing.within('disk read', {}, () => disk.read(path, bytes)),
    readRange: (path, offset, length) =>
      tracing.within('disk read', { 'carport.bytes': length }, () => disk.readRange(path, offset, length)),
    writeDurable: (path, parts, options) =>
      tracing.within('disk write', { 'carport.fsync': options.fsync }, () =>
        disk.writeDurable(path, parts, options),
      ),
    syncFolder: (folder) => tracing.within('disk sync', {}, () => disk.syncFolder(folder)),
    remove: (path) => disk.remove(path),
    rename: (from, to) => disk.rename(from, to),
    list: (folder) => disk.list(folder),
    stat: (path) => disk.stat(path),
    space: (folder) => disk.space(folder),
  }
}

/** Makes a span of each transaction of a database, from its being asked for until it is durable. */
export function traceDb(db: Db, tracing: Tracing): void {
  const transact = db.transact.bind(db)
  db.transact = <T>(fn: (tx: Tx) => T, steps?: number) =>
    tracing.within('db transaction', {}, () => transact(fn, steps))
}

function factsOf(sets: Sets) {
  return { 'carport.sets': sets.length, 'carport.nodes': new Set(sets.flat()).size }
}
