import { statfs } from 'node:fs/promises'
import type { Context, Load } from '../context.js'
import { GIB, MIB, sizeText } from '../sizes.js'
import type { Store } from '../stores/store.js'

const BUCKET = 'bench-large'
const STREAMS = [1, 4]
const PART_BYTES = 16 * MIB
const RANGE_BYTES = 8 * MIB
/** The most bytes that one measurement writes, unless a single object per stream is more. */
const WRITTEN_MAX = 4 * GIB
/** Free space that must remain, as a factor of what will be written. */
const SPACE_FACTOR = 1.3

/** Large objects: PUT, multipart upload, GET and ranged GET, by one stream and several. */
export async function large(context: Context): Promise<void> {
  for (const size of context.options.quick ? [32 * MIB] : [100 * MIB, GIB]) {
    for (const streams of STREAMS) {
      await measureWrite(context, `PUT ${sizeText(size)} x${streams}`, size, streams, {
        operation: { kind: 'put', prefix: '', size },
        concurrency: streams,
      })
    }
    // Every object has the same bytes, so a store that finds duplicates has little to do.
    await measureWrite(context, `PUT-same-body ${sizeText(size)} x2`, size, 2, {
      operation: { kind: 'put', prefix: '', size, same: true },
      concurrency: 2,
    })
    for (const parallel of STREAMS) {
      await measureWrite(context, `multipart ${sizeText(size)} x${parallel}`, size, 1, {
        operation: { kind: 'multipart', prefix: '', size, partBytes: PART_BYTES, parallel },
        concurrency: 1,
      })
    }
    await measureReads(context, size)
  }
}

/** Measures on new stores, since none gives the space of deleted objects back at once. */
async function measureWrite(
  context: Context,
  cell: string,
  size: number,
  streams: number,
  load: Load,
): Promise<void> {
  if (!context.wants('large', cell)) return
  const { rounds, quick } = context.options
  const limit = Math.max(streams, Math.floor((quick ? WRITTEN_MAX / 32 : WRITTEN_MAX) / size))
  const needed = limit * size * rounds * context.contenders.length * SPACE_FACTOR
  if (!(await hasSpace(context, cell, needed))) return
  await context.withStores(BUCKET, (stores) =>
    context.compare(
      ...(['large', cell, stores, BUCKET] as const),
      (round) => {
        const { operation } = load
        return { ...load, operation: { ...operation, prefix: `w/${round}/` } as typeof operation, limit }
      },
      {
        warmUp: false,
        after: (store, round, { requests }) =>
          requests === 0
            ? Promise.resolve()
            : context.prepare(store, BUCKET, {
                ...{ operation: { kind: 'delete', prefix: `w/${round}/` }, concurrency: 1, limit: requests },
              }),
      },
    ),
  )
}

async function measureReads(context: Context, size: number): Promise<void> {
  const cells = STREAMS.flatMap((concurrency) => [
    {
      cell: `GET ${sizeText(size)} x${concurrency}`,
      load: {
        operation: { kind: 'get', prefix: 'r/', size, keys: Math.max(...STREAMS) },
        concurrency,
      } satisfies Load,
    },
    {
      cell: `ranged-GET ${sizeText(RANGE_BYTES)} of ${sizeText(size)} x${concurrency}`,
      load: {
        operation: {
          ...({ kind: 'range', prefix: 'r/', size, keys: Math.max(...STREAMS) } as const),
          rangeBytes: RANGE_BYTES,
        },
        concurrency,
      } satisfies Load,
    },
  ]).filter(({ cell }) => context.wants('large', cell))
  if (cells.length === 0) return
  const needed = Math.max(...STREAMS) * size * context.contenders.length * SPACE_FACTOR
  if (!(await hasSpace(context, cells[0]!.cell, needed))) return
  await context.withStores(BUCKET, async (stores: Store[]) => {
    for (const store of stores) {
      await context.prepare(store, BUCKET, {
        ...{ operation: { kind: 'put', prefix: 'r/', size }, concurrency: 2, limit: Math.max(...STREAMS) },
      })
    }
    for (const { cell, load } of cells) {
      await context.compare('large', cell, stores, BUCKET, () => load, { warmUp: false })
    }
  })
}

async function hasSpace(context: Context, cell: string, needed: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(context.options.dir)
  if (bavail * bsize > needed) return true
  const [need, free] = [needed, bavail * bsize].map((bytes) => `${Math.ceil(bytes / GIB)} GiB`)
  context.add({
    ...{ kind: 'skipped', workload: 'large', cell, store: '*' },
    reason: `needs ${need} in ${context.options.dir}, which has ${free} free; see --dir, --rounds`,
  })
  return false
}
