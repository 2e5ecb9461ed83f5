import type { Disk } from '../../block/disk.js'
import type { Clock } from '../../util/clock.js'
import { SECONDS_BUCKETS } from './families.js'
import { Histogram, type Registry } from './prom-client.js'

/** Measures how long the disk takes to read and to write blocks. */
export function measuredDisk(disk: Disk, clock: Clock, registry: Registry): Disk {
  const histogram = (name: string, help: string) =>
    new Histogram({ name, help, registers: [registry], buckets: SECONDS_BUCKETS })
  const reads = histogram('block_read_duration', 'Seconds to read the file of a block')
  const writes = histogram('block_write_duration', 'Seconds to write the file of a block, synced')
  const measured = async <T>(durations: Histogram, work: Promise<T>): Promise<T> => {
    const startedMs = clock.monotonicMs()
    const result = await work
    durations.observe((clock.monotonicMs() - startedMs) / 1000)
    return result
  }
  return {
    read: (path, expectedBytes) => measured(reads, disk.read(path, expectedBytes)),
    writeDurable: (path, parts, options) => measured(writes, disk.writeDurable(path, parts, options)),
    readRange: (path, offset, length) => disk.readRange(path, offset, length),
    syncFolder: (folder) => disk.syncFolder(folder),
    remove: (path) => disk.remove(path),
    rename: (from, to) => disk.rename(from, to),
    list: (folder) => disk.list(folder),
    stat: (path) => disk.stat(path),
    space: (folder) => disk.space(folder),
  }
}
