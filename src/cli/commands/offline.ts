import { singleNodeConfig } from '../../config/single-node.js'
import { CliError, type Output, UsageError } from '../admin-client.js'
import { findConfig, type GlobalFlags, readFullConfig } from '../config-source.js'
import { printable } from '../format.js'
import type { CliIo } from '../io.js'

/** What `offline-repair` takes. */
export const OFFLINE_REPAIRS = ['object_counters', 'k2v_item_counters'] as const

/** Counters that were wrong are named up to this number. */
const NAMED_MAX = 20

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
  if (!confirmed) {
    throw new UsageError('this changes the database of a node, which must be stopped: confirm with --yes')
  }
  const kind = repair === 'k2v_item_counters' ? 'k2v' : 'objects'
  const { rows, counters, corrected } = await io.repairCounters(readConfig(io, flags), kind)
  const things = kind === 'k2v' ? 'partition keys' : 'buckets'
  const some = corrected.slice(0, NAMED_MAX).join(', ') + (corrected.length > NAMED_MAX ? ', …' : '')
  const result =
    corrected.length === 0
      ? 'All counters were right.'
      : `The counters of ${corrected.length} were wrong and are right now: ${printable(some)}`
  return {
    json: { rows, counters, corrected },
    text: `${rows} rows of ${counters} ${things} counted. ${result}`,
  }
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
