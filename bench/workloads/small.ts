import type { Context } from '../context.js'
import type { Operation } from '../load/job.js'
import { KIB, MIB, sizeText } from '../sizes.js'
import type { Store } from '../stores/store.js'

const BUCKET = 'bench-small'
const KEYS = 2000
/** From this size on there are fewer objects, so that all of them fit into any cache. */
const LARGE_BYTES = 1_000_000
const LARGE_KEYS = 16
/** The deletions may take this many times as long as the writes of what they delete. */
const DELETE_TIME_FACTOR = 3

/** PUT, GET, HEAD and DELETE of small objects, with several at once. */
export async function small(context: Context): Promise<void> {
  const sizes = context.options.quick ? [4 * KIB] : [KIB, 4 * KIB, 64 * KIB, MIB]
  await context.withStores(BUCKET, async (stores) => {
    for (const size of sizes) await measureSize(context, stores, size)
  })
}

async function measureSize(context: Context, stores: readonly Store[], size: number): Promise<void> {
  const concurrencies = context.options.quick ? [16] : size === 4 * KIB ? [1, 16, 32, 64] : [1, 16, 64]
  const cellOf = (verb: string, n: number) => `${verb} ${sizeText(size)} x${n}`
  const wants = (verb: string, n: number) => context.wants('small', cellOf(verb, n))
  const keys = context.options.quick ? 200 : size > LARGE_BYTES ? LARGE_KEYS : KEYS
  const readPrefix = `r/${size}/`
  if (concurrencies.some((n) => wants('GET', n) || wants('HEAD', n))) {
    for (const store of stores) await context.fill(store, BUCKET, readPrefix, size, keys)
  }
  for (const concurrency of concurrencies) {
    /** How many objects each store holds from each round of PUT. */
    const written = new Map<string, number>()
    const writePrefix = (round: number) => `w/${size}/${concurrency}/${round}/`
    const idOf = (store: Store, round: number) => `${store.name} ${round}`
    const compare = (
      verb: string,
      operationOf: (round: number) => Operation,
      extra: Parameters<Context['compare']>[5] = {},
    ) =>
      wants(verb, concurrency)
        ? context.compare(
            ...(['small', cellOf(verb, concurrency), stores, BUCKET] as const),
            (round) => ({ operation: operationOf(round), concurrency }),
            extra,
          )
        : undefined
    await compare('PUT', (round) => ({ kind: 'put', prefix: writePrefix(round), size }), {
      after: async (store, round, { requests }) => {
        written.set(idOf(store, round), requests)
      },
    })
    await compare('GET', () => ({ kind: 'get', prefix: readPrefix, size, keys }))
    await compare('HEAD', () => ({ kind: 'head', prefix: readPrefix, size, keys }))
    if (wants('DELETE', concurrency)) await measureDeletes(context, stores, concurrency, size, written)
  }
}

/** Deletes the objects of each round of PUT, whose number differs between stores; without PUT, writes some for it first. */
async function measureDeletes(
  context: Context,
  stores: readonly Store[],
  concurrency: number,
  size: number,
  written: Map<string, number>,
): Promise<void> {
  const prefixOf = (round: number) => `w/${size}/${concurrency}/${round}/`
  let limit = 0
  await context.compare(
    ...(['small', `DELETE ${sizeText(size)} x${concurrency}`, stores, BUCKET] as const),
    (round) => ({
      operation: { kind: 'delete', prefix: prefixOf(round) },
      concurrency,
      limit,
      seconds: context.options.seconds * DELETE_TIME_FACTOR,
    }),
    {
      async before(store, round) {
        limit = written.get(`${store.name} ${round}`) ?? 0
        if (limit > 0) return
        limit = KEYS
        await context.fill(store, BUCKET, prefixOf(round), size, limit)
      },
    },
  )
}
