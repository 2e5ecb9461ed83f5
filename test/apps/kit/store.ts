/** The stores that applications are run against: one node, and three in three zones, on real processes. */
import { randomBytes } from 'node:crypto'
import { S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, beforeEach, describe } from 'vitest'
import { until } from '../../../bench/stores/server-process.js'
import { ProcessCluster } from '../../support/processes.js'
import { type Installed, timeIsUp } from './programs.js'

const ADMIN_TOKEN = randomBytes(16).toString('hex')

/** A bucket with a key of its own, which has no other permission than those asked for. */
export interface Home {
  endpoint: string
  region: 'garage'
  bucket: string
  accessKeyId: string
  secretAccessKey: string
  /** The variables in which most applications look for credentials. */
  env: Record<string, string>
  /** A client with the same key, to look at what the application stored. */
  s3: S3Client
}

/** A running store. */
export class Store {
  readonly #cluster: ProcessCluster
  readonly #clients: S3Client[] = []
  #isDown = false

  private constructor(cluster: ProcessCluster) {
    this.#cluster = cluster
  }

  /** Starts one or three nodes, and lays them out in a zone each. */
  static async start(nodes: 1 | 3): Promise<Store> {
    const master = `sse_master_key = "${'7c'.repeat(32)}"`
    const cluster = await ProcessCluster.create(nodes, nodes, `admin_token = "${ADMIN_TOKEN}"`, master)
    const store = new Store(cluster)
    try {
      await Promise.all(cluster.nodes.map((node) => node.start()))
      const ids = await Promise.all(cluster.nodes.map((_, i) => store.#idOf(i)))
      const others = ids.slice(1).map((id, i) => `${id}@127.0.0.1:${cluster.rpcPorts[i + 1]}`)
      if (others.length > 0) await store.#admin('ConnectClusterNodes', {}, others)
      const roles = ids.map((id, i) => ({ id, zone: `z${i + 1}`, capacity: 1e10, tags: [] }))
      await store.#admin('UpdateClusterLayout', {}, { roles })
      await store.#admin('ApplyClusterLayout', {}, { version: 1 })
      await store.#untilHealthy()
      return store
    } catch (error) {
      await cluster.dispose()
      throw error
    }
  }

  /** Where an application finds the store; behind a load balancer, this would be the balancer. */
  get endpoint(): string {
    return this.#cluster.endpoint(0)
  }

  /** Makes a bucket, and a key that may read and write it and do nothing else. */
  async home(name: string): Promise<Home> {
    const bucket = `${name}-${randomBytes(4).toString('hex')}`
    await this.#admin('CreateBucket', {}, { globalAlias: bucket })
    return this.keyFor(bucket, { read: true, write: true, owner: false })
  }

  /** Makes another key for a bucket. */
  async keyFor(
    bucket: string,
    permissions: { read: boolean; write: boolean; owner: boolean },
  ): Promise<Home> {
    const { id } = await this.#admin('GetBucketInfo', { globalAlias: bucket })
    const key = await this.#admin('CreateKey', {}, { name: bucket })
    await this.#admin('AllowBucketKey', {}, { bucketId: id, accessKeyId: key.accessKeyId, permissions })
    const { accessKeyId, secretAccessKey } = key as { accessKeyId: string; secretAccessKey: string }
    const region = 'garage' as const
    const credentials = { accessKeyId, secretAccessKey }
    const s3 = new S3Client({ endpoint: this.endpoint, region, forcePathStyle: true, credentials })
    this.#clients.push(s3)
    const env = {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      AWS_EC2_METADATA_DISABLED: 'true',
    }
    return { endpoint: this.endpoint, region, bucket, ...credentials, env, s3 }
  }

  /** Limits what a bucket may hold, in bytes; null for no limit. */
  async setQuota(home: Home, maxSize: number | null): Promise<void> {
    const { id } = await this.#admin('GetBucketInfo', { globalAlias: home.bucket })
    await this.#admin('UpdateBucket', { id }, { quotas: { maxSize, maxObjects: null } })
  }

  /** Kills one node of three, without warning. */
  async loseNode(): Promise<void> {
    await this.#cluster.nodes.at(-1)!.stop('SIGKILL')
    this.#isDown = true
  }

  /** Starts again the node that was lost. */
  async restoreNode(): Promise<void> {
    if (!this.#isDown) return
    await this.#cluster.nodes.at(-1)!.start()
    this.#isDown = false
    await this.#untilHealthy()
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await this.#cluster.dispose()
  }

  async #idOf(node: number): Promise<string> {
    const { success } = await this.#admin('GetNodeInfo', { node: 'self' }, undefined, node)
    return Object.keys(success)[0]!
  }

  #untilHealthy(): Promise<void> {
    return until('a healthy cluster', 60_000, async () => {
      const { status } = await this.#admin('GetClusterHealth', {})
      return status === 'healthy'
    })
  }

  // biome-ignore lint/suspicious/noExplicitAny: the answer of any endpoint
  async #admin(name: string, query: Record<string, string>, body?: unknown, node = 0): Promise<any> {
    const url = `http://127.0.0.1:${this.#cluster.adminPorts[node]}/v2/${name}?${new URLSearchParams(query)}`
    const response = await fetch(url, {
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${name}: ${response.status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
}

/** What the tests of an application get. */
export interface Stage<T> {
  /** What was installed. */
  tools: T
  nodes: 1 | 3
  /** The running store; only within tests and hooks. */
  store(): Store
}

/**
 * Runs an application's tests against one node and against three; skips them, with the reason in their name, where the
 * application cannot be had.
 */
export function application<T>(
  name: string,
  { tools, reason }: Installed<T>,
  tests: (stage: Stage<T>) => void,
): void {
  const suffix = reason === undefined ? '' : ` (skipped: ${reason})`
  for (const nodes of [1, 3] as const) {
    const title = `${name} on ${nodes === 1 ? 'one node' : 'three nodes'}${suffix}`
    describe.runIf(tools !== undefined)(title, () => {
      let store: Store | undefined
      beforeAll(async () => {
        if (!timeIsUp()) store = await Store.start(nodes)
      })
      afterAll(() => store?.stop())
      beforeEach(({ skip }) => {
        const late = timeIsUp()
        if (late) skip(late)
      })
      tests({ tools: tools as T, nodes, store: () => store! })
    })
  }
}
