import { singleNodeConfig } from '../../config/single-node.js'
import { CliError, type Output, UsageError } from '../admin-client.js'
import { findConfig, type GlobalFlags, readFullConfig } from '../config-source.js'
import { shortId } from '../format.js'
import type { CliIo } from '../io.js'

/** What `offline-repair` takes. */
export const OFFLINE_REPAIRS = ['object_counters', 'k2v_item_counters'] as const

/** `offline-repair`: works on the folders of a node that does not run. */
export async function offlineRepair(
  io: CliIo,
  flags: GlobalFlags,
  what: string,
  confirmed: boolean | undefined,
): Promise<Output> {
  const repair = OFFLINE_REPAIRS.find((known) => known === what)
  if (repair === undefined) {
    throw new UsageError(`"${what}" is no offline repair, expected one of: ${OFFLINE_REPAIRS.join(', ')}`)
  }
  if (repair === 'k2v_item_counters') {
    throw new CliError('there is nothing to repair: this version stores no counters of K2V items')
  }
  if (!confirmed) {
    throw new UsageError('this changes the database of a node, which must be stopped: confirm with --yes')
  }
  const { rows, buckets, corrected } = await io.repairObjectCounters(readConfig(io, flags))
  const result =
    corrected.length === 0
      ? 'All counters were right.'
      : `The counters of ${corrected.length} were wrong and are right now: ${corrected.map(shortId).join(', ')}`
  return { json: { rows, buckets, corrected }, text: `${rows} rows of ${buckets} buckets counted. ${result}` }
}

function readConfig(io: CliIo, flags: GlobalFlags) {
  const location = findConfig(io, flags)
  if (!('dataDir' in location)) return readFullConfig(io, location)
  return singleNodeConfig({ dataDir: location.dataDir, env: io.env, readSecretFile: io.readSecretFile })
}

/** `convert-db`. @throws CliError always */
export function convertDb(): never {
  throw new CliError(
    'there is nothing to convert: Carport has one engine for its metadata, LMDB, and no other program reads or writes them; ' +
      '"carport migrate" copies what a Garage cluster stores',
  )
}
