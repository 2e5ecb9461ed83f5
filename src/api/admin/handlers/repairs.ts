import type { RepairProgress } from '../../../block/repair.js'
import type { Tx } from '../../../db/db.js'
import type { Referrer } from '../../../model/content/referrer.js'
import { type Content, hashesOf } from '../../../model/content/refs.js'
import type { PartRow } from '../../../model/uploads/tables.js'
import { referrerOf } from '../../../model/versions/tables.js'
import type { LocalTable } from '../../../table/local.js'
import { successor } from '../../../table/row-keys.js'
import { sleep } from '../../../util/clock.js'
import { CarportError } from '../../../util/errors.js'
import type { RepairType, ScrubCommand } from '../operation-schemas.js'
import type { AdminContext } from './context.js'
import type { RunProgress } from './repair-runs.js'

/** How long `repair scrub pause` lasts, in ms: a day, as in Garage. */
const SCRUB_PAUSE_MS = 86_400_000
/** Rows handled by one transaction. */
const BATCH_ROWS = 200
/** The number of references that may wait to be carried before the repair that queues them pauses. */
const QUEUED_REFS_MAX = 2000
const REST_MS = 200

/**
 * Starts a repair on this node; it continues in the background.
 * @throws CarportError Conflict if it runs already; InvalidArgument for a repair that cannot be needed here
 */
export async function launchRepair(context: AdminContext, type: RepairType): Promise<null> {
  if (typeof type === 'object') {
    await commandScrub(context, type.scrub)
    return null
  }
  const { repairs, blocks, tables, model } = context
  switch (type) {
    case 'tables':
      repairs.start(type, async () => {
        if (!(await tables.sync.syncNow())) {
          throw new CarportError('PeerUnreachable', 'some tables could not be compared with all replicas')
        }
      })
      break
    case 'blocks':
      repairs.start(type, async (signal, progress) => {
        await context.machine.acceptFolders()
        await follow(progress, (options) => blocks.repair.resyncAll({ signal, ...options }))
      })
      break
    case 'blockRc':
      repairs.start(type, (signal, progress) =>
        follow(progress, (options) => blocks.repair.verifyCounters({ signal, ...options })),
      )
      break
    case 'rebalance':
      repairs.start(type, (signal, progress) =>
        follow(progress, (options) => blocks.repair.rebalance({ signal, ...options })),
      )
      break
    case 'blockRefs':
      repairs.start(type, (signal, progress) => announceReferences(context, signal, progress))
      break
    case 'damagedRows':
      repairs.start(type, async (_, progress) => {
        progress.checked = await tables.damaged.repairNow()
        progress.changed = (await tables.damaged.forgetGivenUp()).length
      })
      break
    case 'multipartUploads':
      repairs.start(type, (signal, progress) => purgeStrayParts(context, signal, progress))
      break
    case 'trustCopies':
      repairs.start(type, async (_, progress) => {
        progress.changed = await tables.sync.trustCopies()
      })
      break
    case 'restoreAside':
      repairs.start(type, async (signal, progress) => {
        progress.changed = await tables.restoreAside(signal)
      })
      break
    case 'aliases':
      repairs.start(type, async (_, progress) => {
        progress.changed = await model.buckets.repairAliases()
      })
      break
    case 'clearResyncQueue':
      repairs.start(type, (signal, progress) =>
        follow(progress, (options) => blocks.repair.clearQueue({ signal, ...options })),
      )
      break
    case 'versions':
      throw new CarportError(
        'InvalidArgument',
        'there is nothing to repair in versions: Carport keeps them in the rows of their objects, and changes both in one ' +
          'transaction; "repair tables" compares the rows with the other replicas, "repair block-refs" their references',
      )
  }
  return null
}

async function commandScrub({ blocks, scrubs }: AdminContext, command: ScrubCommand): Promise<void> {
  if (!scrubs) {
    throw new CarportError(
      'InvalidArgument',
      'this node does not scrub: set disable_scrub = false and restart it',
    )
  }
  const { scrub } = blocks
  if (command === 'start') return scrub.begin()
  if (command === 'resume') return scrub.resume()
  if (command === 'cancel' && !scrub.status().running) {
    throw new CarportError('Conflict', 'no scrub is running that could be cancelled')
  }
  return command === 'pause' ? scrub.pause(SCRUB_PAUSE_MS) : scrub.cancel()
}

async function follow(
  progress: RunProgress,
  run: (options: { onProgress: (progress: RepairProgress) => void }) => Promise<RepairProgress>,
): Promise<void> {
  const onProgress = (now: RepairProgress) => void Object.assign(progress, now)
  onProgress(await run({ onProgress }))
}

/**
 * Queues the references of all rows of this node again. Those that exist already cost nothing further; those
 * of rows deleted meanwhile stay deleted.
 */
async function announceReferences(
  context: AdminContext,
  signal: AbortSignal,
  progress: RunProgress,
): Promise<void> {
  const { model, blocks, clock } = context
  const { object, version, part, list } = model.tables
  const { refs } = blocks
  const announce = (tx: Tx, of: Referrer, hashes: readonly Buffer[]) => {
    model.enqueueRefs(tx, of, hashes, false)
    return hashes.length
  }
  const ofContent = (tx: Tx, of: Referrer, content: Content) =>
    content.kind === 'blocks' ? announce(tx, of, hashesOf(content.blocks)) : 0
  const rest = async () => {
    while (refs.stats().queued > QUEUED_REFS_MAX) await sleep(clock, REST_MS, signal)
  }
  for (const { local } of [object, version]) {
    await walk(context, local, signal, progress, rest, (tx, row) =>
      row.state === 'tombstone' ? 0 : ofContent(tx, referrerOf(row), row.content),
    )
  }
  await walk(context, part.local, signal, progress, rest, (tx, row) =>
    row.deleted ? 0 : ofContent(tx, { kind: 'part', ...row }, row.content),
  )
  await walk(context, list.local, signal, progress, rest, (tx, row) =>
    row.deleted || row.kind !== 'blocks'
      ? 0
      : announce(tx, { ...row, kind: 'list', id: row.owner }, hashesOf(row.data)),
  )
}

/** Visits all rows of this node's copy of a table, in transactions of a batch each. `visit` returns what it changed. */
async function walk<E>(
  { db, clock }: AdminContext,
  local: LocalTable<E>,
  signal: AbortSignal,
  progress: RunProgress,
  rest: () => Promise<void>,
  visit: (tx: Tx, row: E) => number,
): Promise<void> {
  let start: Buffer | undefined
  for (;;) {
    signal.throwIfAborted()
    const { last, rows, changed } = await db.transact((tx) => {
      const batch = [...local.walk(tx, { ...(start && { start }), limit: BATCH_ROWS })]
      let changes = 0
      for (const { head } of batch)
        changes += visit(
          tx,
          local.codec.decodeStored(head, () => undefined),
        )
      return { last: batch.at(-1)?.rowKey, rows: batch.length, changed: changes }
    })
    progress.checked += rows
    progress.changed += changed
    if (rows < BATCH_ROWS || !last) return
    start = successor(last)
    await rest()
    // Transactions take turns, but without a pause this loop would hardly leave any to requests.
    await sleep(clock, 1, signal)
  }
}

/** Deletes parts of uploads that ended while the part was on its way. */
async function purgeStrayParts(
  context: AdminContext,
  signal: AbortSignal,
  progress: RunProgress,
): Promise<void> {
  const { db, model } = context
  const uploads = new Map<string, PartRow>()
  await walk(
    context,
    model.tables.part.local,
    signal,
    progress,
    async () => {},
    (_, row) => {
      if (!row.deleted) uploads.set(row.uploadId.toString('hex'), row)
      return 0
    },
  )
  for (const { bucket, key, uploadId } of uploads.values()) {
    signal.throwIfAborted()
    // Asks a majority: an upload exists before its first part, and an ended one never comes back.
    if (await model.uploads.get(bucket, key, uploadId)) continue
    await db.transact((tx) => model.purge.enqueue(tx, 'parts', bucket, uploadId))
    progress.changed++
  }
}
