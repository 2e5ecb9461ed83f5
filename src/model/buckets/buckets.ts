import type { Db } from '../../db/db.js'
import type { Table } from '../../table/table.js'
import type { Awaitable } from '../../util/awaitable.js'
import type { Clock, Hlc } from '../../util/clock.js'
import { CarportError, errorCode } from '../../util/errors.js'
import { eachLimited } from '../../util/limited.js'
import type { Random } from '../../util/random.js'
import { type AccessKey, type AccessKeys, NO_PERMISSIONS } from './access-keys.js'
import { type FieldRow, field, fieldsWithPrefix, walkRows, withFields } from './control-rows.js'
import type { FieldDecisions } from './decisions.js'
import type { BucketDocuments, DocumentName, Quotas, Versioning } from './documents.js'
import type { ControlFreshness } from './freshness.js'
import { checkBucketName, mayBeBucketName } from './names.js'
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
  quotas: Quotas
  /** A configuration document; undefined if the bucket has none of that name. */
  document<N extends DocumentName>(name: N): BucketDocuments[N] | undefined
  /** When a document was last set, ms; undefined if it never was. */
  documentTimeMs(name: DocumentName): number | undefined
}

const NO_KEY = Buffer.alloc(0)
const REFRESHES_IN_FLIGHT = 16

/** Buckets and their names: full copies on every node. */
export class Buckets {
  readonly #buckets: RowCache<Bucket | undefined>
  /** The ids as latin1. */
  readonly #aliases: RowCache<string | undefined>

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      buckets: Table<FieldRow>
      aliases: Table<FieldRow>
      decisions: FieldDecisions
      freshness: ControlFreshness
      keys: AccessKeys
      hlc: Hlc
      random: Random
      allowPunycode: boolean
    },
  ) {
    this.#buckets = new RowCache(deps.db, deps.buckets, 'latin1', bucketOf)
    this.#aliases = new RowCache(deps.db, deps.aliases, 'utf8', (row) => aliasTarget(row)?.toString('latin1'))
  }

  /** @throws CarportError InvalidArgument unless a bucket may have that name here */
  checkName(name: string): void {
    checkBucketName(name, this.deps.allowPunycode)
  }

  /** The bucket with that id, as this node knows it. */
  byId(id: Buffer): Bucket | undefined {
    return this.#buckets.get(id.toString('latin1'))
  }

  /** The bucket with that id, as a majority knows it: for changes that follow from what it is. @throws QuorumUnavailable */
  async refresh(id: Buffer): Promise<Bucket | undefined> {
    await this.deps.buckets.getFromQuorum(NO_KEY, id)
    return this.byId(id)
  }

  /**
   * The bucket with that id as it is by now: at once where this node's copies are current (see ControlFreshness). That there is
   * none is what a majority says.
   * @throws QuorumUnavailable, LayoutNotReady
   */
  now(id: Buffer): Awaitable<Bucket | undefined> {
    const { freshness } = this.deps
    if (!freshness.isCurrent()) return freshness.catchUp().then(() => this.byId(id) ?? this.refresh(id))
    return this.byId(id) ?? this.refresh(id)
  }

  /** The bucket that `name` means to the holder of `key` (its own aliases first), as this node knows it. */
  localByName(name: string, key: AccessKey | undefined): Bucket | undefined {
    const local = key?.localAliases.get(name)
    if (local !== undefined) return this.byId(Buffer.from(local, 'hex'))
    const target = this.#aliases.get(name)
    return target === undefined ? undefined : this.#buckets.get(target)
  }

  /**
   * The bucket that `name` means to the holder of `key`, to authorize a request with: at once where this node knows it
   * and its copies are current, else once others were asked (see ControlFreshness).
   * @throws QuorumUnavailable, LayoutNotReady
   */
  find(name: string, key: AccessKey | undefined): Bucket | undefined | Promise<Bucket | undefined> {
    const { freshness, keys } = this.deps
    if (!freshness.isCurrent()) {
      return freshness.catchUp().then(() => this.localByName(name, key && keys.local(key.id)))
    }
    return this.localByName(name, key) ?? this.byName(name, key)
  }

  /** Like localByName, but asks a majority before it says no. */
  async byName(name: string, key: AccessKey | undefined): Promise<Bucket | undefined> {
    const known = this.localByName(name, key)
    if (known || !mayBeBucketName(name)) return known
    const alias = await this.deps.aliases.getFromQuorum(NO_KEY, Buffer.from(name))
    const target = alias && aliasTarget(alias)
    if (!target) return undefined
    const row = await this.deps.buckets.getFromQuorum(NO_KEY, target)
    return row && bucketOf(row)
  }

  /** All buckets, by id, from the id `start` on: a walk with other work between. */
  async *walk(start?: Buffer): AsyncGenerator<Bucket> {
    for await (const row of walkRows(this.deps, this.deps.buckets, start)) {
      const bucket = bucketOf(row)
      if (bucket) yield bucket
    }
  }

  /**
   * Makes a bucket under a global name, which one of several who want it at the same time gets. All that belongs to the
   * bucket is written before the name is decided: a name leads to a whole bucket, also if this node dies in between.
   * @param options.ownerKey a key that may do everything in the bucket
   * @param options.id the bucket's id, if it was chosen; no bucket ever had it (see `checkUnusedId`)
   * @throws InvalidArgument for a bad name; Conflict if the name is taken; QuorumUnavailable: the bucket may exist
   */
  async create(
    name: string,
    options: { owner?: string; ownerKey?: string; documents?: Partial<BucketDocuments>; id?: Buffer } = {},
  ): Promise<Bucket> {
    this.checkName(name)
    if (await this.#target(name)) throw taken(name)
    return this.#make(`alias:${name}`, options, (id) => this.#claimName(name, id))
  }

  /**
   * Makes a bucket under a name that only its owner's key sees; otherwise as `create`.
   * @throws InvalidArgument for a bad name; Conflict if the key has a bucket of that name; QuorumUnavailable
   */
  async createLocal(
    name: string,
    options: { owner: string; ownerKey: string; documents?: Partial<BucketDocuments> },
  ): Promise<Bucket> {
    this.checkName(name)
    const { ownerKey } = options
    return this.#make(`local:${ownerKey}/${name}`, options, (id) =>
      this.#claimLocalName(ownerKey, name, id.toString('hex')),
    )
  }

  /** Writes a bucket's row, and then lets `claim` decide its name. @param field the row's field for that name */
  async #make(
    field: string,
    options: { owner?: string; ownerKey?: string; documents?: Partial<BucketDocuments>; id?: Buffer },
    claim: (id: Buffer) => Promise<void>,
  ): Promise<Bucket> {
    const { buckets, hlc, keys, random } = this.deps
    const id = options.id ?? random.bytes(16)
    const nowUs = hlc.now()
    const fields: Record<string, unknown> = {
      created: Math.floor(nowUs / 1000),
      owner: options.owner ?? '',
      [field]: true,
    }
    for (const [document, value] of Object.entries(options.documents ?? {})) fields[`doc:${document}`] = value
    const row = withFields({ id }, fields, nowUs)
    const { ownerKey } = options
    await buckets.insert(row)
    try {
      if (ownerKey) await keys.setPermissions(ownerKey, id, { read: true, write: true, owner: true })
      await claim(id)
    } catch (error) {
      // Only where it is sure that the name is another's: else somebody may yet complete what was begun here.
      if (errorCode(error) === 'Conflict') {
        await buckets.insert({ id, deleted: true, fields: {} })
        if (ownerKey) await keys.setPermissions(ownerKey, id, NO_PERMISSIONS)
      }
      throw error
    }
    // Not from the own copy, which may be the last to have it.
    return bucketOf(row)!
  }

  /** @throws Conflict if a bucket has or had that id; QuorumUnavailable */
  async checkUnusedId(id: Buffer): Promise<void> {
    const row = await this.deps.buckets.getFromQuorum(NO_KEY, id)
    if (row) throw new CarportError('Conflict', `bucket ${id.toString('hex')} exists already, or was deleted`)
  }

  /** Makes a bucket without any name. @param id see `create` */
  async createUnnamed(id: Buffer = this.deps.random.bytes(16)): Promise<Bucket> {
    const nowUs = this.deps.hlc.now()
    const row = withFields({ id }, { created: Math.floor(nowUs / 1000), owner: '' }, nowUs)
    await this.deps.buckets.insert(row)
    // From what was written: the own copy may be the last to have it.
    return bucketOf(row)!
  }

  /** Deletes a bucket, which the caller found to be empty, with all its names. @throws QuorumUnavailable */
  async delete(bucket: Bucket): Promise<void> {
    const { buckets, keys } = this.deps
    const now = (await this.refresh(bucket.id)) ?? bucket
    for (const alias of now.aliases) await this.#releaseName(alias, bucket.id)
    for (const { keyId, alias } of now.localAliases) await keys.releaseAlias(keyId, alias, bucket.hexId)
    for (const { id } of keys.index.keysOf(bucket.hexId)) {
      await keys.setPermissions(id, bucket.id, NO_PERMISSIONS)
    }
    await buckets.insert({ id: bucket.id, deleted: true, fields: {} })
  }

  /**
   * Changes fields of a bucket, later than everything that was acknowledged of them before.
   * @throws NotFound if it is deleted; QuorumUnavailable
   */
  async change(bucket: Bucket, changes: Record<string, unknown>): Promise<void> {
    const { buckets, hlc } = this.deps
    const row = await buckets.getFromQuorum(NO_KEY, bucket.id)
    if (!row || row.deleted) throw new CarportError('NotFound', `no bucket ${bucket.hexId}`)
    await buckets.insert(withFields(row, changes, hlc.now()))
  }

  /** Sets (or with undefined removes) a configuration document. */
  setDocument<N extends DocumentName>(
    bucket: Bucket,
    name: N,
    value: BucketDocuments[N] | undefined,
  ): Promise<void> {
    return this.change(bucket, { [`doc:${name}`]: value ?? null })
  }

  /** Gives a bucket one more global name. @throws InvalidArgument, Conflict, QuorumUnavailable */
  async addAlias(bucket: Bucket, name: string): Promise<void> {
    this.checkName(name)
    await this.#claimName(name, bucket.id)
    await this.change(bucket, { [`alias:${name}`]: true })
  }

  /** Takes a global name away. @throws NotFound if it is not a name of that bucket; QuorumUnavailable */
  async removeAlias(bucket: Bucket, name: string): Promise<void> {
    if (!bucket.aliases.includes(name))
      throw new CarportError('NotFound', `${name} is not a name of that bucket`)
    await this.#releaseName(name, bucket.id)
    await this.change(bucket, { [`alias:${name}`]: null })
  }

  /** Gives a bucket a name that only one key sees. @throws InvalidArgument, Conflict, NotFound, QuorumUnavailable */
  async addLocalAlias(bucket: Bucket, keyId: string, name: string): Promise<void> {
    this.checkName(name)
    await this.#claimLocalName(keyId, name, bucket.hexId)
    await this.change(bucket, { [`local:${keyId}/${name}`]: true })
  }

  async removeLocalAlias(bucket: Bucket, keyId: string, name: string): Promise<void> {
    await this.deps.keys.releaseAlias(keyId, name, bucket.hexId)
    await this.change(bucket, { [`local:${keyId}/${name}`]: null })
  }

  /**
   * Makes names and buckets agree again, where a crash came between the writes of one change. The row of a
   * name says whose it is; a bucket that lists it wrongly loses it. Returns the number of corrections.
   * @throws QuorumUnavailable: the knowledge of this node alone is not enough to judge by
   */
  async repairAliases(): Promise<number> {
    const { aliases, keys } = this.deps
    await this.#refreshAll()
    let corrected = 0
    for await (const bucket of this.walk()) {
      for (const name of bucket.aliases) {
        const row = await aliases.getFromQuorum(NO_KEY, Buffer.from(name))
        const target = row && aliasTarget(row)
        if (target?.equals(bucket.id)) continue
        corrected++
        if (!target || !(await this.refresh(target))) await this.#claimName(name, bucket.id)
        else await this.change(bucket, { [`alias:${name}`]: null })
      }
      for (const { keyId, alias } of bucket.localAliases) {
        const key = keys.local(keyId) ?? (await keys.refresh(keyId))
        if (key?.localAliases.get(alias) === bucket.hexId) continue
        corrected++
        await this.change(bucket, { [`local:${keyId}/${alias}`]: null })
      }
    }
    for await (const row of walkRows(this.deps, aliases)) {
      const target = aliasTarget(row)
      if (!target || this.byId(target)?.aliases.includes(row.id.toString())) continue
      const bucket = await this.refresh(target)
      corrected++
      if (bucket) await this.change(bucket, { [`alias:${row.id}`]: true })
      else await this.#releaseName(row.id.toString(), target)
    }
    for await (const key of keys.walk()) {
      for (const [alias, hexId] of key.localAliases) {
        const bucket = await this.refresh(Buffer.from(hexId, 'hex'))
        if (bucket?.localAliases.some((local) => local.keyId === key.id && local.alias === alias)) continue
        corrected++
        if (bucket) await this.change(bucket, { [`local:${key.id}/${alias}`]: true })
        else await keys.releaseAlias(key.id, alias, hexId)
      }
    }
    return corrected
  }

  /** Brings what this node knows of all names up to what a majority knows. */
  async #refreshAll(): Promise<void> {
    const { buckets, aliases, keys } = this.deps
    const keyIds: string[] = []
    for await (const { id } of keys.walk()) keyIds.push(id)
    await eachLimited(keyIds, REFRESHES_IN_FLIGHT, (id) => keys.refresh(id))
    for (const table of [buckets, aliases]) {
      const ids: Buffer[] = []
      for await (const { id } of walkRows(this.deps, table)) ids.push(Buffer.from(id))
      await eachLimited(ids, REFRESHES_IN_FLIGHT, (id) => table.getFromQuorum(NO_KEY, id))
    }
  }

  /** The bucket that a majority says a global name means, if that bucket exists. */
  async #target(name: string): Promise<Buffer | undefined> {
    const row = await this.deps.aliases.getFromQuorum(NO_KEY, Buffer.from(name))
    const target = row && aliasTarget(row)
    return target && (await this.#exists(target)) ? target : undefined
  }

  async #exists(id: Buffer): Promise<boolean> {
    const row = await this.deps.buckets.getFromQuorum(NO_KEY, id)
    return row !== undefined && bucketOf(row) !== undefined
  }

  /** Makes `name` mean that bucket. @throws Conflict if it means another that exists; QuorumUnavailable */
  async #claimName(name: string, id: Buffer): Promise<void> {
    const { aliases, decisions } = this.deps
    await decisions.change(aliases, Buffer.from(name), 'bucket', async (current) => {
      if (!Buffer.isBuffer(current)) return { value: id }
      if (current.equals(id)) return undefined
      if (await this.#exists(current)) throw taken(name)
      return { value: id }
    })
  }

  #claimLocalName(keyId: string, name: string, hexId: string): Promise<void> {
    return this.deps.keys.claimAlias(keyId, name, hexId, (other) => this.#exists(Buffer.from(other, 'hex')))
  }

  /** Makes `name` free if it still means that bucket. @throws QuorumUnavailable */
  async #releaseName(name: string, id: Buffer): Promise<void> {
    const { aliases, decisions } = this.deps
    await decisions.change(aliases, Buffer.from(name), 'bucket', (current) =>
      Buffer.isBuffer(current) && current.equals(id) ? { value: null } : undefined,
    )
  }
}

function taken(name: string): CarportError {
  return new CarportError('Conflict', `bucket name ${name} is taken`)
}

function aliasTarget(row: FieldRow): Buffer | undefined {
  const target = field<Buffer>(row, 'bucket')
  return target && Buffer.from(target)
}

function bucketOf(row: FieldRow): Bucket | undefined {
  const createdMs = field<number>(row, 'created')
  if (row.deleted || createdMs === undefined) return undefined
  const documents = new Map(fieldsWithPrefix<unknown>(row, 'doc:'))
  const versioning = documents.get('versioning')
  const objectLock = documents.has('object-lock')
  return {
    id: row.id,
    hexId: row.id.toString('hex'),
    createdMs,
    owner: field<string>(row, 'owner') ?? '',
    // Locks need versions. Each is refused without the other, but two nodes may be asked at the same time.
    versioning:
      objectLock || versioning === 'enabled' ? 'enabled' : versioning === 'suspended' ? versioning : 'off',
    objectLock,
    aliases: fieldsWithPrefix(row, 'alias:').map(([name]) => name),
    localAliases: fieldsWithPrefix(row, 'local:').map(([name]) => {
      const slash = name.indexOf('/')
      return { keyId: name.slice(0, slash), alias: name.slice(slash + 1) }
    }),
    quotas: (documents.get('quotas') as Quotas | undefined) ?? {},
    document: <N extends DocumentName>(name: N) => documents.get(name) as BucketDocuments[N] | undefined,
    documentTimeMs: (name) => {
      const stamped = row.fields[`doc:${name}`]
      return stamped && Math.floor(stamped[0] / 1000)
    },
  }
}
