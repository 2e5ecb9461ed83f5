import type { Config } from '../../src/config/config.js'
import type { AccessKey } from '../../src/model/buckets/access-keys.js'
import { K2vTestClient } from './k2v-client.js'
import { startTestNode, type TestNode } from './test-node.js'

/** A single node with a bucket `k2v` and clients that may do all, read only, and neither. */
export interface K2vNode {
  readonly node: TestNode
  readonly k2v: K2vTestClient
  readonly reader: K2vTestClient
  readonly stranger: K2vTestClient
}

/** Starts a node in this process that serves K2V. `settings` as of startTestNode. */
export async function startK2vNode(settings: Partial<Omit<Config, 'secrets'>> = {}): Promise<K2vNode> {
  const node = await startTestNode({
    k2vApi: { bindAddr: { kind: 'tcp', host: '127.0.0.1', port: 0 }, publicEndpoint: null, tls: null },
    ...settings,
  })
  const { keys, buckets } = node.core.model
  const bucket = await buckets.create('k2v')
  const port = node.k2v!.port
  const [key, readKey, noKey] = await Promise.all(
    [
      { read: true, write: true, owner: false },
      { read: true, write: false, owner: false },
      { read: false, write: false, owner: true },
    ].map(async (permissions, i) => {
      const key = await keys.create(`key ${i}`)
      await keys.setPermissions(key.id, bucket.id, permissions)
      return key
    }),
  )
  const clientOf = (of: AccessKey | undefined) => new K2vTestClient(of!, port, 'k2v')
  return { node, k2v: clientOf(key), reader: clientOf(readKey), stranger: clientOf(noKey) }
}
