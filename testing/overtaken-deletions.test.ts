/**
 * Histories of deletions of a version that end where another request has taken it away from a quorum, but not from all replicas.
 * Invariant: a version whose deletion was acknowledged does not come back.
 */
import { expect, it, vi } from 'vitest'
import { CarportError, errorCode } from '../src/util/errors.js'
import { bucketOn, cut, get, onCluster, put, waitUntil } from './sim-histories.js'

const KEY = 'key'
const VERSIONED = 'enabled'

it('a version stays deleted that a deletion which never ended had taken away, on all replicas but one', async () => {
  await onCluster({}, async (c) => {
    const [a, b, third] = c.nodes
    const bucket = await bucketOn(c, a!)
    const key = Buffer.from(KEY)
    const version = await put(a!, bucket, KEY, 'deleted', VERSIONED)
    await c.clock.sleep(5000)
    const heal = cut(c, [third!], [a!, b!])
    // The first deletion has taken its place as the current one, and its node dies before it can say so of the version.
    const dies = vi
      .spyOn(a!.core!.model.tables.version, 'insert')
      .mockRejectedValue(new CarportError('Closed', 'the node dies'))
    const first = a!.core!.model.objects.deleteVersion(bucket, key, version.id)
    await expect(first).rejects.toSatisfy((error) => errorCode(error) === 'Closed')
    dies.mockRestore()
    await b!.core!.model.objects.deleteVersion(bucket, key, version.id)
    c.crash(a!, 'machine')
    heal()
    const isLinked = () => b!.core!.cluster.peering.connected().includes(third!.id)
    await waitUntil(c, 'the nodes are linked', isLinked, 60_000)
    await put(b!, bucket, KEY, 'later', VERSIONED)
    await c.boot(a!)
    // The one that was away hears of the later version only, for which the deleted one makes room there.
    await c.clock.sleep(3600_000)
    for (const node of c.nodes) {
      expect(await get(node, bucket, KEY)).toBe('later')
      expect(await get(node, bucket, KEY, version.id)).toBe('nothing')
    }
  })
})
