import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Disks of nodes in files, as an operator's own may be: small, or cut off from power. Needs root and Linux. */
export class Disks {
  readonly #mounted = new Map<string, string>()

  /** Why disks cannot be had here; undefined if they can. */
  static missing(dir: string): string | undefined {
    try {
      const disks = new Disks(join(dir, 'probe'))
      disks.attach('probe', join(dir, 'probe/disk'), 16)
      disks.close()
      return undefined
    } catch (error) {
      return `file systems in files cannot be mounted here (${(error as Error).message.split('\n')[0]})`
    } finally {
      rmSync(join(dir, 'probe'), { recursive: true, force: true })
    }
  }

  /** @param dir where the images are kept */
  constructor(private readonly dir: string) {
    mkdirSync(dir, { recursive: true })
  }

  /** Makes a disk with a new file system and mounts it. */
  attach(name: string, path: string, mebibytes: number): void {
    const image = this.#image(name)
    run('truncate', '-s', `${mebibytes}M`, image)
    run('mkfs.ext4', '-q', '-F', image)
    mkdirSync(path, { recursive: true, mode: 0o700 })
    this.#mount(name, path)
    // Tools of the file system leave a folder that a store would take for somebody else's.
    rmSync(join(path, 'lost+found'), { recursive: true, force: true })
  }

  /**
   * Cuts the power of a disk whose programs stand still: what was not synced is gone. The image is taken from below the file
   * system, whose memory has what was written but not synced.
   */
  takeImage(name: string): void {
    run('cp', '--sparse=always', this.#image(name), `${this.#image(name)}.cut`)
  }

  /** Goes on from the image that was taken, as a machine does that has its power back. Nothing may use the disk. */
  restoreImage(name: string): void {
    const path = this.#mounted.get(name)!
    run('umount', path)
    run('mv', `${this.#image(name)}.cut`, this.#image(name))
    this.#mount(name, path)
  }

  close(): void {
    for (const path of this.#mounted.values()) {
      try {
        run('umount', '-l', path)
      } catch {
        // It was not mounted any more.
      }
    }
    this.#mounted.clear()
  }

  #mount(name: string, path: string): void {
    // A commit of the journal every ten minutes leaves it to the store what is on disk.
    run('mount', '-o', 'loop,commit=600', this.#image(name), path)
    this.#mounted.set(name, path)
  }

  #image(name: string): string {
    return join(this.dir, `${name}.img`)
  }
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
