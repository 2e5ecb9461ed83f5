import type { Db } from '../../db/db.js'
import type { Table } from '../../table/table.js'
import type { Hlc } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'
import { type FieldRow, field, fieldsWithPrefix, withFields } from './control-rows.js'
import { RowCache } from './row-cache.js'

/** What a key may do in a bucket. */
export interface Permissions {
  read: boolean
  write: boolean
  owner: boolean
}

export const NO_PERMISSIONS: Permissions = { read: false, write: false, owner: false }

/** An access key, as requests are authorized with it. */
export interface AccessKey {
  id: string
  name: string
  secret: string
  createdMs: number
  /** When it stops to be accepted, ms; undefined: never. */
  expiresMs?: number
  mayCreateBuckets: boolean
  /** Bucket id (hex) → permissions; buckets without any are left out. */
  permissions: ReadonlyMap<string, Permissions>
  /** Names that only this key sees → bucket id (hex). */
  localAliases: ReadonlyMap<string, string>
}

const NO_KEY = Buffer.alloc(0)

/** Access keys: full copies on every node. */
export class AccessKeys {
  readonly #cache: RowCache<AccessKey | undefined>

  constructor(private readonly deps: { db: Db; keys: Table<FieldRow>; hlc: Hlc; random: Random }) {
    this.#cache = new RowCache(deps.db, deps.keys, 'utf8', accessKeyOf)
  }

  /** The key as this node knows it, at the cost of one lookup; undefined if unknown here or deleted. */
  local(id: string): AccessKey | undefined {
    return this.#cache.get(id)
  }

  /** The key; a node that does not know it asks a majority before it says no. */
  async get(id: string): Promise<AccessKey | undefined> {
    const known = this.local(id)
    if (known || id.length > 128) return known
    const row = await this.deps.keys.getFromQuorum(NO_KEY, Buffer.from(id))
    return row && accessKeyOf(row)
  }

  /** The key as a majority knows it: for changes that follow from what it is. @throws QuorumUnavailable */
  async refresh(id: string): Promise<AccessKey | undefined> {
    await this.deps.keys.getFromQuorum(NO_KEY, Buffer.from(id))
    return this.local(id)
  }

  /** All keys, by id. */
  list(): AccessKey[] {
    const found: AccessKey[] = []
    for (const row of this.deps.keys.local.range(this.deps.db, NO_KEY, {})) {
      const key = accessKeyOf(row)
      if (key) found.push(key)
    }
    return found
  }

  /** Makes a key with a random id and secret in Garage's form: "GK" and 24 hex digits, 64 hex digits. */
  async create(name: string): Promise<AccessKey> {
    const { random } = this.deps
    return this.import(`GK${random.bytes(12).toString('hex')}`, random.bytes(32).toString('hex'), name)
  }

  /** Adds a key whose id and secret were made elsewhere. @throws Conflict if the id exists or existed */
  async import(id: string, secret: string, name: string): Promise<AccessKey> {
    if (!/^[\x21-\x7e]{3,128}$/.test(id) || id.includes('/')) {
      throw new CarportError('InvalidArgument', 'a key id has 3 to 128 printable ASCII characters and no "/"')
    }
    if (!/^[\x21-\x7e]{8,256}$/.test(secret)) {
      throw new CarportError('InvalidArgument', 'a secret key has 8 to 256 printable ASCII characters')
    }
    if (await this.deps.keys.getFromQuorum(NO_KEY, Buffer.from(id))) {
      throw new CarportError('Conflict', `key ${id} exists already, or was deleted`)
    }
    const nowUs = this.deps.hlc.now()
    const created = { name, secret, created: Math.floor(nowUs / 1000) }
    const row: FieldRow = withFields({ id: Buffer.from(id) }, created, nowUs)
    await this.deps.keys.insert(row)
    // Not from the own copy, which may be the last to have it.
    return accessKeyOf(row)!
  }

  /** Changes fields of a key: name, createBucket, expires (ms), bucket:<hex> (Permissions), alias:<name> (bucket hex). */
  async change(id: string, changes: Record<string, unknown>): Promise<AccessKey> {
    const { db, keys, hlc } = this.deps
    const sortKey = Buffer.from(id)
    const row = keys.local.get(db, NO_KEY, sortKey) ?? (await keys.getFromQuorum(NO_KEY, sortKey))
    if (!row || row.deleted) throw new CarportError('NotFound', `no key ${id}`)
    const changed = withFields(row, changes, hlc.now())
    await keys.insert(changed)
    return accessKeyOf(keys.schema.merge(row, changed))!
  }

  /** Deletes a key for ever; its objects and buckets stay. */
  async delete(id: string): Promise<void> {
    await this.deps.keys.insert({ id: Buffer.from(id), deleted: true, fields: {} })
  }

  /** Sets what a key may do in a bucket. */
  setPermissions(id: string, bucket: Buffer, permissions: Permissions): Promise<AccessKey> {
    const any = permissions.read || permissions.write || permissions.owner
    return this.change(id, { [`bucket:${bucket.toString('hex')}`]: any ? permissions : null })
  }
}

function accessKeyOf(row: FieldRow): AccessKey | undefined {
  const secret = field<string>(row, 'secret')
  if (row.deleted || secret === undefined) return undefined
  const expiresMs = field<number>(row, 'expires')
  return {
    id: row.id.toString(),
    name: field<string>(row, 'name') ?? '',
    secret,
    createdMs: field<number>(row, 'created') ?? 0,
    ...(expiresMs !== undefined && { expiresMs }),
    mayCreateBuckets: field<boolean>(row, 'createBucket') ?? false,
    permissions: new Map(fieldsWithPrefix<Permissions>(row, 'bucket:')),
    localAliases: new Map(fieldsWithPrefix<string>(row, 'alias:')),
  }
}
