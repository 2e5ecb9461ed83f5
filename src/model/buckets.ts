import type { Db } from '../db/db.js'
import type { Table } from '../table/table.js'
import type { Hlc } from '../util/clock.js'
import { CarportError } from '../util/errors.js'
import type { Random } from '../util/random.js'
import { type FieldRow, field, fieldsWithPrefix, withFields } from './fields.js'
import type { AccessKey, AccessKeys } from './keys.js'
import type { Versioning } from './objects.js'
import { RowCache } from './row-cache.js'

/** A bucket as requests see it. */
export interface Bucket {
  /** 16 bytes. */
  id: Buffer
  hexId: string
  createdMs: number
  /** Key id of who made it by the S3 API; '' if an administrator did. */
  owner: string
  versioning: Versioning
  objectLock: boolean
  /** Global names. */
  aliases: readonly string[]
  /** Names that single keys gave it. */
  localAliases: readonly { keyId: string; alias: string }[]
  quotas: { maxSize?: number; maxObjects?: number }
  /** Configuration documents by name ("cors", "policy", "lifecycle", …), as their handlers store them. */
  document<T>(name: string): T | undefined
  /** When a document was last set, ms; undefined if it never was. */
  documentTimeMs(name: string): number | undefined
}

const NO_KEY = Buffer.alloc(0)
/** S3's rules: 3 to 63 of a-z 0-9 . -, starting and ending with a letter or digit. */
const NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/

/** @throws CarportError InvalidArgument unless the name follows S3's rules for bucket names */
export function checkBucketName(name: string): void {
  const bad =
    !NAME.test(name) ||
    name.includes('..') ||
    name.includes('.-') ||
    name.includes('-.') ||
    /^\d+\.\d+\.\d+\.\d+$/.test(name)
  if (bad || name.startsWith('xn--') || name.endsWith('-s3alias')) {
    throw new CarportError('InvalidArgument', `"${name}" is not a valid bucket name`)
  }
}

/** Buckets and their names: full copies on every node. */
export class Buckets {
  readonly #buckets: RowCache<Bucket | undefined>
  readonly #aliases: RowCache<Buffer | undefined>

  constructor(
    private readonly deps: {
      db: Db
      buckets: Table<FieldRow>
      aliases: Table<FieldRow>
      keys: AccessKeys
      hlc: Hlc
      random: Random
    },
  ) {
    this.#buckets = new RowCache(deps.db, deps.buckets, bucketOf)
    this.#aliases = new RowCache(deps.db, deps.aliases, aliasTarget)
  }

  /** The bucket with that id, as this node knows it. */
  byId(id: Buffer): Bucket | undefined {
    return this.#buckets.get(id, id.toString('latin1'))
  }

  /** The bucket that `name` means to the holder of `key` (its own aliases first), as this node knows it. */
  localByName(name: string, key: AccessKey | undefined): Bucket | undefined {
    const local = key?.localAliases.get(name)
    if (local !== undefined) return this.byId(Buffer.from(local, 'hex'))
    const target = this.#aliases.get(Buffer.from(name), name)
    return target && this.byId(target)
  }

  /** Like localByName, but asks a majority before it says no. */
  async byName(name: string, key: AccessKey | undefined): Promise<Bucket | undefined> {
    const known = this.localByName(name, key)
    if (known || !NAME.test(name)) return known
    const alias = await this.deps.aliases.getFromQuorum(NO_KEY, Buffer.from(name))
    const target = alias && aliasTarget(alias)
    if (!target) return undefined
    const row = await this.deps.buckets.getFromQuorum(NO_KEY, target)
    return row && bucketOf(row)
  }

  /** All buckets, by id. */
  list(): Bucket[] {
    const found: Bucket[] = []
    for (const row of this.deps.buckets.local.range(this.deps.db, NO_KEY, {})) {
      const bucket = bucketOf(row)
      if (bucket) found.push(bucket)
    }
    return found
  }

  /**
   * Makes a bucket under a global name. Two creators of one name at the same time: the later one wins the name, the
   * other notices and takes its bucket back.
   * @throws InvalidArgument for a bad name, Conflict if the name is taken
   */
  async create(
    name: string,
    options: { owner?: string; documents?: Record<string, unknown> } = {},
  ): Promise<Bucket> {
    checkBucketName(name)
    if (await this.byName(name, undefined)) throw new CarportError('Conflict', `bucket name ${name} is taken`)
    const { hlc, random } = this.deps
    const id = random.bytes(16)
    const nowUs = hlc.now()
    const fields: Record<string, unknown> = {
      created: Math.floor(nowUs / 1000),
      owner: options.owner ?? '',
      [`alias:${name}`]: true,
    }
    for (const [document, value] of Object.entries(options.documents ?? {})) fields[`doc:${document}`] = value
    await this.deps.buckets.insert(withFields({ id }, fields, nowUs))
    await this.#setAlias(name, id)
    const winner = await this.deps.aliases.getFromQuorum(NO_KEY, Buffer.from(name))
    if (!winner || !aliasTarget(winner)?.equals(id)) {
      await this.deps.buckets.insert({ id, deleted: true, fields: {} })
      throw new CarportError('Conflict', `bucket name ${name} is taken`)
    }
    return this.byId(id)!
  }

  /** Makes a bucket without any name. */
  async createUnnamed(): Promise<Bucket> {
    const id = this.deps.random.bytes(16)
    const nowUs = this.deps.hlc.now()
    await this.deps.buckets.insert(
      withFields({ id }, { created: Math.floor(nowUs / 1000), owner: '' }, nowUs),
    )
    return this.byId(id)!
  }

  /** Deletes a bucket, which the caller found to be empty, with all its names. */
  async delete(bucket: Bucket): Promise<void> {
    for (const alias of bucket.aliases) await this.#clearAlias(alias, bucket.id)
    for (const { keyId, alias } of bucket.localAliases) {
      if (this.deps.keys.local(keyId)) await this.deps.keys.change(keyId, { [`alias:${alias}`]: null })
    }
    for (const key of this.deps.keys.list()) {
      if (key.permissions.has(bucket.hexId))
        await this.deps.keys.change(key.id, { [`bucket:${bucket.hexId}`]: null })
    }
    await this.deps.buckets.insert({ id: bucket.id, deleted: true, fields: {} })
  }

  /** Changes fields of a bucket. */
  async change(bucket: Bucket, changes: Record<string, unknown>): Promise<void> {
    const row = this.deps.buckets.local.get(this.deps.db, NO_KEY, bucket.id)
    await this.deps.buckets.insert(withFields(row ?? { id: bucket.id }, changes, this.deps.hlc.now()))
  }

  /** Sets (or with undefined removes) a configuration document. */
  setDocument(bucket: Bucket, name: string, value: unknown): Promise<void> {
    return this.change(bucket, { [`doc:${name}`]: value ?? null })
  }

  /** Gives a bucket one more global name. @throws InvalidArgument, Conflict */
  async addAlias(bucket: Bucket, name: string): Promise<void> {
    checkBucketName(name)
    const taken = await this.byName(name, undefined)
    if (taken && !taken.id.equals(bucket.id))
      throw new CarportError('Conflict', `bucket name ${name} is taken`)
    await this.#setAlias(name, bucket.id)
    await this.change(bucket, { [`alias:${name}`]: true })
  }

  /** Takes a global name away. @throws NotFound if it is not a name of that bucket */
  async removeAlias(bucket: Bucket, name: string): Promise<void> {
    if (!bucket.aliases.includes(name))
      throw new CarportError('NotFound', `${name} is not a name of that bucket`)
    await this.#clearAlias(name, bucket.id)
    await this.change(bucket, { [`alias:${name}`]: null })
  }

  /** Gives a bucket a name that only one key sees. */
  async addLocalAlias(bucket: Bucket, keyId: string, name: string): Promise<void> {
    checkBucketName(name)
    const taken = this.deps.keys.local(keyId)?.localAliases.get(name)
    if (taken !== undefined && taken !== bucket.hexId) {
      throw new CarportError('Conflict', `bucket name ${name} is taken for that key`)
    }
    await this.deps.keys.change(keyId, { [`alias:${name}`]: bucket.hexId })
    await this.change(bucket, { [`local:${keyId}/${name}`]: true })
  }

  async removeLocalAlias(bucket: Bucket, keyId: string, name: string): Promise<void> {
    await this.deps.keys.change(keyId, { [`alias:${name}`]: null })
    await this.change(bucket, { [`local:${keyId}/${name}`]: null })
  }

  async #setAlias(name: string, target: Buffer): Promise<void> {
    const id = Buffer.from(name)
    const row = this.deps.aliases.local.get(this.deps.db, NO_KEY, id)
    await this.deps.aliases.insert(withFields(row ?? { id }, { bucket: target }, this.deps.hlc.now()))
  }

  async #clearAlias(name: string, target: Buffer): Promise<void> {
    const id = Buffer.from(name)
    const row = this.deps.aliases.local.get(this.deps.db, NO_KEY, id)
    if (row && aliasTarget(row)?.equals(target)) {
      await this.deps.aliases.insert(withFields(row, { bucket: null }, this.deps.hlc.now()))
    }
  }
}

function aliasTarget(row: FieldRow): Buffer | undefined {
  const target = field<Buffer>(row, 'bucket')
  return target && Buffer.from(target)
}

function bucketOf(row: FieldRow): Bucket | undefined {
  if (row.deleted || field(row, 'created') === undefined) return undefined
  const documents = new Map(fieldsWithPrefix<unknown>(row, 'doc:'))
  const versioning = documents.get('versioning')
  return {
    id: row.id,
    hexId: row.id.toString('hex'),
    createdMs: field<number>(row, 'created')!,
    owner: field<string>(row, 'owner') ?? '',
    versioning: versioning === 'enabled' || versioning === 'suspended' ? versioning : 'off',
    objectLock: documents.has('object-lock'),
    aliases: fieldsWithPrefix(row, 'alias:').map(([name]) => name),
    localAliases: fieldsWithPrefix(row, 'local:').map(([name]) => {
      const slash = name.indexOf('/')
      return { keyId: name.slice(0, slash), alias: name.slice(slash + 1) }
    }),
    quotas: (documents.get('quotas') as Bucket['quotas'] | undefined) ?? {},
    document: <T>(name: string) => documents.get(name) as T | undefined,
    documentTimeMs: (name) => {
      const stamped = row.fields[`doc:${name}`]
      return stamped && Math.floor(stamped[0] / 1000)
    },
  }
}
