import type { OidcProvider, OidcRole } from '../../config/oidc.js'

/** The claims of a verified token. */
export type Claims = Readonly<Record<string, unknown>>

/**
 * The first role that the claims satisfy; with `wanted`, the first of that name or access key.
 * @returns undefined if there is none
 */
export function chooseRole(
  { roles }: Pick<OidcProvider, 'roles'>,
  claims: Claims,
  wanted: string | undefined,
): OidcRole | undefined {
  return roles.find(
    (role) =>
      (wanted === undefined || role.name === wanted || role.accessKey === wanted) &&
      fits(claimOf(claims, role.claim), role.value),
  )
}

/** The role that a RoleArn names: the last part of "arn:…:iam:…:role/…", or the text itself. */
export function roleOfArn(text: string): string {
  return /^arn:[\w-]+:iam:[^:]*:[^:]*:role\/(?:.*\/)?([^/]+)$/.exec(text)?.[1] ?? text
}

/** A claim by its name, else by its name as a path with dots. */
function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Claims)[part]
  }
  return value
}

function fits(claim: unknown, value: string): boolean {
  if (Array.isArray(claim)) return claim.some((item) => fitsOne(item, value))
  return fitsOne(claim, value)
}

function fitsOne(claim: unknown, value: string): boolean {
  if (typeof claim !== 'string' && typeof claim !== 'number' && typeof claim !== 'boolean') return false
  return value === '*' || String(claim) === value
}
