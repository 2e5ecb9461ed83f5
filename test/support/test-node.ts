import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { Config, Secrets } from '../../src/config/config.js'
import { singleNodeConfig } from '../../src/config/single-node.js'
import type { AccessKey } from '../../src/model/buckets/access-keys.js'
import { createIdentity } from '../../src/net/identity.js'
import { type CarportNode, type NodeDeps, startNode } from '../../src/node/node.js'
import { realClock, systemRandom } from '../../src/platform/clock-and-random.js'
import { createLog } from '../../src/platform/logger.js'

/** A real single node in this process, on free ports and in a folder of its own. */
export interface TestNode extends CarportNode {
  endpoint: string
  /** The folder that holds everything: metadata in `meta`, blocks in `data`. */
  dir: string
  /** Makes a key that may create buckets. */
  createKey(name: string): Promise<AccessKey>
  /** An SDK client for a key; path style, one attempt per request. */
  client(key: AccessKey, options?: S3ClientConfig): S3Client
  /** Stops the node, destroys its clients and removes its folder. */
  dispose(): Promise<void>
}

/**
 * Starts a node that is laid out and ready for requests. `settings` replace those of a single node,
 * `deps` replace the parts it is made of. Set CARPORT_TEST_LOG=debug to see what it logs.
 */
export async function startTestNode(
  settings: Partial<Omit<Config, 'secrets'>> & { secrets?: Partial<Secrets> } = {},
  deps: Partial<NodeDeps> = {},
): Promise<TestNode> {
  const dir = mkdtempSync(join(tmpdir(), 'carport-test-'))
  const any = '127.0.0.1:0'
  const config = singleNodeConfig({
    dataDir: dir,
    env: { CARPORT_RPC_SECRET: 'ab'.repeat(32), CARPORT_SSE_MASTER_KEY: 'cd'.repeat(32) },
    readSecretFile: () => {
      throw new Error('no secret files in tests')
    },
    listen: { s3: any, rpc: any, web: any, admin: any },
  })
  const level = (process.env.CARPORT_TEST_LOG ?? 'error') as 'error'
  const node = await startNode(
    { ...config, ...settings, secrets: { ...config.secrets, ...settings.secrets } },
    {
      clock: realClock,
      random: systemRandom,
      log: createLog({ level, format: 'text' }, realClock, (line) => process.stderr.write(line)),
      identity: createIdentity(systemRandom),
      version: 'test',
      hashThreads: 0, // The threads' code exists only after a build.
      ...deps,
    },
  )
  const role = { zone: 'z1', capacityBytes: 1e12, tags: [] }
  await node.core.cluster.stageLayout({ roles: [{ node: node.core.quorum.self, role }] })
  await node.core.cluster.applyLayout(1)
  const clients: S3Client[] = []
  const endpoint = `http://${node.s3!.address}`
  return {
    ...node,
    endpoint,
    dir,
    async createKey(name) {
      const { keys } = node.core.model
      const key = await keys.create(name)
      return keys.change(key.id, { createBucket: true })
    },
    client(key, options = {}) {
      const client = new S3Client({
        endpoint,
        region: 'us-east-1',
        forcePathStyle: true,
        maxAttempts: 1,
        credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
        ...options,
      })
      clients.push(client)
      return client
    },
    async dispose() {
      for (const client of clients) client.destroy()
      await node.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
