/** A simulated cluster for single histories: the steps that a test takes on it, and the answers that clients see. */
import { createHash } from 'node:crypto'
import type { Versioning } from '../src/model/buckets/documents.js'
import type { BodySource } from '../src/model/content/blobs.js'
import { readListed } from '../src/model/versions/codec.js'
import type { Precondition } from '../src/model/versions/conditional-writes.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { SimCluster, type SimClusterOptions, type SimNode } from './sim-cluster.js'

export const HOUR_MS = 3600_000

/** Three nodes in three zones, whose clocks are right. */
export const THREE_NODES: SimClusterOptions = {
  seed: 7,
  nodes: 3,
  zones: 3,
  replicationFactor: 3,
  blockBytes: 4096,
  clockSkewMs: 0,
  path: { latencyMs: 2, jitterMs: 1, lossShare: 0, bytesPerMs: 10_000 },
  tables: {},
  graces: { unreferencedMs: 600_000, unclaimedMs: 24 * HOUR_MS },
}

/** Runs `history` on a cluster that has started, in virtual time. */
export async function onCluster(
  options: Partial<SimClusterOptions>,
  history: (cluster: SimCluster) => Promise<void>,
): Promise<void> {
  const cluster = new SimCluster({ ...THREE_NODES, ...options })
  const run = async () => {
    await cluster.start()
    await history(cluster)
  }
  await cluster.clock.runUntil(run(), 100 * HOUR_MS)
}

function sourceOf(content: Buffer): BodySource {
  return {
    length: content.length,
    readAll: async () => content,
    async *stream() {
      yield content
    },
  }
}

/** Puts an object at a node. */
export async function put(
  node: SimNode,
  bucket: Buffer,
  key: string,
  content: Buffer | string,
  versioning: Versioning = 'off',
  precondition?: Precondition,
): Promise<VersionRecord> {
  const { model } = node.core!
  const stored = await model.blobs.write(sourceOf(Buffer.from(content)))
  const place = { bucket, key: Buffer.from(key), etag: stored.md5, etagParts: 0, owner: '' }
  return model.objects.put(
    { ...place, headers: {}, metadata: {}, mutable: {} },
    stored,
    versioning,
    precondition,
  )
}

/** Deletes a key at a node, without versions. */
export async function remove(node: SimNode, bucket: Buffer, key: string): Promise<void> {
  await node.core!.model.objects.delete(bucket, Buffer.from(key), '', 'off')
}

/** Gets an object at a node: its content (longer ones as length and MD5), or the reason why there is none. */
export async function get(node: SimNode, bucket: Buffer, key: string, version?: Buffer): Promise<string> {
  const { model } = node.core!
  const found = await model.objects.get(bucket, Buffer.from(key), version)
  if (!found) return 'nothing'
  if (found.state !== 'object') return found.state
  const parts: Buffer[] = []
  for await (const part of model.blobs.read(found, 0, found.size)) parts.push(Buffer.from(part))
  const content = Buffer.concat(parts)
  if (content.length < 40) return content.toString()
  return `${content.length} bytes ${createHash('md5').update(content).digest('hex').slice(0, 8)}`
}

/** As `get`, until a quorum answers; the codes of refusals before are added to `refusals`. */
export async function getWhenServed(
  cluster: SimCluster,
  node: SimNode,
  bucket: Buffer,
  key: string,
  refusals: string[] = [],
): Promise<string> {
  for (;;) {
    try {
      return await get(node, bucket, key)
    } catch (error) {
      refusals.push((error as { code?: string }).code ?? String(error))
      await cluster.clock.sleep(50)
    }
  }
}

/** A node's own copy of a key's row: its state, or '-'. */
export function copyOn(node: SimNode, bucket: Buffer, key: string): string {
  const { object } = node.core!.model.tables
  return object.local.get(node.machine.platform!.db, bucket, Buffer.from(key))?.state ?? '-'
}

/** The ETags of all versions of a bucket, or of the keys that begin so, as a node lists them; sorted. */
export async function etagsListed(node: SimNode, bucket: Buffer, prefix = ''): Promise<string[]> {
  const empty = Buffer.alloc(0)
  const range = { prefix: Buffer.from(prefix), delimiter: empty, start: empty, afterVersion: empty }
  const { entries } = await node.core!.model.versionListing.page({ bucket, ...range, limit: 1000 })
  return entries.map(({ head }) => readListed(head!).etag.slice(0, 32)).sort()
}

/** A bucket whose rows are on these nodes, among others, in the layout of now. */
export async function bucketOn(cluster: SimCluster, ...nodes: readonly SimNode[]): Promise<Buffer> {
  const [first] = cluster.nodes as [SimNode]
  for (let i = 0; ; i++) {
    const { id } = await first.core!.model.buckets.create(`bucket-${i}`)
    const replicas = first.core!.cluster.layout.storageSet(id[0]!)
    if (!nodes.every((node) => replicas.includes(node.id))) continue
    await cluster.clock.sleep(1000)
    return id
  }
}

/** Cuts every path between the nodes of `left` and those of `right`. Returns the function that heals it. */
export function cut(cluster: SimCluster, left: readonly SimNode[], right: readonly SimNode[]): () => void {
  return cluster.network.partition(
    left.map(({ id }) => id),
    right.map(({ id }) => id),
  )
}

/** The numbers of the layout versions that are live at a node. */
export function liveLayouts(node: SimNode): number[] {
  return node.core!.cluster.layout.history.versions.map(({ version }) => version)
}

/** Waits until a condition holds, looking every 50 ms. @throws Error after `withinMs` */
export async function waitUntil(
  cluster: SimCluster,
  what: string,
  condition: () => boolean,
  withinMs: number,
): Promise<void> {
  const untilMs = cluster.clock.monotonicMs() + withinMs
  while (!condition()) {
    if (cluster.clock.monotonicMs() >= untilMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await cluster.clock.sleep(50)
  }
}
