import type { Context } from '../context.js'
import type { Store } from '../stores/store.js'

const CONCURRENCY = 32

/**
 * Puts the tree of `count` keys into a bucket of each store: by rows where the store can, else by requests, up to
 * --fill-max. Returns the stores that have them now, and prints that the others were left out.
 */
export async function fillTree(
  context: Context,
  stores: readonly Store[],
  { workload, cell, bucket, count }: { workload: string; cell: string; bucket: string; count: number },
): Promise<Store[]> {
  const filled: Store[] = []
  for (const store of stores) {
    if (!store.generate && count > context.options.fillMax) {
      const reason = `${count} keys by requests are more than --fill-max ${context.options.fillMax}`
      context.add({ kind: 'skipped', workload, cell, store: store.name, reason })
      continue
    }
    context.note(`${workload}: ${cell}: filling ${store.name}`)
    if (store.generate) await store.generate(bucket, count)
    else {
      await context.prepare(store, bucket, {
        ...{ operation: { kind: 'fill-tree' }, concurrency: CONCURRENCY, limit: count },
      })
    }
    filled.push(store)
  }
  return filled
}
