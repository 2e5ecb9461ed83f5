import { expect, test } from 'vitest'
import type { Model } from '../src/model/model.js'
import type { Precondition } from '../src/model/versions/conditional-writes.js'
import { SimCluster } from './sim-cluster.js'
import { newVersion, sourceOf } from './sim-objects.js'

/** One way between two of three zones, in ms: so long that what a node does itself does not count beside it. */
const LATENCY_MS = 1000
const CONTENT_BYTES = 4096

class Refused extends Error {}

/** Runs `work` in three zones whose paths never vary, with a function that tells how many round trips something takes. */
async function inThreeZones(
  work: (
    models: Model[],
    bucket: Buffer,
    tripsOf: (run: () => Promise<unknown>) => Promise<number>,
    cluster: SimCluster,
  ) => Promise<void>,
): Promise<void> {
  const cluster = new SimCluster({
    ...{ seed: 1, nodes: 3, zones: 3, replicationFactor: 3, blockBytes: 1 << 20, clockSkewMs: 0 },
    path: { latencyMs: LATENCY_MS, jitterMs: 0, lossShare: 0, bytesPerMs: Number.POSITIVE_INFINITY },
    ...{ tables: {}, graces: { unreferencedMs: 60_000, unclaimedMs: 600_000 } },
  })
  const { clock } = cluster
  const tripsOf = async (run: () => Promise<unknown>) => {
    const startMs = clock.monotonicMs()
    await run()
    return Math.round((clock.monotonicMs() - startMs) / (2 * LATENCY_MS))
  }
  const all = async () => {
    await cluster.start()
    const models = cluster.nodes.map(({ core }) => core!.model)
    const { id } = await models[0]!.buckets.create('bucket')
    await clock.sleep(20 * LATENCY_MS)
    await work(models, id, tripsOf, cluster)
  }
  await clock.runUntil(all(), 24 * 3600_000)
}

async function put(
  { blobs, objects }: Model,
  cluster: SimCluster,
  bucket: Buffer,
  key: string,
  precondition?: Precondition,
): Promise<void> {
  const stored = await blobs.write(sourceOf(cluster.random.bytes(CONTENT_BYTES), cluster.random))
  await objects.put(newVersion({ id: bucket } as never, key, stored.md5), stored, 'off', precondition)
}

const isAbsent: Precondition = (current) => {
  if (current) throw new Refused()
}
const isPresent: Precondition = (current) => {
  if (!current) throw new Refused()
}

test('a conditional write takes two round trips between zones, and plain operations take one', async () => {
  await inThreeZones(async ([model], bucket, tripsOf, cluster) => {
    const trips = {
      create: await tripsOf(() => put(model!, cluster, bucket, 'a', isAbsent)),
      replace: await tripsOf(() => put(model!, cluster, bucket, 'a', isPresent)),
      'replace a plain one': await tripsOf(async () => {
        await put(model!, cluster, bucket, 'b')
        await cluster.clock.sleep(10 * LATENCY_MS)
        await put(model!, cluster, bucket, 'b', isPresent)
      }).then((all) => all - 5 - 1),
      'refused create': await tripsOf(() => put(model!, cluster, bucket, 'a', isAbsent).catch(() => {})),
      'delete on a condition': await tripsOf(() =>
        model!.objects.delete(bucket, Buffer.from('a'), '', 'off', isPresent),
      ),
      'plain put': await tripsOf(() => put(model!, cluster, bucket, 'plain')),
      'plain get': await tripsOf(() => model!.objects.get(bucket, Buffer.from('plain'))),
      'plain delete': await tripsOf(() => model!.objects.delete(bucket, Buffer.from('plain'), '', 'off')),
      'plain put over a conditional one': await tripsOf(() => put(model!, cluster, bucket, 'a')),
    }
    expect(trips).toEqual({
      ...{ create: 2, replace: 2, 'replace a plain one': 2, 'refused create': 1, 'delete on a condition': 2 },
      ...{ 'plain put': 1, 'plain get': 1, 'plain delete': 1, 'plain put over a conditional one': 1 },
    })
  })
})
