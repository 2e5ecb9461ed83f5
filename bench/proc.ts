import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

/** Memory of a set of processes, in bytes, as the kernel counts it; pages that several share count in each. */
export interface Memory {
  rss: number
  /** Memory that the processes allocated. */
  anon: number
  /** Mapped files: the program itself, and the recently used pages of a memory-mapped database. */
  file: number
}

/** The length in µs of the ticks in which Linux counts a program's time (USER_HZ is 100 everywhere). */
const TICK_US = 10_000

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The processes and all their descendants, as far as they live. */
export function withChildren(pids: readonly number[]): number[] {
  const found: number[] = []
  const visit = (pid: number) => {
    if (found.includes(pid)) return
    found.push(pid)
    let threads: string[] = []
    try {
      threads = readdirSync(`/proc/${pid}/task`)
    } catch {
      return
    }
    for (const thread of threads) {
      const children = read(`/proc/${pid}/task/${thread}/children`)?.trim()
      if (children) children.split(' ').map(Number).forEach(visit)
    }
  }
  pids.forEach(visit)
  return found
}

/** The processes' CPU time so far, user and system, in µs. */
export function cpuUs(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    // The program's name, in parentheses, may contain any character.
    const fields = read(`/proc/${pid}/stat`)?.split(') ').at(-1)?.split(' ')
    if (fields) ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks * TICK_US
}

export function memoryOf(pids: readonly number[]): Memory {
  const sum = { rss: 0, anon: 0, file: 0 }
  for (const pid of pids) {
    const status = read(`/proc/${pid}/status`) ?? ''
    const field = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
    sum.rss += field('VmRSS')
    sum.anon += field('RssAnon')
    sum.file += field('RssFile')
  }
  return sum
}

/**
 * Bytes that the device of a folder's file system has written so far, for all programs; undefined without such a device.
 * Linux also counts for each process (/proc/PID/io), but takes every change of a page as one of its folio, up to 2 MiB.
 */
export function deviceWrittenBytes(folder: string): number | undefined {
  const { dev } = statSync(folder)
  const major = (dev >> 8) & 0xfff
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00)
  const sectors = read(`/sys/dev/block/${major}:${minor}/stat`)?.trim().split(/\s+/)[6]
  return sectors === undefined ? undefined : Number(sectors) * 512
}

/** Which of `pids` has the TCP connection over IPv4 from `port` to `peerPort`; undefined if none has. */
export function ownerOfConnection(
  port: number,
  peerPort: number,
  pids: readonly number[],
): number | undefined {
  const suffix = (n: number) => `:${n.toString(16).toUpperCase().padStart(4, '0')}`
  const line = read('/proc/net/tcp')
    ?.split('\n')
    .find((text) => {
      const [, local, remote] = text.trim().split(/\s+/)
      return local?.endsWith(suffix(port)) && remote?.endsWith(suffix(peerPort))
    })
  const inode = line?.trim().split(/\s+/)[9]
  if (inode === undefined) return undefined
  return pids.find((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`
        } catch {
          return false
        }
      })
    } catch {
      return false
    }
  })
}

/** Watches the memory of processes and keeps the highest of each figure. */
export class MemoryWatch {
  readonly peak: Memory = { rss: 0, anon: 0, file: 0 }
  readonly #timer: NodeJS.Timeout

  constructor(private readonly pids: () => readonly number[]) {
    this.#look()
    this.#timer = setInterval(() => this.#look(), 200)
  }

  stop(): Memory {
    clearInterval(this.#timer)
    this.#look()
    return this.peak
  }

  #look(): void {
    const now = memoryOf(this.pids())
    this.peak.rss = Math.max(this.peak.rss, now.rss)
    this.peak.anon = Math.max(this.peak.anon, now.anon)
    this.peak.file = Math.max(this.peak.file, now.file)
  }
}
