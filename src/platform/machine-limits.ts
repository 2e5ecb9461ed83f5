import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import type { MachineLimits } from '../api/http/admission.js'

/** Assumed where the system does not tell: the usual soft limit. */
const OPEN_FILES_USUAL = 1024

/** What this process may use: of its cgroup, if that has less memory than the machine. */
export function machineLimits(): MachineLimits {
  const constrained = process.constrainedMemory()
  const memoryBytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
  return { openFiles: openFilesMax(), memoryBytes }
}

/** The soft limit of open files, which Node raises to the hard one when it starts. */
function openFilesMax(): number {
  try {
    const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft) || OPEN_FILES_USUAL
  } catch {
    return OPEN_FILES_USUAL
  }
}
