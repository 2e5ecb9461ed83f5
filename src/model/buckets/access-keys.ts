import type { Db } from '../../db/db.js'
import type { Table } from '../../table/table.js'
import type { Clock, Hlc } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'
import { type FieldRow, field, fieldsWithPrefix, walkRows, withFields } from './control-rows.js'
import type { FieldDecisions } from './decisions.js'
import type { ControlFreshness } from './freshness.js'
import { KeyIndex } from './key-index.js'
import { RowCache } from './row-cache.js'

/** The permissions of a key in a bucket. */
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
const IMPORTED_NAME = 'Imported key'

/** Access keys: full copies on every node. */
export class AccessKeys {
  /** Complete once the start has ended. */
  readonly index = new KeyIndex<AccessKey>((id) => this.local(id))
  readonly #cache: RowCache<AccessKey | undefined>

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      keys: Table<FieldRow>
      decisions: FieldDecisions
      freshness: ControlFreshness
      hlc: Hlc
      random: Random
    },
  ) {
    this.#cache = new RowCache(deps.db, deps.keys, 'utf8', accessKeyOf)
  }

  /** The key as this node knows it, at the cost of one lookup; undefined if unknown here or deleted. */
  local(id: string): AccessKey | undefined {
    return this.#cache.get(id)
  }

  /**
   * The key, to authorize a request with: at once where this node knows it and its copies are current, else once
   * others were asked (see ControlFreshness).
   * @throws QuorumUnavailable, LayoutNotReady
   */
  find(id: string): AccessKey | undefined | Promise<AccessKey | undefined> {
    const { freshness } = this.deps
    if (!freshness.isCurrent()) return freshness.catchUp().then(() => this.local(id))
    return this.local(id) ?? this.get(id)
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

  /** All keys, by id, from the id `start` on: a walk with other work between. */
  async *walk(start?: string): AsyncGenerator<AccessKey> {
    for await (const row of walkRows(
      this.deps,
      this.deps.keys,
      start === undefined ? undefined : Buffer.from(start),
    )) {
      const key = accessKeyOf(row)
      if (key) yield key
    }
  }

  /** Makes the index. Changes that come meanwhile are in it. */
  async start(): Promise<void> {
    for await (const { id } of walkRows(this.deps, this.deps.keys)) this.index.changed(id.toString())
  }

  /**
   * Makes a key with a random id and secret in Garage's form: "GK" and 24 hex digits, 64 hex digits.
   * @throws QuorumUnavailable: the key may exist, but nobody knows its secret
   */
  async create(name: string): Promise<AccessKey> {
    const { hlc, keys, random } = this.deps
    const id = `GK${random.bytes(12).toString('hex')}`
    const nowUs = hlc.now()
    const created = { name, secret: random.bytes(32).toString('hex'), created: Math.floor(nowUs / 1000) }
    const row: FieldRow = withFields({ id: Buffer.from(id) }, created, nowUs)
    await keys.insert(row)
    // Not from the own copy, which may be the last to have it.
    return accessKeyOf(row)!
  }

  /**
   * Adds a key whose id and secret were made elsewhere. Of several who add one id with different secrets at the same
   * time, one succeeds; adding the same key again changes nothing.
   * @param name undefined: "Imported key", and an existing key keeps its name
   * @throws InvalidArgument; Conflict if the id exists or existed; QuorumUnavailable: the key may exist
   */
  async import(id: string, secret: string, name?: string): Promise<AccessKey> {
    if (!/^[\x21-\x7e]{3,128}$/.test(id) || id.includes('/')) {
      throw new CarportError('InvalidArgument', 'a key id has 3 to 128 printable ASCII characters and no "/"')
    }
    if (!/^[\x21-\x7e]{8,256}$/.test(secret)) {
      throw new CarportError('InvalidArgument', 'a secret key has 8 to 256 printable ASCII characters')
    }
    const { decisions, hlc, keys } = this.deps
    const row = await decisions.change(keys, Buffer.from(id), 'secret', (current, known) => {
      // The same call may have been made before, or somebody else may have completed what this one began.
      if (current === secret && known?.deleted !== true) return undefined
      if (known) throw new CarportError('Conflict', `key ${id} exists already, or was deleted`)
      return { value: secret }
    })
    const nowUs = hlc.now()
    const isNew = field(row, 'created') === undefined
    const described = withFields(
      row,
      {
        ...((name !== undefined || isNew) && { name: name ?? IMPORTED_NAME }),
        ...(isNew && { created: Math.floor(nowUs / 1000) }),
      },
      nowUs,
    )
    // Whoever gives the right secret of a key that is there may repeat the call for ever, without any write.
    if (Object.keys(described.fields).length === 0 || (!isNew && field(row, 'name') === name)) {
      return accessKeyOf(row)!
    }
    await keys.insert(described)
    return accessKeyOf(keys.schema.merge(row, described))!
  }

  /**
   * Changes fields of a key, later than everything that was acknowledged of them before: name, createBucket, expires
   * (ms), secret.
   * @throws NotFound, QuorumUnavailable
   */
  async change(id: string, changes: Record<string, unknown>): Promise<AccessKey> {
    const { keys, hlc } = this.deps
    const row = existing(await keys.getFromQuorum(NO_KEY, Buffer.from(id)), id)
    const changed = withFields(row, changes, hlc.now())
    await keys.insert(changed)
    return accessKeyOf(keys.schema.merge(row, changed))!
  }

  /** Deletes a key for ever; its objects and buckets stay. */
  async delete(id: string): Promise<void> {
    await this.deps.keys.insert({ id: Buffer.from(id), deleted: true, fields: {} })
  }

  /** Sets what a key may do in a bucket. @throws NotFound, QuorumUnavailable */
  setPermissions(id: string, bucket: Buffer, permissions: Permissions): Promise<AccessKey> {
    return this.changePermissions(id, bucket, () => permissions)
  }

  /**
   * Changes what a key may do in a bucket, as one step: of two administrators who change it at the same time, one sees
   * what the other did. @param change may be asked several times
   * @throws NotFound, QuorumUnavailable
   */
  async changePermissions(
    id: string,
    bucket: Buffer,
    change: (current: Permissions) => Permissions,
  ): Promise<AccessKey> {
    const { decisions, keys } = this.deps
    const name = `bucket:${bucket.toString('hex')}`
    const row = await decisions.change(keys, Buffer.from(id), name, (current, known) => {
      existing(known, id)
      const { read, write, owner } = change((current as Permissions | undefined) ?? NO_PERMISSIONS)
      return { value: read || write || owner ? { read, write, owner } : null }
    })
    return accessKeyOf(row)!
  }

  /**
   * Makes a name that only this key sees mean a bucket.
   * @param exists whether another bucket, by its id in hex, is still there
   * @throws Conflict if the name means another bucket; NotFound, QuorumUnavailable
   */
  async claimAlias(
    id: string,
    alias: string,
    hexId: string,
    exists: (hexId: string) => Promise<boolean>,
  ): Promise<void> {
    const { decisions, keys } = this.deps
    await decisions.change(keys, Buffer.from(id), `alias:${alias}`, async (current, known) => {
      existing(known, id)
      if (current === hexId) return undefined
      if (typeof current === 'string' && (await exists(current))) {
        throw new CarportError('Conflict', `bucket name ${alias} is taken for that key`)
      }
      return { value: hexId }
    })
  }

  /** Makes a name that only this key sees free, if it still means that bucket. @throws QuorumUnavailable */
  async releaseAlias(id: string, alias: string, hexId: string): Promise<void> {
    const { decisions, keys } = this.deps
    await decisions.change(keys, Buffer.from(id), `alias:${alias}`, (current) =>
      current === hexId ? { value: null } : undefined,
    )
  }
}

function existing(row: FieldRow | undefined, id: string): FieldRow {
  if (!row || row.deleted) throw new CarportError('NotFound', `no key ${id}`)
  return row
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
