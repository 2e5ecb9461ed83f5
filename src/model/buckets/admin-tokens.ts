import { createHash, timingSafeEqual } from 'node:crypto'
import type { Db } from '../../db/db.js'
import type { Table } from '../../table/table.js'
import type { Clock, Hlc } from '../../util/clock.js'
import { CarportError } from '../../util/errors.js'
import type { Random } from '../../util/random.js'
import { type FieldRow, field, walkRows, withFields } from './control-rows.js'
import { RowCache } from './row-cache.js'

/** The scope that allows every operation. */
export const EVERY_OPERATION = '*'

/** A token of the admin API, kept in the cluster. Its secret is not kept, only a hash of it. */
export interface AdminToken {
  /** 24 hexadecimal digits: the part of the token before the dot. */
  id: string
  name: string
  /** SHA-256 of the whole token. */
  secretHash: Buffer
  createdMs: number
  /** When it stops to be accepted, ms; undefined: never. */
  expiresMs?: number
  /** Names of endpoints, or EVERY_OPERATION. */
  scope: readonly string[]
}

/** The settings of a token that an administrator may change; an absent one stays as it is. */
export interface AdminTokenChanges {
  name?: string
  /** Null: never. */
  expiresMs?: number | null
  scope?: readonly string[]
}

const NO_KEY = Buffer.alloc(0)
const ID = /^[0-9a-f]{24}$/
const SECRET_BYTES = 32

/** Tokens of the admin API: full copies on every node. */
export class AdminTokens {
  readonly #cache: RowCache<AdminToken | undefined>

  constructor(
    private readonly deps: {
      db: Db
      clock: Clock
      tokens: Table<FieldRow>
      hlc: Hlc
      random: Random
    },
  ) {
    this.#cache = new RowCache(deps.db, deps.tokens, 'utf8', tokenOf)
  }

  /** The token as this node knows it; undefined if unknown here or deleted. */
  local(id: string): AdminToken | undefined {
    return this.#cache.get(id)
  }

  /** The token as a majority knows it, so that a token that was deleted anywhere is deleted. @throws QuorumUnavailable */
  async refresh(id: string): Promise<AdminToken | undefined> {
    if (!ID.test(id)) return undefined
    await this.deps.tokens.getFromQuorum(NO_KEY, Buffer.from(id))
    return this.local(id)
  }

  /** All tokens, by id: a walk with other work between. */
  async *walk(): AsyncGenerator<AdminToken> {
    for await (const row of walkRows(this.deps, this.deps.tokens)) {
      const token = tokenOf(row)
      if (token) yield token
    }
  }

  /**
   * Makes a token with a random id and a random secret of 256 bits, which is why one SHA-256 of it is enough to keep.
   * @returns the token, and its text, which nobody can ask for again
   * @throws QuorumUnavailable
   */
  async create(settings: Required<AdminTokenChanges>): Promise<{ token: AdminToken; text: string }> {
    const { hlc, tokens, random } = this.deps
    const id = random.bytes(12).toString('hex')
    const text = `${id}.${random.bytes(SECRET_BYTES).toString('base64url')}`
    const nowUs = hlc.now()
    const fields = { hash: hashOf(text), created: Math.floor(nowUs / 1000), ...fieldsOf(settings) }
    const row: FieldRow = withFields({ id: Buffer.from(id) }, fields, nowUs)
    await tokens.insert(row)
    // Not from the own copy, which may be the last to have it.
    return { token: tokenOf(row)!, text }
  }

  /** @throws NotFound, QuorumUnavailable */
  async change(id: string, changes: AdminTokenChanges): Promise<AdminToken> {
    const { tokens, hlc } = this.deps
    const row = await tokens.getFromQuorum(NO_KEY, Buffer.from(id))
    if (!row || row.deleted) throw new CarportError('NotFound', `no admin token ${id}`)
    const changed = withFields(row, fieldsOf(changes), hlc.now())
    await tokens.insert(changed)
    return tokenOf(tokens.schema.merge(row, changed))!
  }

  /** Deletes a token for ever. @throws QuorumUnavailable */
  async delete(id: string): Promise<void> {
    await this.deps.tokens.insert({ id: Buffer.from(id), deleted: true, fields: {} })
  }
}

/** The id in the text of a token; undefined if it is none of this kind. */
export function tokenIdOf(text: string): string | undefined {
  const id = text.slice(0, text.indexOf('.'))
  return ID.test(id) ? id : undefined
}

/** Whether `text` is that token, in a time that does not depend on where it differs. */
export function isToken({ secretHash }: AdminToken, text: string): boolean {
  return timingSafeEqual(hashOf(text), secretHash)
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function fieldsOf({ name, expiresMs, scope }: AdminTokenChanges): Record<string, unknown> {
  return {
    ...(name !== undefined && { name }),
    ...(expiresMs !== undefined && { expires: expiresMs }),
    ...(scope !== undefined && { scope: [...scope] }),
  }
}

function tokenOf(row: FieldRow): AdminToken | undefined {
  const hash = field<Uint8Array>(row, 'hash')
  if (row.deleted || hash === undefined || hash.length !== 32) return undefined
  const expiresMs = field<number>(row, 'expires')
  return {
    id: row.id.toString(),
    name: field<string>(row, 'name') ?? '',
    secretHash: Buffer.from(hash),
    createdMs: field<number>(row, 'created') ?? 0,
    ...(expiresMs !== undefined && { expiresMs }),
    scope: field<string[]>(row, 'scope') ?? [],
  }
}
