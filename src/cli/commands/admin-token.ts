import type { AdminTokenInfo } from '../../api/admin/types.js'
import { type AdminClient, CliError, type Output, UsageError } from '../admin-client.js'
import { type ExpiryFlags, readExpiry } from '../expiry.js'
import { abbreviate, formatDate, formatTime, oldestFirst, table } from '../format.js'

/** A token that has an id, as all have but those of the configuration. */
type StoredToken = AdminTokenInfo & { id: string }

/** `admin-token list`, oldest first; those of the configuration come before all. */
export async function listTokens(admin: AdminClient): Promise<Output> {
  const tokens = await admin.call('adminToken.list', {})
  const sorted = oldestFirst(tokens)
  return {
    json: tokens,
    text: table([
      ['ID', 'Created', 'Name', 'Expiration', 'Scope'],
      ...sorted.map((token) => [
        token.id ?? '-',
        formatDate(token.created) || '-',
        token.name,
        expiration(token),
        token.expired ? '' : abbreviate(token.scope),
      ]),
    ]),
  }
}

/** `admin-token info`. */
export async function tokenInfo(admin: AdminClient, pattern: string): Promise<Output> {
  return show(await admin.call('adminToken.info', { search: pattern }))
}

export interface CreateTokenOptions extends Pick<ExpiryFlags, 'expiresIn'> {
  scope?: string
  /** Print the token alone. */
  quiet?: boolean
}

/** `admin-token create`: without --scope the token may do everything, as Garage's. */
export async function createToken(
  admin: AdminClient,
  name: string | undefined,
  { scope = '*', quiet, ...expiry }: CreateTokenOptions,
  nowMs: number,
): Promise<Output> {
  const { expiration: expires } = readExpiry(expiry, nowMs)
  const created = await admin.call('adminToken.create', {
    ...(name !== undefined && { name }),
    ...(expires !== undefined && { expiration: expires }),
    scope: names(scope),
  })
  const { secretToken, ...info } = created
  if (quiet) return { json: created, text: secretToken }
  const text = `The token itself is shown this once only, since no node keeps it:\n\n    ${secretToken}\n\n${show(info).text}`
  return { json: created, text }
}

/** `admin-token rename`. */
export async function renameToken(admin: AdminClient, pattern: string, name: string): Promise<Output> {
  const { id } = await findToken(admin, pattern)
  return show(await admin.call('adminToken.update', { id, name }))
}

/** `admin-token set`: a scope that begins with "+" or "-" adds to the one that there is, or takes from it. */
export async function setToken(
  admin: AdminClient,
  pattern: string,
  { scope, ...expiry }: ExpiryFlags & { scope?: string },
  nowMs: number,
): Promise<Output> {
  const change = readExpiry(expiry, nowMs)
  if (scope === undefined && Object.keys(change).length === 0) {
    throw new UsageError('nothing to set: give --scope, --expires-in or --never-expires')
  }
  const token = await findToken(admin, pattern)
  const newScope = scope === undefined ? {} : { scope: changedScope(token.scope, scope) }
  return show(await admin.call('adminToken.update', { id: token.id, ...change, ...newScope }))
}

function changedScope(current: readonly string[], text: string): string[] {
  if (text.startsWith('+')) return [...new Set([...current, ...names(text.slice(1))])]
  if (!text.startsWith('-')) return names(text)
  const taken = names(text.slice(1))
  return current.filter((name) => !taken.includes(name))
}

function names(list: string): string[] {
  return list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

/** `admin-token delete`. */
export async function deleteToken(
  admin: AdminClient,
  pattern: string,
  confirmed: boolean | undefined,
): Promise<Output> {
  const { id, name } = await findToken(admin, pattern)
  if (!confirmed) throw new UsageError(`this deletes admin token ${id} ("${name}"): confirm with --yes`)
  await admin.call('adminToken.delete', { id })
  return { json: { id }, text: `Admin token ${id} has been deleted.` }
}

/** `admin-token delete-expired`. */
export async function deleteExpiredTokens(
  admin: AdminClient,
  confirmed: boolean | undefined,
): Promise<Output> {
  const tokens = await admin.call('adminToken.list', {})
  const expired = tokens.filter((token): token is StoredToken => token.expired && token.id !== null)
  if (!confirmed) {
    throw new UsageError(`this deletes ${expired.length} expired admin tokens: confirm with --yes`)
  }
  for (const { id } of expired) await admin.call('adminToken.delete', { id })
  return {
    json: expired.map(({ id }) => id),
    text: [
      ...expired.map(({ id, name }) => `Admin token ${id} ("${name}") has been deleted.`),
      `${expired.length} admin tokens have been deleted.`,
    ].join('\n'),
  }
}

async function findToken(admin: AdminClient, pattern: string): Promise<StoredToken> {
  const { id, ...token } = await admin.call('adminToken.info', { search: pattern })
  if (id === null) throw new CliError(`"${pattern}" is a token of the configuration: change it there`)
  return { ...token, id }
}

function expiration({ expired, expiration: time }: AdminTokenInfo): string {
  return expired ? 'expired' : time === null ? 'never' : formatTime(time)
}

function show(token: AdminTokenInfo): Output {
  const rows = [
    ['Token ID:', token.id ?? '-'],
    ['Token name:', token.name],
    ...(token.created === null ? [] : [['Created:', formatTime(token.created)]]),
    ['Validity:', token.expired ? 'EXPIRED' : 'valid'],
    ['Expiration:', token.expiration === null ? 'never' : formatTime(token.expiration)],
    [],
    ...(token.scope.length > 0 ? token.scope : ['(nothing)']).map((name, i) => [
      i === 0 ? 'Scope:' : '',
      name,
    ]),
  ]
  return { json: token, text: `==== ADMIN TOKEN INFORMATION ====\n${table(rows)}` }
}
