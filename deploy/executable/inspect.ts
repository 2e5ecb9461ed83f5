import { closeSync, openSync, readSync } from 'node:fs'
import type { Target } from './targets.js'

const ELF_MACHINES: Readonly<Record<number, Target['cpu']>> = { 62: 'x64', 183: 'arm64' }
const MACH_O_CPUS: Readonly<Record<number, Target['cpu']>> = { 16777223: 'x64', 16777228: 'arm64' }

/** The platform for which a program or a native module was built, by its header; undefined if it is neither ELF nor Mach-O of 64 bits. */
export function platformOf(header: Buffer): Pick<Target, 'os' | 'cpu'> | undefined {
  if (header.length < 20) return undefined
  const isElf = header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2 && header[5] === 1
  const isMachO = header.readUInt32LE(0) === 0xfeedfacf
  const cpu = isElf
    ? ELF_MACHINES[header.readUInt16LE(18)]
    : isMachO
      ? MACH_O_CPUS[header.readUInt32LE(4)]
      : undefined
  return cpu && { os: isElf ? 'linux' : 'darwin', cpu }
}

/** @throws Error when the file was not built for the target */
export function expectPlatform(path: string, { os, cpu }: Target): void {
  const header = Buffer.alloc(64)
  const file = openSync(path, 'r')
  try {
    readSync(file, header)
  } finally {
    closeSync(file)
  }
  const found = platformOf(header)
  if (found?.os !== os || found.cpu !== cpu) {
    throw new Error(
      `${path} is for ${found ? `${found.os}-${found.cpu}` : 'nothing known'}, not ${os}-${cpu}`,
    )
  }
}
