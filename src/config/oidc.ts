import {
  type Findings,
  optional,
  parseText,
  readSection,
  required,
  type SectionSpec,
  type Values,
} from './section.js'
import { show, ValueError } from './values.js'

/** A rule that lets tokens with this value in this claim act with an access key. */
export interface OidcRole {
  /** The name by which clients may ask for it; null: by the access key's id alone. */
  name: string | null
  /** Name of the claim; with dots, a path into the claims ("realm_access.roles"). */
  claim: string
  /** The value that the claim must be or contain; "*" stands for any. */
  value: string
  /** Id of the access key whose permissions a session gets. */
  accessKey: string
  /** Endpoints of the admin API that those who sign in to the console may use; empty: none. */
  adminScope: readonly string[]
}

/** An identity provider whose tokens are exchanged for temporary credentials. */
export interface OidcProvider {
  /** Its name in the configuration. */
  name: string
  /** The issuer, exactly as in its tokens. */
  issuer: string
  /** Tokens must be for one of them: client ids, as a rule. */
  audiences: readonly string[]
  /** The URL of its keys; null: the one in its discovery document. */
  jwksUri: string | null
  /** As which client the console signs people in, and which scopes it asks for; null: it does not offer the provider. */
  console: { clientId: string; scope: string } | null
  /** In the order of the configuration: the first that fits counts. */
  roles: readonly OidcRole[]
}

const ROLES_EXPECTED = 'one or more [[oidc.NAME.roles]] sections'

/** The keys of [oidc.NAME]. */
export const OIDC_PROVIDER = {
  issuer: required(parseProviderUrl),
  audience: required(parseAudience),
  jwks_uri: optional(parseProviderUrl, null),
  console_client_id: optional(parseText('a client id of the provider'), null),
  console_scope: optional(parseScope, 'openid'),
  roles: required(parseRoleTables),
} satisfies SectionSpec

/** The keys of [[oidc.NAME.roles]]. */
export const OIDC_ROLE = {
  name: optional(parseRoleName, null),
  claim: optional(parseText('the name of a claim'), 'sub'),
  value: required(parseText('the value that the claim must have, or "*"')),
  access_key: required(parseText('the id of an access key')),
  admin_scope: optional(parseScopeNames, []),
} satisfies SectionSpec

/**
 * Reads the section [oidc]. Problems go to `findings`; the result is complete only if there are none.
 * @param table undefined or null without the section
 */
export function readOidc(
  table: Record<string, unknown> | null | undefined,
  findings: Findings,
): OidcProvider[] {
  const providers: OidcProvider[] = []
  for (const [name, section] of Object.entries(table ?? {})) {
    const key = `oidc.${name}`
    if (!isTable(section)) {
      findings.problem(key, `is ${show(section)}, expected a section [oidc.NAME]`)
      continue
    }
    const values = readSection(OIDC_PROVIDER, section, `${key}.`, findings)
    const roles = (values.roles ?? []).map((role, i) => {
      const read = readSection(OIDC_ROLE, role, `${key}.roles[${i + 1}].`, findings)
      const { name, claim, value, access_key: accessKey, admin_scope } = read as Values<typeof OIDC_ROLE>
      if (admin_scope?.length > 0 && value === '*') {
        const roleKey = `${key}.roles[${i + 1}].admin_scope`
        findings.problem(roleKey, 'goes with value "*", expected a value that only administrators have')
      }
      return { name, claim, value, accessKey, adminScope: admin_scope }
    })
    const read = values as Values<typeof OIDC_PROVIDER>
    const { issuer, audience: audiences, jwks_uri: jwksUri } = read
    const { console_client_id: clientId, console_scope: scope } = read
    if (clientId && audiences?.includes(clientId) === false) {
      findings.problem(
        `${key}.console_client_id`,
        `is ${show(clientId)}, expected one of the names in audience: its tokens would be refused`,
      )
    }
    const isAdminUseless = clientId === null && roles.some(({ adminScope }) => adminScope?.length > 0)
    if (isAdminUseless) findings.warn(`${key}.roles`, 'admin_scope has no effect without console_client_id')
    const twin = providers.find((other) => other.issuer === issuer)
    if (twin && issuer !== undefined) {
      findings.problem(`${key}.issuer`, `is that of oidc.${twin.name}, expected each issuer once`)
    }
    const console = clientId === null ? null : { clientId, scope }
    providers.push({ name, issuer, audiences, jwksUri, console, roles })
  }
  return providers
}

/** Accepts https, and http on loopback alone, for a provider on the same machine. */
function parseProviderUrl(value: unknown): string {
  if (typeof value !== 'string' || !isProviderUrl(value)) {
    throw new ValueError(
      `is ${show(value)}`,
      'an https URL such as "https://id.example.org" (http on loopback alone)',
    )
  }
  return value
}

/** Whether keys may be fetched from there: nobody on the way can change them. */
export function isProviderUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, search, hash } = new URL(text)
  if (username !== '' || search !== '' || hash !== '') return false
  const loopback = hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
  return protocol === 'https:' || (protocol === 'http:' && loopback)
}

function parseAudience(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0 || list.some((item) => typeof item !== 'string' || item === '')) {
    throw new ValueError(`is ${show(value)}`, 'the client id that tokens are for, or a list of them')
  }
  return list as string[]
}

/** A list of scopes of OAuth 2.0 (RFC 6749, section 3.3); OpenID Connect asks for "openid" among them. */
function parseScope(value: unknown): string {
  const names = typeof value === 'string' ? value.split(' ') : []
  if (!names.includes('openid') || !names.every((name) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(name))) {
    throw new ValueError(
      `is ${show(value)}`,
      'scopes with a space between them, "openid" among them, such as "openid groups"',
    )
  }
  return value as string
}

/** Names of endpoints of the admin API, or "*", as admin tokens have them. */
function parseScopeNames(value: unknown): string[] {
  const isName = (item: unknown) => typeof item === 'string' && /^(\*|[A-Za-z]{1,64})$/.test(item)
  if (!Array.isArray(value) || !value.every(isName)) {
    throw new ValueError(`is ${show(value)}`, 'a list of endpoints such as ["GetClusterStatus"], or ["*"]')
  }
  return value as string[]
}

function parseRoleTables(value: unknown): Record<string, unknown>[] {
  if (!Array.isArray(value) || value.length === 0 || !value.every(isTable)) {
    throw new ValueError(`is ${show(value)}`, ROLES_EXPECTED)
  }
  return value
}

function parseRoleName(value: unknown): string {
  if (typeof value !== 'string' || !/^[\w+=,.@-]{1,64}$/.test(value)) {
    throw new ValueError(`is ${show(value)}`, 'up to 64 letters, digits and _+=,.@-')
  }
  return value
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
