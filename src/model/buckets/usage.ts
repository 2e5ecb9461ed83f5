import type { Placement, QuorumCaller } from '../../cluster/placement.js'
import type { Db } from '../../db/db.js'
import { Priority, type Transport } from '../../net/transport.js'
import { CarportError } from '../../util/errors.js'
import { bucketPartition } from '../sort-keys.js'
import { type BucketCounts, readCounts } from './counters.js'

const METHOD = 'model/usage'

/** How much a bucket holds, as its replicas counted. */
export class Usage {
  constructor(
    private readonly deps: {
      db: Db
      transport: Transport
      quorum: QuorumCaller
      placement: Placement
      /** Knows whether this node's copy counts. */
      objects: { checkVote(bucket: Buffer): void }
    },
  ) {
    deps.transport.handle(METHOD, (body) => {
      if (!Buffer.isBuffer(body) || body.length !== 16)
        throw new CarportError('InvalidArgument', 'malformed bucket id')
      deps.objects.checkVote(body)
      return { body: { ...readCounts(deps.db, body) } }
    })
  }

  /** The counters of the fullest replica of a read quorum: one that lags behind counts less. @throws QuorumUnavailable */
  async of(bucket: Buffer): Promise<BucketCounts> {
    const { quorum, placement } = this.deps
    const nodes = placement.readSet(bucketPartition(bucket))
    const replies = await quorum.read(nodes, METHOD, bucket, {
      quorum: placement.readQuorum,
      timeoutMs: 10_000,
      priority: Priority.high,
    })
    // Nodes of the first release do not count delete markers.
    const counts = replies.map((r): BucketCounts => {
      const told = r.body as Omit<BucketCounts, 'markers'> & Partial<BucketCounts>
      return { ...told, markers: told.markers ?? 0 }
    })
    const versions = (c: BucketCounts) => c.objects + c.noncurrent + c.markers
    return counts.reduce((most, c) => (versions(c) > versions(most) ? c : most))
  }
}
