import type { BucketInfo, KeyInfo } from '../api/admin/types.js'
import { readAll, StoreError } from '../api/client/s3-client.js'
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
> & {
  /** Statements of a bucket policy, for what keys may do beyond their permissions. */
  statements?: readonly object[]
}

/** Where an admin API is reached: by HTTP, or by the command line of Garage 2.x, which asks a running node. */
export type AdminAddress =
  | { address: string; token: string }
  /** The program and its first arguments, such as garage -c /etc/garage.toml. */
  | { command: readonly string[] }

type Query = Readonly<Record<string, string | boolean>>

/** The versions of the admin API that are understood, the newest first. */
type ApiVersion = 'v2' | 'v1' | 'v0'

/** The paths of the versions before 2, in which a query says what is wanted. */
const OLD_PATHS = {
  ListKeys: 'key',
  GetKeyInfo: 'key',
  ListBuckets: 'bucket',
  GetBucketInfo: 'bucket',
} as const
type Call = keyof typeof OLD_PATHS

/**
 * The admin API of Garage (2.x, 1.x and 0.9: versions 2, 1 and 0) or of Carport, from which keys and buckets are read. Nothing
 * is changed there.
 */
export class AdminSource {
  #version: ApiVersion = 'v2'

  constructor(
    private readonly at: AdminAddress,
    private readonly world: Pick<MigrationWorld, 'call' | 'execute'>,
  ) {}

  /** Whether the API tells CORS and lifecycle of buckets; known once something was read. */
  get tellsRules(): boolean {
    return this.#version === 'v2'
  }

  async keys(): Promise<SourceKey[]> {
    const list = await this.#first<{ id: string }[]>('ListKeys')
    const keys: SourceKey[] = []
    for (const { id } of list) {
      const key = await this.#get<SourceKey>('GetKeyInfo', { id, showSecretKey: true })
      // Keys did not expire before version 2.
      keys.push({ ...key, expiration: key.expiration ?? null, expired: key.expired ?? false })
    }
    return keys
  }

  async buckets(): Promise<SourceBucket[]> {
    const list = await this.#get<{ id: string }[]>('ListBuckets', {})
    const buckets: SourceBucket[] = []
    for (const { id } of list) {
      const bucket = await this.#get<SourceBucket>('GetBucketInfo', { id })
      buckets.push({ ...bucket, quotas: bucket.quotas ?? { maxSize: null, maxObjects: null } })
    }
    return buckets
  }

  /** Asks in the newest version that the source knows. */
  async #first<T>(call: Call): Promise<T> {
    for (const version of ['v2', 'v1', 'v0'] as const) {
      this.#version = version
      try {
        return await this.#get<T>(call, {})
      } catch (error) {
        const isUnknown = error instanceof StoreError && [400, 404, 501].includes(error.status)
        if (!isUnknown || version === 'v0' || 'command' in this.at) throw error
      }
    }
    throw new StoreError('NoAdminApi', "the source's admin API is of no known version", 400)
  }

  async #get<T>(call: Call, query: Query): Promise<T> {
    const text =
      'command' in this.at
        ? await this.#execute(this.at.command, call, query)
        : await this.#fetch(this.at, call, query)
    try {
      return JSON.parse(text) as T
    } catch {
      throw new StoreError('NoJson', `the source's admin API answers ${call} in an unknown form`, 400)
    }
  }

  async #execute(command: readonly string[], call: Call, query: Query): Promise<string> {
    const [program = '', ...first] = command
    try {
      return await this.world.execute(program, [...first, 'json-api', call, JSON.stringify(query)])
    } catch (error) {
      throw new StoreError('NoAdminApi', `${program} json-api ${call}: ${(error as Error).message}`, 400)
    }
  }

  async #fetch(
    { address, token }: { address: string; token: string },
    call: Call,
    query: Query,
  ): Promise<string> {
    const { origin, pathname, host } = new URL(address)
    const text = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, String(value)]))
    const isList = call.startsWith('List')
    const path =
      this.#version === 'v2'
        ? `v2/${call}?${new URLSearchParams(text)}`
        : `${this.#version}/${OLD_PATHS[call]}?${isList ? 'list' : new URLSearchParams(text)}`
    const answer = await this.world.call({
      ...{ origin, method: 'GET', target: `${pathname.replace(/\/$/, '')}/${path}` },
      headers: { authorization: `Bearer ${token}`, host },
    })
    const body = (await readAll(answer.body, ANSWER_BYTES_MAX)).toString()
    if (answer.status === 200) return body
    const hint = answer.status === 403 ? ': is its token right?' : ''
    throw new StoreError(
      String(answer.status),
      `the source's admin API refuses ${call}${hint}`,
      answer.status,
    )
  }
}
