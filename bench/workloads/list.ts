import type { Context } from '../context.js'
import { countText } from '../sizes.js'
import { fillTree } from './filling.js'

const CONCURRENCY = 4

/** Parameters sorted by name, as they are signed. The tree's keys are those of treeKey. */
const LISTINGS = {
  // Reads pages of 1000 keys, one after the other through the whole bucket.
  flat: { query: 'list-type=2&max-keys=1000', walk: true },
  // Reads the first page again and again.
  'first-page': { query: 'list-type=2&max-keys=1000', walk: false },
  prefix: { query: 'list-type=2&max-keys=1000&prefix=d3%2F', walk: true },
  // Lists the ten folders that hold everything.
  delimiter: { query: 'delimiter=%2F&list-type=2&max-keys=1000', walk: true },
  // Lists the hundred folders in one of them.
  'prefix-delimiter': { query: 'delimiter=%2F&list-type=2&max-keys=1000&prefix=d3%2F', walk: true },
}

/** ListObjectsV2 in buckets of several sizes; a request is a page. */
export async function list(context: Context): Promise<void> {
  const counts = context.options.quick ? [2000] : [10_000, 100_000, 1_000_000]
  const cellOf = (name: string, count: number) => `${name} ${countText(count)} x${CONCURRENCY}`
  const wanted = counts.filter((count) =>
    Object.keys(LISTINGS).some((name) => context.wants('list', cellOf(name, count))),
  )
  for (const count of wanted) {
    const bucket = `bench-list-${count}`
    await context.withStores(bucket, async (stores) => {
      const filled = await fillTree(context, stores, {
        ...{ workload: 'list', cell: countText(count), bucket, count },
      })
      for (const [name, { query, walk }] of Object.entries(LISTINGS)) {
        const cell = cellOf(name, count)
        if (!context.wants('list', cell) || filled.length === 0) continue
        await context.compare('list', cell, filled, bucket, () => ({
          ...{ operation: { kind: 'list', query, walk }, concurrency: CONCURRENCY },
        }))
      }
    })
  }
}
