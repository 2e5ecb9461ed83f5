import type { BucketInfo, KeyInfo } from '../api/admin/types.js'
import { StoreError } from '../api/client/s3-client.js'
import type { MigrationWorld } from './world.js'

const ANSWER_BYTES_MAX = 64 << 20

/** A key with its secret, as the source's admin API tells it. */
export type SourceKey = Pick<
  KeyInfo,
  'accessKeyId' | 'name' | 'secretAccessKey' | 'expiration' | 'expired' | 'permissions'
>
export type SourceBucket = Pick<
  BucketInfo,
  | 'id'
  | 'globalAliases'
  | 'websiteAccess'
  | 'websiteConfig'
  | 'corsRules'
  | 'lifecycleRules'
  | 'keys'
  | 'quotas'
>

/** The admin API v2 of Garage, or of Carport, from which keys and buckets are read. Nothing is changed there. */
export class AdminSource {
  readonly #base: URL

  /** @throws TypeError if the address is no URL */
  constructor(
    address: string,
    private readonly token: string,
    private readonly world: Pick<MigrationWorld, 'call'>,
  ) {
    this.#base = new URL(address)
  }

  async keys(): Promise<SourceKey[]> {
    const list = await this.#get<{ id: string }[]>('ListKeys', {})
    const keys: SourceKey[] = []
    for (const { id } of list)
      keys.push(await this.#get<SourceKey>('GetKeyInfo', { id, showSecretKey: 'true' }))
    return keys
  }

  async buckets(): Promise<SourceBucket[]> {
    const list = await this.#get<{ id: string }[]>('ListBuckets', {})
    const buckets: SourceBucket[] = []
    for (const { id } of list) buckets.push(await this.#get<SourceBucket>('GetBucketInfo', { id }))
    return buckets
  }

  async #get<T>(endpoint: string, query: Readonly<Record<string, string>>): Promise<T> {
    const { origin, pathname } = this.#base
    const answer = await this.world.call({
      ...{ origin, method: 'GET' },
      target: `${pathname.replace(/\/$/, '')}/v2/${endpoint}?${new URLSearchParams(query)}`,
      headers: { authorization: `Bearer ${this.token}`, host: this.#base.host },
    })
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of answer.body) {
      length += chunk.length
      if (length > ANSWER_BYTES_MAX) break
      chunks.push(chunk)
    }
    const text = Buffer.concat(chunks).toString()
    if (answer.status !== 200) {
      const hint = answer.status === 403 ? ': is its token right?' : ''
      throw new StoreError(
        String(answer.status),
        `the source's admin API refuses ${endpoint}${hint}`,
        answer.status,
      )
    }
    try {
      return JSON.parse(text) as T
    } catch {
      throw new StoreError('NoJson', `the source's admin API answers ${endpoint} in an unknown form`, 400)
    }
  }
}
