import type { Context } from '../context.js'
import { median } from '../load/histogram.js'
import { deviceWrittenBytes, type Memory, MemoryWatch, memoryOf } from '../proc.js'
import type { ValueResult } from '../results.js'
import { countText, KIB, MIB, sizeText } from '../sizes.js'
import { delay, until } from '../stores/server-process.js'
import type { Contender, Store } from '../stores/store.js'

const BUCKET = 'bench-resources'
const CATCH_UP_MS_MAX = 30 * 60_000
/** How often in a row the backlog must be empty to count as gone. */
const EMPTY_LOOKS = 3

/** Memory, start time, bytes written per byte stored, and how long an absent node takes to catch up. */
export async function resources(context: Context): Promise<void> {
  for (const contender of context.contenders) {
    await context.withStores(BUCKET, ([store]) => measureStore(context, store!), [contender])
  }
  const count = context.options.quick ? 300 : 100_000
  const cell = `catch up after ${countText(count)} objects`
  if (!context.wants('resources', cell)) return
  for (const contender of context.contenders) {
    if (contender.startCluster) await measureCatchUp(context, contender, cell, count)
    else {
      const reason = 'no cluster of it can be started'
      context.add({ kind: 'skipped', workload: 'resources', cell, store: contender.name, reason })
    }
  }
}

async function measureStore(context: Context, store: Store): Promise<void> {
  const { quick, seconds } = context.options
  const skip = (cell: string, reason: string) =>
    context.add({ kind: 'skipped', workload: 'resources', cell, store: store.name, reason })
  const hasPids = store.pids().length > 0
  await measureStart(context, store, 'start, empty')
  if (!hasPids) {
    skip('memory, bytes written', 'its process ids are not known: give pids=')
    return
  }
  await delay(quick ? 1000 : 10_000)
  addMemory(context, store, 'memory idle', memoryOf(store.pids()))
  const pids = store.pids()
  const watch = new MemoryWatch(() => pids)
  const big = quick ? 8 * MIB : 100 * MIB
  for (const [size, count] of quick
    ? [
        [4 * KIB, 500],
        [MIB, 10],
        [big, 2],
      ]
    : [
        [4 * KIB, 10_000],
        [64 * KIB, 2000],
        [MIB, 300],
        [big, 10],
      ]) {
    const before = deviceWrittenBytes(context.options.dir)
    await context.fill(store, BUCKET, `${size}/`, size!, count!)
    // Delayed work (counters, references, synchronizing) belongs to it too.
    await delay(quick ? 1000 : 10_000)
    const cell = `written per byte stored, ${sizeText(size!)}`
    const after = deviceWrittenBytes(context.options.dir)
    if (before === undefined || after === undefined) skip(cell, 'the file system has no device of its own')
    else add(context, store, { cell, unit: 'ratio', value: (after - before) / (size! * count!) })
    for (const kind of ['get', 'put'] as const) {
      const reads = kind === 'get'
      const operation = reads
        ? { kind, prefix: `${size}/`, size: size!, keys: count! }
        : { kind, prefix: `again/${size}/`, size: size! }
      const [concurrency, most] = size! > MIB ? [4, 8] : [32, 10_000]
      await context.generator.run({
        ...{ target: store.target, bucket: BUCKET, operation, concurrency, limit: most, seconds },
      })
    }
  }
  addMemory(context, store, 'memory loaded, peak', watch.stop())
  await measureStart(context, store, 'start, with objects')
}

async function measureStart(context: Context, store: Store, cell: string): Promise<void> {
  if (!store.restart) {
    const reason = 'it was started elsewhere'
    context.add({ kind: 'skipped', workload: 'resources', cell, store: store.name, reason })
    return
  }
  const times: number[] = []
  for (let i = 0; i < context.options.rounds; i++) times.push(await store.restart())
  add(context, store, { cell, value: median(times)!, unit: 'ms' })
}

/** Objects are written while the last of three nodes is down; then, from its start, until no node has anything to do. */
async function measureCatchUp(
  context: Context,
  contender: Contender,
  cell: string,
  count: number,
): Promise<void> {
  const spec = { nodes: 3, zones: 3, replicationFactor: 3 }
  const cluster = await contender.startCluster!(context.newDir(contender.name), spec)
  try {
    const settled = async () => (await cluster.backlog()) === 0
    await until(`a bucket of ${contender.name}`, 60_000, () =>
      context.createBucket(cluster, BUCKET).then(() => true),
    )
    await until(`${contender.name} to settle`, 120_000, settled)
    await cluster.stopNode(2, 'SIGKILL')
    await context.prepare(cluster, BUCKET, {
      ...{ operation: { kind: 'put', prefix: 'missed/', size: 4 * KIB }, concurrency: 32, limit: count },
    })
    const startMs = performance.now()
    await cluster.startNode(2)
    let empty = 0
    let firstEmptyMs = 0
    context.note(`resources: ${cell}: ${contender.name} is back`)
    const limitMs = context.options.quick ? CATCH_UP_MS_MAX / 60 : CATCH_UP_MS_MAX
    while (empty < EMPTY_LOOKS) {
      if (!(await settled())) empty = 0
      else if (empty++ === 0) firstEmptyMs = performance.now()
      if (empty === 0 && performance.now() - startMs > limitMs) {
        const reason = `not done after ${limitMs / 60_000} min`
        context.add({ kind: 'skipped', workload: 'resources', cell, store: contender.name, reason })
        return
      }
      await delay(200)
    }
    add(context, cluster, { cell, value: (firstEmptyMs - startMs) / 1000, unit: 's' })
  } finally {
    await cluster.stop()
  }
}

function addMemory(context: Context, store: Store, cell: string, memory: Memory): void {
  add(context, store, { cell: `${cell}: VmRSS`, value: memory.rss, unit: 'bytes' })
  add(context, store, { cell: `${cell}: RssAnon`, value: memory.anon, unit: 'bytes' })
  add(context, store, { cell: `${cell}: RssFile`, value: memory.file, unit: 'bytes' })
}

function add(context: Context, store: Store, result: Pick<ValueResult, 'cell' | 'value' | 'unit'>): void {
  context.add({ kind: 'value', workload: 'resources', store: store.name, ...result })
  context.note(`resources: ${result.cell}: ${store.name} ${result.value.toFixed(1)} ${result.unit}`)
}
