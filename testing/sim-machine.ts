import { createHash } from 'node:crypto'
import type { NodeAddress } from '../src/cluster/address.js'
import type { TreeName } from '../src/db/db.js'
import type { NodeId } from '../src/net/transport.js'
import { Hlc } from '../src/util/clock.js'
import { type Log, silentLog } from '../src/util/log.js'
import { MemoryDb } from './memory-db.js'
import { MemoryDisk } from './memory-disk.js'
import type { SeededRandom } from './seeded-random.js'
import type { SimNodeClock } from './sim-clock.js'
import type { SimNetwork } from './sim-network.js'
import type { SimTransport } from './sim-transport.js'

/** The parts of the machine that a node runs on: everything below src/platform takes these. */
export interface SimPlatform {
  self: NodeId
  address: NodeAddress
  clock: SimNodeClock
  random: SeededRandom
  hlc: Hlc
  log: Log
  transport: SimTransport
  db: MemoryDb
  disk: MemoryDisk
}

export interface SimMachineOptions {
  network: SimNetwork
  name: string
  address: NodeAddress
  trees: readonly TreeName[]
  /** Wall clock minus true time, in milliseconds. */
  clockOffsetMs?: number
  /** The shortest and longest time from a commit to its durability, in ms; see MemoryDbOptions. */
  commitDelayMs?: readonly [number, number]
  log?: Log
}

/**
 * A machine of the simulated cluster, which outlives its node's process. `boot()` hands out the platform to build a
 * node on; `crash()` ends all of it at once; the next `boot()` finds the state that survived.
 */
export class SimMachine {
  readonly self: NodeId
  /** Takes effect at the next boot; set `platform.clock.offsetMs` to move a running clock. */
  clockOffsetMs: number
  readonly #options: SimMachineOptions
  #platform: SimPlatform | undefined
  #db: MemoryDb | undefined
  #disk: MemoryDisk | undefined
  #bootCount = 0
  #snapshots = 0
  #saved: { db: MemoryDb; folder: string; atMs: number; isSnapshot: boolean } | undefined
  /** Whether its database was lost, or went back in time. */
  hasLostRows = false

  constructor(options: SimMachineOptions) {
    this.#options = options
    this.self = createHash('sha256').update(options.name).digest('hex')
    this.clockOffsetMs = options.clockOffsetMs ?? 0
  }

  /** Undefined while the machine is down. */
  get platform(): SimPlatform | undefined {
    return this.#platform
  }

  /** Whether a file of that name is on the disk, or will be when the machine is up again. */
  hasFile(name: string): boolean {
    return this.#disk?.hasName(name) ?? false
  }

  boot(): SimPlatform {
    if (this.#platform) throw new Error(`${this.#options.name} runs already`)
    const { network, name, address, trees, commitDelayMs, log = silentLog } = this.#options
    const random = network.random.fork(`${name}/${this.#bootCount++}`)
    const clock = network.clock.skewed(this.clockOffsetMs)
    const hlc = new Hlc(clock)
    // The store's and the disk's time is true time: they outlive the node's clock by reopening.
    const db =
      this.#db?.reopen() ??
      new MemoryDb({
        ...{ trees, clock: network.clock, random: random.fork('db') },
        ...(commitDelayMs && { commitDelayMs }),
      })
    const disk = this.#disk?.reopen() ?? new MemoryDisk({ clock: network.clock, random: random.fork('disk') })
    const transport = network.join({ self: this.self, address, clock, hlc, log })
    this.#db = db
    this.#disk = disk
    this.#platform = { self: this.self, address, clock, random, hlc, log, transport, db, disk }
    return this.#platform
  }

  /** Stops everything in the middle of its work. The caller drops all objects of the node. */
  crash(what: 'process' | 'machine' = 'machine'): void {
    if (!this.#platform) return
    const { clock, db, disk } = this.#platform
    this.#platform = undefined
    this.#options.network.crash(this.self, what)
    clock.stop()
    db.crash()
    disk.crash()
  }

  /** The machine, which is down, loses its database: it finds an empty one at the next boot. Its disk stays. */
  wipe(): void {
    this.#db = undefined
    this.hasLostRows = true
  }

  /** The machine, which is down, loses its database and its disk. */
  discard(): void {
    this.#db = undefined
    this.#disk = undefined
  }

  /** When the database was saved to which the machine can go back, in ms of true time; undefined before. */
  get savedAtMs(): number | undefined {
    return this.#saved?.atMs
  }

  /** The machine, which is up, saves an image of its database, of which the node is not told. */
  async save(): Promise<void> {
    const db = this.#platform!.db
    const folder = `saved-${this.#snapshots++}`
    const atMs = this.#options.network.clock.monotonicMs()
    await db.snapshot(folder)
    this.#saved = { db, folder, atMs, isSnapshot: false }
  }

  /** Its node, which is up, writes a snapshot, which counts once the database has got older: a full disk takes neither. */
  async saveSnapshot(raiseAge: () => Promise<void>): Promise<void> {
    const db = this.#platform!.db
    const folder = `saved-${this.#snapshots++}`
    const atMs = this.#options.network.clock.monotonicMs()
    await db.snapshot(folder)
    const isOlder = await raiseAge().then(
      () => true,
      () => false,
    )
    if (isOlder) this.#saved = { db, folder, atMs, isSnapshot: true }
  }

  /** Whether what was saved last is a snapshot that the node wrote. */
  get isSnapshot(): boolean {
    return this.#saved?.isSnapshot === true
  }

  /** The machine, which is down, goes back to the database that it saved last. */
  restoreSaved(): void {
    const { db, folder } = this.#saved!
    const restored = MemoryDb.fromSnapshot(db, folder)
    restored.crash()
    this.#db = restored
    this.hasLostRows = true
  }

  /** The machine, which is down, goes back to the snapshot in that folder, which its database wrote. */
  restoreSnapshot(folder: string): void {
    if (!this.#db) throw new Error('there is no database that wrote a snapshot')
    const restored = MemoryDb.fromSnapshot(this.#db, folder)
    restored.crash()
    this.#db = restored
  }
}
