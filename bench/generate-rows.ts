import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { openLmdb } from '../src/db/lmdb.js'
import { fieldTable } from '../src/model/buckets/control-rows.js'
import { versionId } from '../src/model/content/refs.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import { objectTable } from '../src/model/versions/tables.js'
import { ALL_TREES } from '../src/node/core.js'
import { realClock } from '../src/platform/clock-and-random.js'
import { LeafChanges } from '../src/table/leaves.js'
import { LocalTable } from '../src/table/local.js'
import { silentLog } from '../src/util/log.js'
import { flatKeys, keysInOrder } from './load/tree-keys.js'

// node generate-rows.js METADATA_DIR BUCKET COUNT [flat]: merges rows of COUNT objects of a few bytes each into the bucket's
// rows on a node that is stopped, through the same tables, hooks, counters and fingerprints that requests go through.

const ROWS_PER_TRANSACTION = 2000
const BODY = Buffer.from('tiny')
const NONE = Buffer.alloc(0)

async function generate(metadataDir: string, bucketName: string, keys: Iterator<string>): Promise<void> {
  const db = await openLmdb({
    path: join(metadataDir, 'db'),
    trees: ALL_TREES,
    // The data is for a measurement and worthless unless complete, so no fsync is needed.
    fsync: false,
    clock: realClock,
    log: silentLog,
  })
  try {
    const aliases = new LocalTable(fieldTable('alias'), () => 0)
    const bucket = aliases.get(db, NONE, Buffer.from(bucketName))?.fields.bucket?.[1]
    if (!Buffer.isBuffer(bucket)) throw new Error(`no bucket ${bucketName} in ${metadataDir}`)
    const objects = new LocalTable(objectTable(noBlocks), () => 0)
    while (true) {
      const rows = [...take(keys, ROWS_PER_TRANSACTION)].map((key) =>
        objects.codec.encode(record(bucket, key)),
      )
      if (rows.length === 0) break
      await db.transact((tx) => {
        const leaves = new LeafChanges()
        for (const row of rows) objects.apply(tx, row, leaves)
        leaves.flush(tx, objects.trees)
      })
    }
  } finally {
    await db.close()
  }
}

function unexpected(): never {
  throw new Error('inline objects have neither blocks nor versions')
}

const noBlocks: Parameters<typeof objectTable>[0] = {
  enqueueRefs: unexpected,
  purgeLists: unexpected,
  endUpload: unexpected,
  noncurrent: () => undefined,
  current: () => undefined,
  currentStored: () => undefined,
  nextShown: unexpected,
  updateNoncurrent: unexpected,
}

function record(bucket: Buffer, key: string): VersionRecord {
  const timeUs = realClock.nowMs() * 1000
  return {
    bucket,
    key: Buffer.from(key),
    state: 'object',
    isNull: true,
    timeUs,
    generation: 0,
    id: versionId(timeUs, randomBytes(8)),
    createdUs: timeUs,
    size: BODY.length,
    etag: randomBytes(16),
    etagParts: 0,
    owner: '',
    headers: {},
    metadata: {},
    content: { kind: 'inline' },
    mutable: {},
    body: BODY,
  }
}

function* take<T>(from: Iterator<T>, count: number): Generator<T> {
  for (let i = 0; i < count; i++) {
    const { value, done } = from.next()
    if (done) return
    yield value
  }
}

const [metadataDir, bucketName, count, shape] = process.argv.slice(2)
if (!metadataDir || !bucketName || !/^\d+$/.test(count ?? '') || !/^(flat)?$/.test(shape ?? '')) {
  console.error('usage: generate-rows.js METADATA_DIR BUCKET COUNT [flat]')
  process.exitCode = 1
} else {
  try {
    const keys = shape === 'flat' ? flatKeys(Number(count)) : keysInOrder(Number(count))
    await generate(metadataDir, bucketName, keys)
  } catch (error) {
    console.error(`generate-rows: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
