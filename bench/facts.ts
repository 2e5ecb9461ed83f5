import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { Histogram } from './load/histogram.js'

/** Facts on the machine, on which figures depend besides the stores. */
export interface Facts {
  date: string
  cpu: string
  cores: number
  memoryBytes: number
  node: string
  kernel: string
  /** Load average of the last minute at the start. If it is far above 0, other programs disturb the figures. */
  loadAverage: number
  /** Time to append 4 KiB to a file and wait for the disk (fdatasync), in ms, where the stores keep their data. */
  fsyncMs: { p50: number; p99: number }
}

const FSYNC_TRIES = 100

/** @param dir where the stores will keep their data */
export function collectFacts(dir: string): Facts {
  return {
    date: new Date().toISOString(),
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    node: process.version,
    kernel: `${os.type()} ${os.release()}`,
    loadAverage: os.loadavg()[0]!,
    fsyncMs: fsyncLatency(dir),
  }
}

function fsyncLatency(dir: string): Facts['fsyncMs'] {
  const folder = mkdtempSync(join(dir, 'carport-fsync-'))
  const file = openSync(join(folder, 'probe'), 'w')
  const histogram = new Histogram()
  try {
    const page = Buffer.alloc(4096, 1)
    for (let i = 0; i < FSYNC_TRIES; i++) {
      const start = performance.now()
      writeSync(file, page)
      fdatasyncSync(file)
      histogram.record(performance.now() - start)
    }
  } finally {
    closeSync(file)
    rmSync(folder, { recursive: true })
  }
  return { p50: histogram.quantile(0.5)!, p99: histogram.quantile(0.99)! }
}
