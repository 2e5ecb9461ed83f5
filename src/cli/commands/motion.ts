import type { ClusterProgress, NodeProgress } from '../../api/admin/types.js'
import type { AdminClient } from '../admin-client.js'
import { formatSize, formatSpan, shortId, table } from '../format.js'

/** What all nodes have still to do; undefined if that cannot be told: a node of an earlier release does not know the question. */
export async function motionOf(admin: AdminClient): Promise<ClusterProgress | undefined> {
  return admin.call('cluster.progress', {}).catch(() => undefined)
}

/** How much a node has still to do: rows, blocks and partitions together. */
export function leftOf(node: NodeProgress): number {
  const { blocksToFetch, partitionsToCompare, partitionsToHandOver, copiesJoining, writesToSend } = node
  const left = blocksToFetch + partitionsToCompare + partitionsToHandOver + copiesJoining + writesToSend
  // What could not be done so far is part of the blocks to fetch, or keeps a node from giving blocks away.
  return left === 0 ? node.blocksFailed : left
}

/** The work of the whole cluster, as a section of `status`; no lines when nothing is to be done. */
export function motionLines(progress: ClusterProgress): string[] {
  const { total, layout, nodes, unknown, safeToStop, done } = progress
  const lines = done ? [] : ['', '==== DATA IN MOTION ====', table(rowsOf(progress))]
  for (const [id, { repairs }] of Object.entries(nodes)) {
    for (const { name, share, changed, secondsLeft } of repairs) {
      const part = share === null ? '' : `${(100 * share).toFixed(1)} %, `
      lines.push(
        `${shortId(id)} runs the repair ${name}: ${part}${changed} changed, ${timeLeft(secondsLeft)}`,
      )
    }
  }
  if (total.blocksFailed > 0) {
    lines.push(
      `${total.blocksFailed} blocks could not be had so far: "carport block list-errors" on their nodes.`,
    )
  }
  for (const [id, reason] of Object.entries(unknown)) {
    lines.push(`${shortId(id)} does not answer, so that what it has to do is not known: ${reason}`)
  }
  if (layout.behind.length > 0) {
    lines.push(`The change of the layout waits for ${layout.behind.map(shortId).join(', ')}.`)
  }
  if (safeToStop.length > 0) {
    lines.push(
      '',
      `Holds nothing that others need, and may be stopped for good: ${safeToStop.map(shortId).join(', ')}`,
    )
  }
  return lines
}

function rowsOf({ total, layout, secondsLeft }: ClusterProgress): string[][] {
  const rows: [string, number, string?][] = [
    ['Blocks to fetch:', total.blocksToFetch, blockRate(total)],
    ['Partitions to compare:', total.partitionsToCompare],
    ['Partitions to hand over:', total.partitionsToHandOver],
    ['Copies that do not count in reads yet:', total.copiesJoining],
    ['Missed writes to send:', total.writesToSend],
  ]
  const { oldestVersion, newestVersion } = layout
  return [
    ...(oldestVersion === newestVersion
      ? []
      : [['Layout:', `version ${oldestVersion} counts until ${newestVersion} is complete`]]),
    ...rows
      .filter(([, count]) => count > 0)
      .map(([name, count, more]) => [name, more ? `${count}, ${more}` : String(count)]),
    ['Time left:', secondsLeft === null ? 'not known yet' : about(secondsLeft)],
  ]
}

function blockRate({
  blocksFetched,
  bytesFetched,
  blocksPerSec,
  bytesPerSec,
}: ClusterProgress['total']): string {
  const fetched = `${blocksFetched} fetched (${formatSize(bytesFetched)})`
  if (blocksPerSec === 0) return fetched
  return `${fetched}, ${blocksPerSec.toFixed(1)}/s (${formatSize(Math.round(bytesPerSec))}/s)`
}

function timeLeft(seconds: number | null): string {
  return seconds === null ? 'the time left is not known' : `${about(seconds)} left`
}

function about(seconds: number): string {
  return `about ${formatSpan(Math.max(1, seconds))}`
}
