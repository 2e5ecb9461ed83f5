import type { RestoreSource } from '../../node/restore-metadata.js'
import { type Output, UsageError } from '../admin-client.js'
import { type GlobalFlags, readSettings } from '../config-source.js'
import type { CliIo } from '../io.js'

export interface RestoreOptions {
  snapshot: string | undefined
  fromReplicas: boolean
  yes: boolean
}

/** `meta restore`: replaces the database of a node that does not run. */
export async function restore(io: CliIo, flags: GlobalFlags, options: RestoreOptions): Promise<Output> {
  const { snapshot, fromReplicas, yes } = options
  if (fromReplicas && snapshot !== undefined)
    throw new UsageError('give a snapshot or --from-replicas, not both')
  const settings = readSettings(io, flags)
  if (!yes) {
    throw new UsageError(
      `this replaces the database in ${settings.metadataDir} of this node, which must be stopped: confirm with --yes`,
    )
  }
  const source: RestoreSource = fromReplicas
    ? 'replicas'
    : snapshot === undefined
      ? 'newest'
      : { folder: snapshot }
  const restored = await io.restoreMetadata(settings, source)
  const lines = [
    restored.snapshot === null
      ? 'The next start begins with an empty database, and fetches its rows from the other replicas.'
      : `The database is that of the snapshot ${restored.snapshot} now.`,
    ...(restored.before === null
      ? []
      : [`The one before is ${restored.before}: remove it once all is well.`]),
    settings.replicationFactor === 1
      ? 'What was written after the snapshot is gone, and blocks that were deleted since must come from a backup of data_dir.'
      : 'Start the server: it copies from the other replicas what is missing. "carport status" shows how many partitions are compared.',
  ]
  return { json: restored, text: lines.join('\n') }
}
