/** Checks of the machine of one node: who may read its secrets, the space and the speed of its disks, its snapshots. */

import { formatBytes } from '../../../cluster/layout/report.js'
import type { Finding, MachineFacts } from './facts.js'
import { span } from './findings.js'

const OTHERS = 0o077
/** Writes leave so much of a data disk free; below it they are refused. */
const RESERVED_BYTES = 256 * 1024 * 1024
const SPACE_LOW_BYTES = 2e9
const SPACE_LOW_SHARE = 0.05
/** A write waits for several fsyncs, so that these, in ms, are felt, and hurt. */
const FSYNC_SLOW_MS = 100
const FSYNC_BAD_MS = 500
/** Snapshots may be so much later than their interval says, as a factor. */
const SNAPSHOT_LATE = 2

const WHAT: Record<MachineFacts['secrets'][number]['what'], string> = {
  configuration: 'the configuration has secrets in it',
  secret: 'the file is a secret',
  nodeKey: "the node's key proves who this node is",
  metadata: 'the metadata folder has the secrets of all access keys',
  snapshots: 'snapshots of the metadata have the secrets of all access keys',
}

/** @param node the node's id; null if it is not known */
export function checkSecrets({ secrets }: MachineFacts, node: string | null): Finding[] {
  return secrets
    .filter(({ mode }) => (mode & OTHERS) !== 0)
    .map(({ what, path, mode }) => ({
      severity: 'error',
      check: 'secret-readable',
      node,
      message: `${path} may be read by other users (mode 0${mode.toString(8)}): ${WHAT[what]}`,
      help: `chmod ${what === 'metadata' || what === 'snapshots' ? '700' : '600'} ${path}`,
    }))
}

/** @param node the node's id; null if it is not known */
export function checkDisks({ volumes }: MachineFacts, node: string | null): Finding[] {
  return volumes.flatMap((volume) => {
    const { path, use, available, total, fsyncMs, problem, readOnly, lost } = volume
    const findings: Finding[] = []
    const add = (severity: Finding['severity'], check: string, message: string, help: string) =>
      findings.push({ severity, check, node, message, help })
    if (lost) {
      add(
        'error',
        'data-folder-lost',
        `the data folder ${path} is not the one that this node wrote to: its disk is not mounted, or was wiped. Nothing is ` +
          'written there',
        'mount the disk; if its blocks are lost: carport repair --yes blocks, which fetches them from the other replicas',
      )
    }
    if (problem !== null) {
      const full = problem === 'ENOSPC' || problem === 'EDQUOT'
      if (full)
        add('error', 'disk-full', `the disk of ${path} is full: nothing can be written`, roomHelp(use))
      else {
        add(
          'error',
          'disk-unusable',
          `the folder ${path} cannot be used (${problem})`,
          'look at the mount, its permissions and the disk (smartctl -a), then restart the node',
        )
      }
      return findings
    }
    if (!readOnly && total > 0 && available < RESERVED_BYTES) {
      const text = `the disk of ${path} is full: ${formatBytes(available)} of ${formatBytes(total)} are free, and writes are refused below ${formatBytes(RESERVED_BYTES)}`
      add('error', 'disk-full', text, roomHelp(use))
    } else if (!readOnly && total > 0 && isLow(available, total)) {
      const text = `the disk of ${path} is nearly full: ${formatBytes(available)} of ${formatBytes(total)} are free`
      add('warning', 'disk-nearly-full', text, roomHelp(use))
    }
    if (fsyncMs !== null && fsyncMs >= FSYNC_SLOW_MS) {
      const bad = fsyncMs >= FSYNC_BAD_MS
      add(
        bad ? 'error' : 'warning',
        'disk-slow',
        `the disk of ${path} takes ${Math.round(fsyncMs)} ms for a small write with an fsync, and each PUT waits for several`,
        'smartctl -a tells whether the disk is failing; else move the folder to an SSD, or give other programs less of this one',
      )
    }
    return findings
  })
}

function isLow(available: number, total: number): boolean {
  return available < Math.max(SPACE_LOW_BYTES, SPACE_LOW_SHARE * total) && available < total / 2
}

function roomHelp(use: 'metadata' | 'data'): string {
  return use === 'data'
    ? 'delete objects, add a folder to data_dir, or give the node less capacity: carport layout assign <node> -c <size>'
    : 'make room on the disk of metadata_dir: remove old snapshots or other files, or move the folder while the node is stopped'
}

/** @param node the node's id; null if it is not known */
export function checkSnapshots(
  { snapshots }: MachineFacts,
  node: string | null,
  uptimeSecs: number,
): Finding[] {
  const { intervalSecs, newestSecsAgo } = snapshots
  if (intervalSecs === null) return []
  const ageSecs = Math.min(newestSecsAgo ?? Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER)
  if (Math.min(ageSecs, uptimeSecs) <= SNAPSHOT_LATE * intervalSecs) return []
  return [
    {
      severity: 'warning',
      check: 'snapshot-late',
      node,
      message:
        newestSecsAgo === null
          ? `there is no snapshot of the metadata, though one is wanted every ${span(intervalSecs)}`
          : `the newest snapshot of the metadata is ${span(newestSecsAgo)} old, though one is wanted every ${span(intervalSecs)}`,
      help: 'carport meta snapshot, and see in the log why the automatic ones fail',
    },
  ]
}
