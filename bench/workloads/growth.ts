import type { Context, Load } from '../context.js'
import { countText, KIB } from '../sizes.js'
import { fillTree } from './filling.js'

const BUCKET = 'bench-growth'
const CONCURRENCY = 32

/** The same requests in a bucket that grows: rows are generated, and the keys read are spread over all of them. */
export async function growth(context: Context): Promise<void> {
  const counts = context.options.quick ? [1000, 2000] : [10_000, 1_000_000, 10_000_000]
  await context.withStores(BUCKET, async (stores) => {
    for (const count of counts) {
      const cells = cellsAt(count).filter(({ cell }) => context.wants('growth', cell))
      if (cells.length === 0) continue
      const filled = await fillTree(context, stores, {
        ...{ workload: 'growth', cell: countText(count), bucket: BUCKET, count },
      })
      if (filled.length === 0) continue
      for (const { cell, load } of cells) await context.compare('growth', cell, filled, BUCKET, load)
    }
  })
}

function cellsAt(count: number): { cell: string; load: (round: number) => Load }[] {
  const at = countText(count)
  const concurrency = CONCURRENCY
  const list = { kind: 'list', query: 'list-type=2&max-keys=1000', walk: true } as const
  return [
    {
      cell: `GET x${concurrency} at ${at}`,
      load: () => ({ operation: { kind: 'get-tree', count }, concurrency }),
    },
    {
      cell: `HEAD x${concurrency} at ${at}`,
      load: () => ({ operation: { kind: 'head-tree', count }, concurrency }),
    },
    { cell: `list x4 at ${at}`, load: () => ({ operation: list, concurrency: 4 }) },
    // PUT comes last, since it adds to the bucket.
    {
      cell: `PUT 4 KiB x${concurrency} at ${at}`,
      load: (round) => ({
        operation: { kind: 'put', prefix: `w/${count}/${round}/`, size: 4 * KIB },
        concurrency,
      }),
    },
  ]
}
