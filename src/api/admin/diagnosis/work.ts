/** Checks of the background work of one node, of its queues, and of what is damaged on it. */

import { plural, shortId } from '../../../util/text.js'
import type { Finding, NodeDiagnostics } from './facts.js'
import { span } from './findings.js'

/** So many failures in a row are more than a node that restarts. */
const FAILURES_STUCK = 5
/** Entries that a queue may always have, whatever it was before. */
const QUEUE_SMALL = 200
/** The growth within an hour that counts, as a factor. */
const QUEUE_GROWTH = 1.5
/** How old the oldest entry may be, in seconds. */
const OLD_SECS: Partial<Record<Queue, number>> = { blockReferences: 600, blockResync: 3600 }

type Queue = NodeDiagnostics['queues'][number]['name']

const QUEUES: Record<Queue, { name: string; help: string }> = {
  missedWrites: {
    name: 'writes that replicas missed',
    help: 'carport status tells which nodes are down; bring them back, or remove them from the layout',
  },
  blockReferences: {
    name: 'references to blocks that are to be carried',
    help: 'carport worker list -e tells why; the replicas of the blocks must be up',
  },
  blockResync: {
    name: 'blocks to be fetched or deleted',
    help: 'carport worker set resync-worker-count 4, carport worker set resync-tranquility 0; carport block list-errors',
  },
  purge: {
    name: 'deleted versions to be cleared away',
    help: 'carport worker list tells how it goes; a slow disk of the metadata is the usual reason',
  },
  tombstones: {
    name: 'deleted rows that wait to be forgotten',
    help: 'they wait while a node of the layout is down: bring it back, or remove it from the layout',
  },
}

export function checkWorkers({ workers }: NodeDiagnostics, node: string): Finding[] {
  return workers
    .filter(({ consecutiveErrors }) => consecutiveErrors >= FAILURES_STUCK)
    .map((worker) => ({
      severity: 'error',
      check: 'worker-stuck',
      node,
      message:
        `"${worker.name}" failed ${worker.consecutiveErrors} times in a row` +
        (worker.lastError
          ? `, at last ${span(worker.lastError.secsAgo)} ago: ${worker.lastError.message}`
          : ''),
      help: `carport -h ${shortId(node)}… worker info ${worker.id}, and the log of the node`,
    }))
}

export function checkQueues({ queues }: NodeDiagnostics, node: string): Finding[] {
  return queues.flatMap(({ name, length, oldestSecs, before }) => {
    const findings: Finding[] = []
    const { name: what, help } = QUEUES[name]
    if (isGrowing(length, before)) {
      const message = `${plural(length, 'entry', 'entries')} in the queue of ${what}, and ever more: ${before[0]} an hour ago`
      findings.push({ severity: 'warning', check: 'queue-grows', node, message, help })
    }
    const oldSecs = OLD_SECS[name]
    if (length > 0 && oldSecs !== undefined && oldestSecs !== null && oldestSecs >= oldSecs) {
      const message = `the oldest of ${length} ${what} waits for ${span(oldestSecs)}`
      findings.push({ severity: 'warning', check: 'queue-old', node, message, help })
    }
    return findings
  })
}

/** Whether a queue grew in each quarter of the last hour, and by much in all of it. */
function isGrowing(length: number, before: readonly number[]): boolean {
  if (before.length < 4 || length < QUEUE_SMALL) return false
  const all = [...before, length]
  return all.every((now, i) => i === 0 || now >= all[i - 1]!) && length >= QUEUE_GROWTH * before[0]!
}

export function checkDamage({ damage }: NodeDiagnostics, node: string): Finding[] {
  const { rows, rowsLost, blocksCorrupted, blocksMissing, blockErrors } = damage
  const findings: Finding[] = []
  const add = (severity: Finding['severity'], check: string, message: string, help: string) =>
    findings.push({ severity, check, node, message, help })
  if (rowsLost > 0) {
    add(
      'error',
      'rows-lost',
      `${plural(rowsLost, 'row')} of the metadata ${rowsLost === 1 ? 'is' : 'are'} damaged, and no other replica has a copy: the log names them`,
      'bring nodes that are down back; restore a snapshot (carport meta restore); or let go of them: carport repair --yes damaged-rows',
    )
  }
  if (rows > rowsLost) {
    add(
      'warning',
      'rows-damaged',
      `${plural(rows - rowsLost, 'row')} of the metadata ${rows - rowsLost === 1 ? 'is' : 'are'} damaged and being fetched from the other replicas`,
      'smartctl -a: look at the disk and the memory of the machine; carport repair --yes scrub start verifies everything',
    )
  }
  if (blocksCorrupted > 0) {
    add(
      'warning',
      'blocks-damaged',
      `${plural(blocksCorrupted, 'block')} did not match the checksum and ${blocksCorrupted === 1 ? 'was' : 'were'} set aside`,
      'smartctl -a: look at the disk; carport repair --yes scrub start verifies all blocks',
    )
  }
  if (blocksMissing > 0) {
    add(
      'warning',
      'blocks-missing',
      `${plural(blocksMissing, 'block')} had no file when the scrub looked for ${blocksMissing === 1 ? 'it' : 'them'}`,
      'carport repair --yes blocks fetches what is missing',
    )
  }
  if (blockErrors > 0) {
    add(
      'error',
      'blocks-not-found',
      `${plural(blockErrors, 'block')} could not be fetched from any replica`,
      'carport block list-errors, then bring the nodes that have them back and carport block retry-now --all',
    )
  }
  return findings
}
