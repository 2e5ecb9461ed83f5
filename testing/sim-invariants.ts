import { createHash } from 'node:crypto'
import { blockRefSchema } from '../src/block/block-ref.js'
import { RefCounts } from '../src/block/rc.js'
import { CORRUPTED_SUFFIX } from '../src/block/store.js'
import { type BucketCounts, readCounts } from '../src/model/buckets/counters.js'
import { blockOwner, hashesOf } from '../src/model/content/refs.js'
import { bucketPartition } from '../src/model/sort-keys.js'
import { PURGE_TREE } from '../src/model/upkeep/purge.js'
import { placeKeyOf } from '../src/model/versions/chain.js'
import { readListed } from '../src/model/versions/codec.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { workersOf } from '../src/node/metrics/worker-metrics.js'
import { LocalTable } from '../src/table/local.js'
import { GC_TREE, RETRY_TREE } from '../src/table/row-keys.js'
import type { SimCluster, SimNode } from './sim-cluster.js'
import type { Workload } from './sim-workload.js'

const PARTITIONS = 256
const EMPTY = Buffer.alloc(0)
/** The most findings that are reported of one kind: a hole in the data shows up in many places. */
const PROBLEMS_PER_CHECK = 8
/** The most entries of a listing that are compared with what is stored. */
const LISTED_MAX = 1000

/**
 * Checks the state after nothing has failed for long enough: all replicas are equal, deleted rows are gone without a
 * trace, every block is where it is referenced and nowhere else, and everything that is counted is counted right.
 * Returns descriptions of all that does not hold.
 */
export async function checkQuiescent(w: Workload): Promise<string[]> {
  const { cluster } = w
  const ofNodes = [checkLayout, checkQueues, checkWorkers]
  const ofRows = [checkReplicas, checkTombstones, checkCounters, checkPlaces]
  const problems = [...ofNodes, ...ofRows].flatMap((check) => few(check(cluster)))
  problems.push(...few(checkReferences(cluster, w.owners)))
  problems.push(...few(await checkBlocks(cluster)))
  problems.push(...few(await checkListings(w)))
  problems.push(...few(await checkVersions(w)))
  return problems
}

function few(problems: string[]): string[] {
  const more = problems.length - PROBLEMS_PER_CHECK
  return more > 0 ? [...problems.slice(0, PROBLEMS_PER_CHECK), `… and ${more} more like that`] : problems
}

interface TableHere {
  name: string
  tableOf(node: SimNode): LocalTable<unknown>
}

function tablesOf(): TableHere[] {
  const names = ['object', 'version', 'list', 'upload', 'part', 'bucket', 'alias', 'key'] as const
  return [
    ...names.map((name) => ({
      name,
      tableOf: (node: SimNode) => node.core!.model.tables[name].local as unknown as LocalTable<unknown>,
    })),
    {
      name: 'k2v_item',
      tableOf: (node) => node.core!.model.k2v.items.local as unknown as LocalTable<unknown>,
    },
    { name: 'block_ref', tableOf: (node) => blockRefs(node) as unknown as LocalTable<unknown> },
  ]
}

function blockRefs(node: SimNode) {
  const { clock } = node.machine.platform!
  return new LocalTable(blockRefSchema(new RefCounts(clock)), () => 0)
}

function dbOf(node: SimNode) {
  return node.machine.platform!.db
}

function layoutOf(cluster: SimCluster) {
  return cluster.nodes[0]!.core!.cluster.layout
}

function replicasOf(cluster: SimCluster, partition: number): SimNode[] {
  const ids = layoutOf(cluster).view.storageSet(partition)
  return cluster.nodes.filter(({ id }) => ids.includes(id))
}

function checkLayout(cluster: SimCluster): string[] {
  const problems: string[] = []
  const first = layoutOf(cluster)
  for (const { core, index } of cluster.nodes) {
    const { layout } = core!.cluster
    if (layout.digest !== first.digest) problems.push(`node${index} has another layout than node0`)
    if (layout.history.versions.length !== 1)
      problems.push(`node${index}: layout versions ${layout.history.versions.map((v) => v.version)} are live`)
  }
  return problems
}

/** Tells of each queue that is not empty. */
export function checkQueues(cluster: SimCluster): string[] {
  const problems: string[] = []
  for (const node of cluster.nodes) {
    const db = dbOf(node)
    const queues = {
      'missed writes': db.count(RETRY_TREE),
      tombstones: db.count(GC_TREE),
      'purges of rows': db.count(PURGE_TREE),
      'block references': node.core!.blocks.refs.stats().queued,
      'blocks to look at': node.core!.blocks.resync.stats().queued,
      'failed blocks': node.core!.blocks.resync.stats().errors,
      events: node.core!.model.events.queue.backlog,
      // One that cannot be decided is put back again and again, so none of them seems late.
      contests: node.core!.model.contests.backlog,
      'claims of blocks': node.core!.blocks.local.counts.sizes(db).claims,
    }
    for (const [name, length] of Object.entries(queues)) {
      if (length > 0) problems.push(`node${node.index}: ${length} ${name} are still queued`)
    }
  }
  return problems
}

/** Checks that no background worker fails again and again at what nothing is wrong with any more. */
function checkWorkers(cluster: SimCluster): string[] {
  return cluster.nodes.flatMap((node) => {
    const failing = workersOf(node.core!).filter(([, { consecutiveErrors }]) => consecutiveErrors > 0)
    return failing.map(([name, stats]) => `node${node.index}: ${name} fails: ${stats.lastError?.message}`)
  })
}

/** Checks that replicas have equal fingerprints, and other nodes have nothing. */
function checkReplicas(cluster: SimCluster): string[] {
  const problems: string[] = []
  for (const { name, tableOf } of tablesOf()) {
    const isFull = tableOf(cluster.nodes[0]!).schema.placement === 'full'
    for (let partition = 0; partition < (isFull ? 1 : PARTITIONS); partition++) {
      const replicas = isFull
        ? cluster.nodes.filter(({ id }) => layoutOf(cluster).view.allNodes.includes(id))
        : replicasOf(cluster, partition)
      const roots = replicas.map(
        (node) => tableOf(node).root(dbOf(node), partition)?.toString('hex') ?? 'empty',
      )
      if (new Set(roots).size > 1)
        problems.push(
          `${name} ${partition}: ${replicas.map((node, i) => `node${node.index} ${roots[i]}`).join(', ')}`,
        )
      if (isFull) continue
      for (const node of cluster.nodes) {
        if (replicas.includes(node) || !tableOf(node).hasPartition(dbOf(node), partition)) continue
        problems.push(`${name} ${partition}: node${node.index}, which is no replica, still has rows`)
      }
    }
  }
  return problems
}

function checkTombstones(cluster: SimCluster): string[] {
  const problems: string[] = []
  for (const { name, tableOf } of tablesOf()) {
    for (const node of cluster.nodes) {
      const local = tableOf(node)
      let tombstones = 0
      for (const { head } of local.walk(dbOf(node), {})) {
        if (local.schema.isTombstone(local.codec.decodeStored(head, () => undefined))) tombstones++
      }
      if (tombstones > 0) problems.push(`node${node.index}: ${tombstones} tombstones of ${name} are left`)
    }
  }
  return problems
}

/** All rows of a table on a node. */
function rows<E>(node: SimNode, local: LocalTable<E>): E[] {
  const db = dbOf(node)
  return [...local.walk(db, {})].map(({ head }) => local.codec.decodeStored(head, () => undefined))
}

function checkCounters(cluster: SimCluster): string[] {
  // A damaged row that was replaced by another one may stay counted.
  return cluster.nodes.filter(({ hasRot }) => !hasRot).flatMap(checkCountersOf)
}

/** Checks that a node's counters equal a recount of its rows: as they change in one transaction, at any moment. */
export function checkCountersOf(node: SimNode): string[] {
  const problems: string[] = []
  const { tables } = node.core!.model
  const counted = new Map<string, BucketCounts>()
  const of = (bucket: Buffer) => {
    const key = bucket.toString('hex')
    const counts = counted.get(key) ?? {
      objects: 0,
      bytes: 0,
      noncurrent: 0,
      uploads: 0,
      uploadBytes: 0,
      parts: 0,
      markers: 0,
    }
    counted.set(key, counts)
    return counts
  }
  for (const row of rows(node, tables.bucket.local)) of(row.id)
  /** Of rows that may be in the version table, too. */
  const currentIds = new Set<string>()
  for (const row of rows(node, tables.object.local)) {
    if (row.generation > 0 && row.state !== 'tombstone') currentIds.add(row.id.toString('hex'))
    if (row.state === 'marker') of(row.bucket).markers++
    if (row.state !== 'object') continue
    of(row.bucket).objects++
    of(row.bucket).bytes += row.size
  }
  for (const row of rows(node, tables.version.local)) {
    if (row.state === 'tombstone' || currentIds.has(row.id.toString('hex'))) continue
    of(row.bucket).noncurrent++
    of(row.bucket).bytes += row.size
  }
  for (const row of rows(node, tables.upload.local)) if (!row.deleted) of(row.bucket).uploads++
  for (const row of rows(node, tables.part.local)) {
    if (row.deleted) continue
    of(row.bucket).parts++
    of(row.bucket).uploadBytes += row.size
  }
  for (const [bucket, counts] of counted) {
    const stored = readCounts(dbOf(node), Buffer.from(bucket, 'hex'))
    if (JSON.stringify(stored) !== JSON.stringify(counts))
      problems.push(
        `node${node.index}, bucket ${bucket}: counters ${JSON.stringify(stored)}, counted ${JSON.stringify(counts)}`,
      )
  }
  return problems
}

/** `hash/owner` of every reference that the rows of objects, versions, lists and parts make. */
function referencesMade(cluster: SimCluster): Set<string> {
  const made = new Set<string>()
  const add = (owner: Buffer, hashes: readonly Buffer[]) => {
    for (const hash of hashes) made.add(`${hash.toString('hex')}/${blockOwner(owner).toString('hex')}`)
  }
  for (const node of cluster.nodes) {
    const { object, version, part, list } = node.core!.model.tables
    for (const row of [...rows(node, object.local), ...rows(node, version.local)]) {
      if (row.state === 'object' && row.content.kind === 'blocks') add(row.id, hashesOf(row.content.blocks))
    }
    for (const row of rows(node, part.local)) {
      if (!row.deleted && row.content.kind === 'blocks') add(row.id, hashesOf(row.content.blocks))
    }
    for (const row of rows(node, list.local)) {
      if (!row.deleted && row.kind === 'blocks') add(row.owner, hashesOf(row.data))
    }
  }
  return made
}

/** Live block references by hash on one node: owners. */
function referencesOn(node: SimNode): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const row of rows(node, blockRefs(node))) {
    if (row.deleted) continue
    const hash = row.hash.toString('hex')
    found.set(hash, [...(found.get(hash) ?? []), row.owner.toString('hex')])
  }
  return found
}

/**
 * Checks that the block_ref table has exactly the references that the rows make. Where a database was lost, or went back, a write
 * that failed may have left references whose row was there alone: then only those of `acknowledged` owners must be gone.
 */
export function checkReferences(cluster: SimCluster, acknowledged?: ReadonlySet<string>): string[] {
  const problems: string[] = []
  const made = referencesMade(cluster)
  const carried = new Set<string>()
  const isLossy = cluster.nodes.some(({ machine }) => machine.hasLostRows)
  const mayNotStay = (reference: string) =>
    !isLossy || !acknowledged || acknowledged.has(reference.split('/')[1]!)
  for (const node of cluster.nodes) {
    for (const [hash, owners] of referencesOn(node))
      for (const owner of owners) carried.add(`${hash}/${owner}`)
  }
  for (const reference of made)
    if (!carried.has(reference)) problems.push(`reference ${reference} never arrived`)
  for (const reference of carried)
    if (!made.has(reference) && mayNotStay(reference)) problems.push(`reference ${reference} is of nobody`)
  return problems
}

/** Checks that every block is intact on all its replicas and counted right, and that nothing else takes space. */
async function checkBlocks(cluster: SimCluster): Promise<string[]> {
  const problems: string[] = []
  for (const node of cluster.nodes) {
    const { blocks } = node.core!
    const { disk } = node.machine.platform!
    const references = referencesOn(node)
    for (const [hex, owners] of references) {
      const hash = Buffer.from(hex, 'hex')
      const record = blocks.local.counts.get(dbOf(node), hash)
      if (record?.count !== owners.length)
        problems.push(
          `node${node.index}, block ${hex}: counted ${record?.count}, referenced ${owners.length} times`,
        )
      const block = await blocks.local.read(hash)
      if (!block) problems.push(`node${node.index} lacks block ${hex}, which is referenced`)
      else if (createHash('sha256').update(block.payload).digest('hex') !== hex)
        problems.push(`node${node.index}, block ${hex}: the content is another one`)
    }
    const { known } = blocks.local.counts.sizes(dbOf(node))
    if (known !== references.size)
      problems.push(`node${node.index} keeps records of ${known} blocks, ${references.size} are referenced`)
    for (const path of disk.paths()) {
      const name = path.split('/').at(-1)!
      // The scrub cleans up what a crash left of a write.
      if (name.endsWith('.tmp') || references.has(name)) continue
      // A damaged file is set aside.
      if (name.endsWith(CORRUPTED_SUFFIX) && node.hasRot) continue
      problems.push(`node${node.index}: ${path} is of no use`)
    }
  }
  return problems
}

async function checkListings(w: Workload): Promise<string[]> {
  const problems: string[] = []
  const { cluster } = w
  for (const bucket of [w.bucket, w.versionedBucket]) {
    const replica = replicasOf(cluster, bucketPartition(bucket.id))[0]!
    const stored = rows(replica, replica.core!.model.tables.object.local)
      .filter((row) => row.state === 'object' && row.bucket.equals(bucket.id))
      .map((row) => `${row.key} ${row.etag.toString('hex')} ${row.size}`)
      .sort()
      .slice(0, LISTED_MAX)
    for (const node of cluster.nodes) {
      if (layoutOf(cluster).view.history.versions.at(-1)!.roles.get(node.id) === undefined) continue
      const page = await node.core!.model.listing.page({
        ...{ bucket: bucket.id, prefix: EMPTY, delimiter: EMPTY, start: EMPTY },
        limit: LISTED_MAX,
      })
      const listed = page.entries.map(({ key, head }) => {
        const { etag, size } = readListed(head!)
        return `${key} ${etag.slice(0, 32)} ${size}`
      })
      if (listed.join() !== stored.join())
        problems.push(`node${node.index} lists ${listed}, stored is ${stored}`)
    }
  }
  return problems
}

/** Checks that of versions which were judged on one base, one is left. */
function checkPlaces(cluster: SimCluster): string[] {
  const problems: string[] = []
  for (const node of cluster.nodes) {
    const { object, version } = node.core!.model.tables
    const places = new Map<string, VersionRecord>()
    for (const row of [...rows(node, object.local), ...rows(node, version.local)]) {
      if (!row.chain || row.state === 'tombstone') continue
      const place = placeKeyOf(row).toString('hex')
      const other = places.get(place)
      if (other && !other.id.equals(row.id)) {
        const ids = [other, row].map(({ id }) => id.toString('hex')).join(' and ')
        problems.push(`node${node.index}: versions ${ids} of ${row.key} have one place`)
      }
      places.set(place, row)
    }
  }
  return problems
}

/** Checks that each acknowledged version is listed and can be read, and each deleted one is gone. */
async function checkVersions(w: Workload): Promise<string[]> {
  const problems: string[] = []
  const node = w.cluster.readyNodes()[0]!
  const { model } = node.core!
  const bucket = w.versionedBucket.id
  const listed = new Set<string>()
  const page = await model.versionListing.page({
    ...{ bucket, prefix: EMPTY, delimiter: EMPTY, start: EMPTY, afterVersion: EMPTY },
    limit: 1000,
  })
  for (const { key, head } of page.entries) {
    const id = `${key}/${readListed(head!).id.toString('hex')}`
    if (listed.has(id)) problems.push(`version ${id} is listed twice`)
    listed.add(id)
  }
  for (const [id, { key, version }] of w.versions) {
    if (!listed.has(id) && !page.more) problems.push(`acknowledged version ${id} is not listed`)
    const found = await model.objects.get(bucket, Buffer.from(key), version.id)
    if (!found) problems.push(`acknowledged version ${id} cannot be read`)
    else if (found.state !== version.state || !found.etag.equals(version.etag))
      problems.push(`version ${id} is not what was written`)
  }
  for (const [id, { key, version }] of w.deletedVersions) {
    if (listed.has(id)) problems.push(`deleted version ${id} is listed`)
    if (await model.objects.get(bucket, Buffer.from(key), version.id))
      problems.push(`deleted version ${id} can be read`)
  }
  return problems
}
