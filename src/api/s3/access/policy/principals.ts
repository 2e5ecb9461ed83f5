import { malformed, strings } from './syntax.js'

/** The principals of a statement. */
export interface Principals {
  /** Whether everybody is included, anonymous callers too. */
  readonly everyone: boolean
  readonly negated: boolean
  /** @param keyId undefined for an anonymous caller */
  includes(keyId: string | undefined): boolean
}

const INVALID = 'Invalid principal in policy'
/** An access key's id, by itself. */
const ID = /^[\w+=,.@-]{1,128}$/
const ARN =
  /^arn:(?:aws|aws-cn|aws-us-gov):(?:iam|sts)::([\w+=,.@-]*):(root|(?:user|role|assumed-role|federated-user)\/[\w+=,.@/-]+)$/

/** Parses Principal or NotPrincipal. @throws S3Error MalformedPolicy */
export function parsePrincipals(value: unknown, negated: boolean): Principals {
  const ids = new Set<string>()
  let everyone = false
  if (value === '*') everyone = true
  else if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(INVALID)
  else {
    const kinds = Object.entries(value)
    if (kinds.length === 0) throw malformed(INVALID)
    for (const [kind, names] of kinds) {
      const list = strings(names, INVALID)
      if (kind === 'AWS') {
        for (const name of list) {
          if (name === '*') everyone = true
          else ids.add(keyIdOf(name))
        }
      } else if (kind === 'CanonicalUser') {
        for (const name of list) {
          if (!ID.test(name)) throw malformed(INVALID)
          ids.add(name)
        }
      } else if (kind !== 'Service' && kind !== 'Federated') throw malformed(INVALID)
    }
  }
  return {
    everyone,
    negated,
    includes: (keyId) => (everyone || (keyId !== undefined && ids.has(keyId))) !== negated,
  }
}

function keyIdOf(name: string): string {
  if (ID.test(name)) return name
  const match = ARN.exec(name)
  if (!match) throw malformed(INVALID)
  const [, account, path] = match
  // A key is an account with one user; "root" of another account's name is nobody here.
  return path === 'root' ? account! : path!.slice(path!.lastIndexOf('/') + 1)
}
