import { readFileSync } from 'node:fs'
import { open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { MachineFacts } from '../api/admin/types.js'
import type { Settings } from '../config/config.js'
import { secretFilesOf } from '../config/secret-files.js'
import type { Env } from '../config/secrets.js'
import type { Clock } from '../util/clock.js'
import type { Random } from '../util/random.js'
import { SNAPSHOT_NAME } from './metadata-snapshot.js'
import { NODE_KEY_FILE } from './node-key.js'

/** Writes of which the median is a disk's time for an fsync. */
const FSYNCS = 5
const FSYNC_BYTES = 4096
/** A disk that takes longer for one fsync, in ms, is slow beyond doubt: the others are left out. */
const FSYNC_MS_ENOUGH = 2000

type SecretFact = MachineFacts['secrets'][number]
type VolumeFact = MachineFacts['volumes'][number]

export interface MachineFactsInput {
  settings: Pick<
    Settings,
    | 'configFile'
    | 'metadataDir'
    | 'metadataSnapshotsDir'
    | 'metadataAutoSnapshotIntervalMs'
    | 'dataDirs'
    | 'metadataFsync'
  >
  env: Env
  clock: Clock
  random: Random
  /** Reads a text file; the configuration. */
  readText: (path: string) => string
  /** Secrets of a single node, which has no configuration that names them. */
  secretFiles?: readonly string[]
  /** Writable data folders whose disk seems not to be there. */
  lostFolders?: readonly string[]
}

/** Looks at this machine for what administrators should know: who may read secrets, the space and the speed of disks. */
export async function machineFacts(input: MachineFactsInput): Promise<MachineFacts> {
  const { settings, clock } = input
  const [secrets, volumes, snapshots] = await Promise.all([
    secretFacts(input),
    volumeFacts(input),
    snapshotFacts(settings.metadataSnapshotsDir, clock),
  ])
  const intervalMs = settings.metadataAutoSnapshotIntervalMs
  return {
    secrets,
    volumes,
    snapshots: { ...snapshots, intervalSecs: intervalMs === null ? null : intervalMs / 1000 },
  }
}

async function secretFacts(input: MachineFactsInput): Promise<SecretFact[]> {
  const { configFile, metadataDir, metadataSnapshotsDir } = input.settings
  const places: { what: SecretFact['what']; path: string }[] = [
    { what: 'metadata', path: metadataDir },
    { what: 'nodeKey', path: join(metadataDir, NODE_KEY_FILE) },
    { what: 'snapshots', path: metadataSnapshotsDir },
    ...(input.secretFiles ?? []).map((path) => ({ what: 'secret' as const, path })),
  ]
  const named = secretFilesOf(configFile === null ? '' : textOf(input, configFile), input.env)
  if (configFile !== null && named.inline) places.push({ what: 'configuration', path: configFile })
  for (const { path } of named.files) places.push({ what: 'secret', path })
  const seen = new Set<string>()
  const facts: SecretFact[] = []
  for (const { what, path } of places) {
    if (seen.has(path)) continue
    seen.add(path)
    const found = await stat(path).catch(() => undefined)
    if (found) facts.push({ what, path, mode: found.mode & 0o777 })
  }
  return facts
}

function textOf({ readText }: MachineFactsInput, path: string): string {
  try {
    return readText(path)
  } catch {
    // A node may run as a user who cannot read it any more.
    return ''
  }
}

async function volumeFacts(input: MachineFactsInput): Promise<VolumeFact[]> {
  const { metadataDir, dataDirs } = input.settings
  const places = [
    { use: 'metadata' as const, path: metadataDir, readOnly: false, lost: false },
    ...dataDirs.map(({ path, readOnly }) => ({
      use: 'data' as const,
      path,
      readOnly,
      lost: input.lostFolders?.includes(path) ?? false,
    })),
  ]
  const facts: VolumeFact[] = []
  // One after the other: folders of one disk would only measure how they wait for each other.
  for (const place of places) facts.push({ ...place, ...(await volumeFact(place, input)) })
  return facts
}

async function volumeFact(
  { path, readOnly }: { path: string; readOnly: boolean },
  input: MachineFactsInput,
): Promise<Pick<VolumeFact, 'available' | 'total' | 'fsyncMs' | 'problem'>> {
  let space = { available: 0, total: 0 }
  try {
    const { bavail, blocks, bsize } = await statfs(path)
    space = { available: bavail * bsize, total: blocks * bsize }
    return { ...space, fsyncMs: readOnly ? null : await fsyncMs(path, input), problem: null }
  } catch (error) {
    return { ...space, fsyncMs: null, problem: String((error as NodeJS.ErrnoException).code ?? error) }
  }
}

/** The median time of a small write with an fsync in a folder, in ms. */
async function fsyncMs(folder: string, { clock, random }: MachineFactsInput): Promise<number> {
  const path = join(folder, `.carport-fsync-${random.bytes(6).toString('hex')}.tmp`)
  const content = Buffer.alloc(FSYNC_BYTES)
  const times: number[] = []
  const file = await open(path, 'wx', 0o600)
  try {
    for (let i = 0; i < FSYNCS; i++) {
      const sinceMs = clock.monotonicMs()
      await file.write(content, 0, content.length, 0)
      await file.datasync()
      times.push(clock.monotonicMs() - sinceMs)
      if (times.at(-1)! > FSYNC_MS_ENOUGH) break
    }
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)]!
}

async function snapshotFacts(
  folder: string,
  clock: Clock,
): Promise<{ count: number; newestSecsAgo: number | null }> {
  const names = (await readdir(folder).catch(() => [] as string[])).filter((name) => SNAPSHOT_NAME.test(name))
  const newest = names.sort().at(-1)
  const ageMs = newest === undefined ? null : clock.nowMs() - Date.parse(newest)
  return { count: names.length, newestSecsAgo: ageMs === null ? null : Math.max(0, Math.round(ageMs / 1000)) }
}

export function readTextFile(path: string): string {
  return readFileSync(path, 'utf8')
}
