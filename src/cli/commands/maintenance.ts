import type { BlockInfo, WorkerInfo } from '../../api/admin/types.js'
import { type AdminClient, type Output, UsageError } from '../admin-client.js'
import { formatAgo, formatSpan, shortId, table } from '../format.js'
import { onlyAnswer } from '../lookup.js'
import { perNode } from '../per-node.js'
import { motionLines, motionOf } from './motion.js'

/** `worker list`: busy ones first. */
export async function listWorkers(
  admin: AdminClient,
  options: { busyOnly: boolean; errorOnly: boolean },
): Promise<Output> {
  const workers = onlyAnswer(await admin.call('worker.list', { node: 'self', ...options }))
  const motion = await motionOf(admin)
  const rank = ({ state }: WorkerInfo) => (state === 'idle' ? 1 : state === 'done' ? 2 : 0)
  const sorted = [...workers].sort((a, b) => rank(a) - rank(b) || a.id - b.id)
  return {
    json: workers,
    text: [
      table([
        ['TID', 'State', 'Name', 'Tranq', 'Done', 'Queue', 'Errors', 'Consec', 'Last'],
        ...sorted.map((worker) => [
          String(worker.id),
          workerState(worker),
          worker.name,
          optionalNumber(worker.tranquility),
          worker.progress ?? '-',
          optionalNumber(worker.queueLength),
          worker.errors > 0 ? String(worker.errors) : '-',
          worker.errors > 0 ? String(worker.consecutiveErrors) : '-',
          worker.lastError === null ? '' : formatAgo(worker.lastError.secsAgo),
        ]),
      ]),
      // The workers are those of one node; what is left to do, and for how long, is that of all.
      ...(motion && !motion.done ? motionLines(motion) : []),
    ].join('\n'),
  }
}

/** `worker info`. */
export async function workerInfo(admin: AdminClient, id: number): Promise<Output> {
  const worker = onlyAnswer(await admin.call('worker.info', { node: 'self', id }))
  const rows: string[][] = [
    ['Task id:', String(worker.id)],
    ['Worker name:', worker.name],
    ['Worker state:', workerState(worker)],
    ['Tranquility:', optionalNumber(worker.tranquility)],
    ['Total errors:', String(worker.errors)],
    ['Consecutive errors:', String(worker.consecutiveErrors)],
  ]
  if (worker.lastError !== null) {
    rows.push(['Last error:', `${worker.lastError.message} (${formatAgo(worker.lastError.secsAgo)})`])
  }
  rows.push(
    ['Progress:', worker.progress ?? '-'],
    ['Queue length:', optionalNumber(worker.queueLength)],
    ['Persistent errors:', optionalNumber(worker.persistentErrors)],
    ...worker.freeform.map((line, i) => [i === 0 ? 'Message:' : '', line]),
  )
  return { json: worker, text: table(rows) }
}

/** `worker get`. */
export async function getVariables(
  admin: AdminClient,
  node: string,
  variable: string | undefined,
): Promise<Output> {
  const response = await admin.call('worker.getVariable', { node, variable: variable ?? null })
  return perNode(response, (id, variables) =>
    Object.entries(variables).map(([name, value]) => [shortId(id), name, value]),
  )
}

/** `worker set`. */
export async function setVariable(
  admin: AdminClient,
  node: string,
  variable: string,
  value: string,
): Promise<Output> {
  const response = await admin.call('worker.setVariable', { node, variable, value })
  return perNode(response, (id, set) => [[shortId(id), set.variable, set.value]])
}

/** `block list-errors`. */
export async function listBlockErrors(admin: AdminClient): Promise<Output> {
  const errors = onlyAnswer(await admin.call('block.listErrors', { node: 'self' }))
  return {
    json: errors,
    text: table([
      ['Hash', 'RC', 'Errors', 'Last error', 'Next try'],
      ...errors.map((e) => [
        e.blockHash,
        String(e.refcount),
        String(e.errorCount),
        formatAgo(e.lastTrySecsAgo),
        e.nextTryInSecs > 0 ? `in ${formatSpan(e.nextTryInSecs)}` : 'asap',
      ]),
    ]),
  }
}

/** `block info`. */
export async function blockInfo(admin: AdminClient, hash: string): Promise<Output> {
  const block = onlyAnswer(await admin.call('block.info', { node: 'self', blockHash: hash.toLowerCase() }))
  const active = block.versions.filter((version) => !version.refDeleted).length
  const lines = [
    '==== BLOCK INFORMATION ====',
    table([
      ['Block hash:', block.blockHash],
      ['Refcount:', String(block.refcount)],
    ]),
    '',
    '==== REFERENCES TO THIS BLOCK ====',
    table([['Status', 'Version', 'Bucket', 'Key', 'Upload'], ...block.versions.map(referenceRow)]),
  ]
  if (active !== block.refcount) {
    lines.push(
      '',
      `The count is ${block.refcount} for ${active} references: "carport repair block-rc" counts anew.`,
    )
  }
  return { json: block, text: lines.join('\n') }
}

function referenceRow(version: BlockInfo['versions'][number]): string[] {
  const status = version.refDeleted ? 'deleted' : 'active'
  const id = shortId(version.versionId) + (version.versionDeleted ? ' (deleted)' : '')
  const link = version.backlink
  if (link === null) return [status, id, '', '', '']
  if ('object' in link) return [status, id, shortId(link.object.bucketId), link.object.key, '']
  const { upload } = link
  const uploadId = shortId(upload.uploadId) + (upload.uploadDeleted ? ' (deleted)' : '')
  return [status, id, shortId(upload.bucketId ?? ''), upload.key ?? '', uploadId]
}

/** `block retry-now`. */
export async function retryBlocks(admin: AdminClient, all: boolean, hashes: string[]): Promise<Output> {
  if (all === hashes.length > 0) throw new UsageError('give hashes of blocks, or --all, not both')
  const args = all ? { node: 'self', all: true as const } : { node: 'self', blockHashes: lowerCase(hashes) }
  const result = onlyAnswer(await admin.call('block.retryResync', args))
  return { json: result, text: `${result.count} blocks are queued for another try now.` }
}

/** `block purge`. */
export async function purgeBlocks(
  admin: AdminClient,
  confirmed: boolean | undefined,
  hashes: string[],
): Promise<Output> {
  if (!confirmed)
    throw new UsageError('this deletes every object that needs one of these blocks: confirm with --yes')
  const result = onlyAnswer(await admin.call('block.purge', { node: 'self', blockHashes: lowerCase(hashes) }))
  const text = table([
    ['Blocks purged:', String(result.blocksPurged)],
    ['Block references deleted:', String(result.blockRefsPurged)],
    ['Versions deleted:', String(result.versionsDeleted)],
    ['Objects deleted:', String(result.objectsDeleted)],
    ['Uploads deleted:', String(result.uploadsDeleted)],
  ])
  return { json: result, text }
}

/** `meta snapshot`. */
export async function snapshot(admin: AdminClient, node: string): Promise<Output> {
  const response = await admin.call('meta.snapshot', { node })
  return perNode(response, (id) => [[shortId(id), 'Snapshot created']])
}

function lowerCase(hashes: readonly string[]): string[] {
  return hashes.map((hash) => hash.toLowerCase())
}

function workerState({ state }: WorkerInfo): string {
  if (typeof state === 'string') return state[0]!.toUpperCase() + state.slice(1)
  return `Busy* (${state.throttled.durationSecs.toFixed(3)} s)`
}

function optionalNumber(value: number | null): string {
  return value === null ? '-' : String(value)
}
