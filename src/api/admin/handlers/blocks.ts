import type { BlockRefRow } from '../../../block/block-ref.js'
import type { ResyncErrorInfo } from '../../../block/resync.js'
import { sleep } from '../../../util/clock.js'
import { CarportError, errorCode } from '../../../util/errors.js'
import { eachLimited } from '../../../util/limited.js'
import type { BlockBacklink, BlockError, BlockInfo } from '../types.js'
import type { AdminContext } from './context.js'
import { UnknownThing } from './lookup-error.js'
import { OWNERS_MAX, type Owner } from './owners.js'

const HASH_BYTES = 32
const REFS_PAGE = 1000
/** Blocks that are looked up in one turn of the event loop. */
const TURN_BLOCKS = 200
/** Failures that one node tells: more would not fit a message, and nobody reads them. */
export const ERRORS_LISTED_MAX = 10_000
const PURGES_IN_FLIGHT = 8

/** Blocks that this node should have but could not fetch so far: the first ones, if there are very many. */
export async function listBlockErrors(context: AdminContext): Promise<BlockError[]> {
  const nowMs = context.clock.nowMs()
  const seconds = (ms: number) => Math.max(0, Math.round(ms / 1000))
  const errors: BlockError[] = []
  for await (const page of errorPages(context)) {
    for (const error of page) {
      errors.push({
        blockHash: error.hash.toString('hex'),
        refcount: error.refCount,
        errorCount: error.attempts,
        lastTrySecsAgo: seconds(nowMs - error.lastTryMs),
        nextTryInSecs: seconds(error.nextTryMs - nowMs),
      })
    }
    if (errors.length >= ERRORS_LISTED_MAX) break
  }
  return errors.slice(0, ERRORS_LISTED_MAX)
}

/** All blocks that could not be fetched so far, some at a time, with other work between. */
async function* errorPages({ blocks, clock }: AdminContext): AsyncGenerator<ResyncErrorInfo[]> {
  let after: Buffer | undefined
  for (;;) {
    const page = blocks.resync.listErrors(TURN_BLOCKS, after)
    yield page
    after = page.at(-1)?.hash
    if (page.length < TURN_BLOCKS) return
    await sleep(clock, 0)
  }
}

/**
 * This node's knowledge of a block and the references to it.
 * @param prefix at least the first digits of its hash
 * @throws CarportError NotFound; InvalidArgument if several blocks begin so
 */
export async function blockInfo(context: AdminContext, prefix: string): Promise<BlockInfo> {
  const { db, blocks, blockRefs } = context
  const hash = findBlock(context, prefix)
  const refs = [...blockRefs.local.range(db, hash, { limit: OWNERS_MAX })]
  const owners = await context.findOwners(refs.map((ref) => ref.owner))
  return {
    blockHash: hash.toString('hex'),
    refcount: blocks.local.counts.get(db, hash)?.count ?? 0,
    versions: refs.map((ref) => {
      const name = ref.owner.toString('hex')
      const owner = owners.found.get(name)
      return {
        versionId: owner?.id.toString('hex') ?? name,
        refDeleted: ref.deleted,
        versionDeleted: owner !== undefined && !owner.live,
        garbageCollected: owner === undefined && owners.complete,
        backlink: owner ? backlinkOf(owner) : null,
      }
    }),
  }
}

function backlinkOf(owner: Owner): BlockBacklink {
  const bucketId = owner.bucket.toString('hex')
  const key = owner.key.toString()
  if (owner.kind === 'version') return { object: { bucketId, key } }
  const uploadId = owner.uploadId.toString('hex')
  return { upload: { uploadId, uploadDeleted: !owner.live, uploadGarbageCollected: false, bucketId, key } }
}

/**
 * Queues blocks that could not be fetched for another attempt now.
 * @throws CarportError NotFound, InvalidArgument
 */
export async function retryBlocks(
  context: AdminContext,
  what: { all: true } | { blockHashes: string[] },
): Promise<{ count: number }> {
  const { resync } = context.blocks
  let count = 0
  if ('all' in what) {
    for await (const page of errorPages(context)) {
      await resync.retryNow(page.map(({ hash }) => hash))
      count += page.length
    }
    return { count }
  }
  const hashes = await findBlocks(context, what.blockHashes)
  for (let i = 0; i < hashes.length; i += TURN_BLOCKS) await resync.retryNow(hashes.slice(i, i + TURN_BLOCKS))
  return { count: hashes.length }
}

/** The blocks of this node whose hashes begin with these digits, looked up some at a time. */
async function findBlocks(context: AdminContext, prefixes: readonly string[]): Promise<Buffer[]> {
  const hashes: Buffer[] = []
  for (const prefix of prefixes) {
    hashes.push(findBlock(context, prefix))
    if (hashes.length % TURN_BLOCKS === 0) await sleep(context.clock, 0)
  }
  return hashes
}

/** The one block of this node whose hash begins with these digits. */
function findBlock({ db, blocks, blockRefs }: AdminContext, prefix: string): Buffer {
  const { counts } = blocks.local
  if (prefix.length === 2 * HASH_BYTES) {
    const hash = Buffer.from(prefix, 'hex')
    const known = counts.get(db, hash) ?? [...blockRefs.local.range(db, hash, { limit: 1 })][0]
    if (known) return hash
    throw unknownBlock(prefix)
  }
  const first = Buffer.from(prefix.padEnd(2 * HASH_BYTES, '0'), 'hex')
  const after = predecessor(first)
  const [found, another] = counts
    .hashes(db, { ...(after && { after }), limit: 2 })
    .filter((hash) => hash.toString('hex').startsWith(prefix))
  if (!found) throw unknownBlock(prefix)
  if (another) {
    throw new CarportError('InvalidArgument', `several blocks' hashes begin with ${prefix}: give more digits`)
  }
  return found
}

function unknownBlock(prefix: string): CarportError {
  return new UnknownThing('Block', `this node knows no block ${prefix}`)
}

/** The hash before this one; the first hash has none. */
function predecessor(hash: Buffer): Buffer | undefined {
  const before = Buffer.from(hash)
  for (let i = before.length - 1; i >= 0; i--) {
    if (before[i]! > 0) {
      before[i]!--
      return before.fill(0xff, i + 1)
    }
  }
  return undefined
}

export interface PurgeResult {
  blocksPurged: number
  blockRefsPurged: number
  versionsDeleted: number
  objectsDeleted: number
  uploadsDeleted: number
}

/**
 * Gives up lost blocks: deletes the versions and uploads that need them, and references whose owner no node
 * knows.
 * @throws CarportError NotFound, InvalidArgument (a prefix of several); Conflict for a block that some
 * replica has intact; QuorumUnavailable if some replica cannot be asked; PeerUnreachable if some node cannot
 * be asked for owners, in which case nothing is deleted for that block
 */
export async function purgeBlocks(context: AdminContext, prefixes: readonly string[]): Promise<PurgeResult> {
  const result: PurgeResult = {
    blocksPurged: 0,
    blockRefsPurged: 0,
    versionsDeleted: 0,
    objectsDeleted: 0,
    uploadsDeleted: 0,
  }
  const hashes = new Map((await findBlocks(context, prefixes)).map((h) => [h.toString('hex'), h]))
  for (const hash of hashes.values()) await checkLost(context, hash)
  for (const hash of hashes.values()) {
    for await (const refs of liveRefs(context, hash)) await purgeReferences(context, refs, result)
    result.blocksPurged++
  }
  return result
}

async function checkLost({ blocks }: AdminContext, hash: Buffer): Promise<void> {
  try {
    await blocks.get(hash)
  } catch (error) {
    if (errorCode(error) === 'BlockMissing') return
    throw error
  }
  throw new CarportError(
    'Conflict',
    `block ${hash.toString('hex')} is not lost, a replica has it: delete objects by the S3 API`,
  )
}

async function* liveRefs({ blockRefs }: AdminContext, hash: Buffer): AsyncGenerator<BlockRefRow[]> {
  let start: Buffer | undefined
  for (;;) {
    const rows = await blockRefs.range(hash, { ...(start && { start }), limit: REFS_PAGE })
    const live = rows.filter((row) => !row.deleted)
    if (live.length > 0) yield live
    if (rows.length < REFS_PAGE) return
    start = Buffer.concat([rows.at(-1)!.owner, Buffer.alloc(1)])
  }
}

async function purgeReferences(
  context: AdminContext,
  refs: readonly BlockRefRow[],
  result: PurgeResult,
): Promise<void> {
  const { model, blockRefs } = context
  const owners = await context.findOwners(refs.map(({ owner }) => owner))
  if (!owners.complete) {
    throw new CarportError(
      'PeerUnreachable',
      'some nodes do not answer, so that not all that refers to the block can be found',
    )
  }
  const orphans: BlockRefRow[] = []
  await eachLimited(refs, PURGES_IN_FLIGHT, async (ref) => {
    const owner = owners.found.get(ref.owner.toString('hex'))
    result.blockRefsPurged++
    if (!owner?.live) {
      orphans.push({ ...ref, deleted: true })
    } else if (owner.kind === 'version') {
      const { bucket, key, id, isNull } = owner
      const current = await model.objects.get(bucket, key, undefined, { body: false })
      // Another version may be in the slot of null versions by now.
      if (isNull && !(await isStill(context, owner))) return
      if (!(await model.objects.deleteVersion(bucket, key, isNull ? 'null' : id))) return
      result.versionsDeleted++
      if (current?.id.equals(id)) result.objectsDeleted++
    } else {
      const upload = await model.uploads.get(owner.bucket, owner.key, owner.uploadId)
      if (!upload) return
      await model.uploads.end(upload)
      result.uploadsDeleted++
    }
  })
  if (orphans.length > 0) await blockRefs.insertMany(orphans)
}

async function isStill({ model }: AdminContext, { bucket, key, id }: Owner): Promise<boolean> {
  const version = await model.objects.get(bucket, key, 'null', { body: false })
  return version?.id.equals(id) === true
}
