import type { CorsRule } from '../../model/buckets/documents.js'
import type { AnswerHeaders } from './answer.js'

/** Longest Origin that a rule is asked about: a scheme, a host name (253) and a port, with room. */
const ORIGIN_LENGTH_MAX = 1024
/** Most names in Access-Control-Request-Headers that a rule is asked about. */
const REQUESTED_HEADERS_MAX = 100

/** Whether `text` matches `pattern`, in which one `*` may stand for any text, even none. */
export function matchesWildcard(pattern: string, text: string): boolean {
  const star = pattern.indexOf('*')
  if (star < 0) return pattern === text
  return (
    text.length >= pattern.length - 1 &&
    text.startsWith(pattern.slice(0, star)) &&
    text.endsWith(pattern.slice(star + 1))
  )
}

/** The request that a script of another origin wants to make. */
export interface CorsQuestion {
  origin: string
  method: string
  /** Names of the headers that it wants to send, in lower case. */
  headers: readonly string[]
}

/** The header names of a rule in lower case: those without a wildcard, and the others. */
interface HeaderNames {
  exact: ReadonlySet<string>
  patterns: readonly string[]
}

/** Made once for each stored rule: anybody may send a preflight, and it may ask for many headers. */
const namesOfRules = new WeakMap<CorsRule, HeaderNames>()

function headerNames(rule: CorsRule): HeaderNames {
  let names = namesOfRules.get(rule)
  if (!names) {
    const allowed = [...new Set(rule.allowedHeaders.map((name) => name.toLowerCase()))]
    names = {
      exact: new Set(allowed.filter((name) => !name.includes('*'))),
      patterns: allowed.filter((name) => name.includes('*')),
    }
    namesOfRules.set(rule, names)
  }
  return names
}

/**
 * The first rule that allows the whole request, and its origin pattern that matches. No rule allows an origin
 * of more than ORIGIN_LENGTH_MAX characters or more than REQUESTED_HEADERS_MAX headers.
 */
export function matchCors(
  rules: readonly CorsRule[],
  question: CorsQuestion,
): { rule: CorsRule; pattern: string } | undefined {
  const { origin, method, headers } = question
  if (origin.length > ORIGIN_LENGTH_MAX || headers.length > REQUESTED_HEADERS_MAX) return undefined
  for (const rule of rules) {
    if (!rule.allowedMethods.includes(method)) continue
    const pattern = rule.allowedOrigins.find((allowed) => matchesWildcard(allowed, origin))
    if (pattern === undefined) continue
    if (headers.length === 0) return { rule, pattern }
    const { exact, patterns } = headerNames(rule)
    const allowsHeader = (header: string) =>
      exact.has(header) || patterns.some((allowed) => matchesWildcard(allowed, header))
    if (headers.every(allowsHeader)) return { rule, pattern }
  }
  return undefined
}

/** The names in Access-Control-Request-Headers, lower case, each once. */
export function requestedHeaders(header: string | undefined): string[] {
  if (header === undefined) return []
  const names = header.split(',').map((name) => name.trim().toLowerCase())
  return [...new Set(names)].filter((name) => name !== '')
}

/**
 * Headers that tell the browser what the rule allows. The origin is echoed, unless the rule allows every
 * origin.
 */
export function corsHeaders(
  { rule, pattern }: { rule: CorsRule; pattern: string },
  question: CorsQuestion,
): AnswerHeaders {
  const headers: AnswerHeaders = {
    'Access-Control-Allow-Origin': pattern === '*' ? '*' : question.origin,
    'Access-Control-Allow-Methods': rule.allowedMethods.join(', '),
    Vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
  }
  if (pattern !== '*') headers['Access-Control-Allow-Credentials'] = 'true'
  if (question.headers.length > 0) headers['Access-Control-Allow-Headers'] = question.headers.join(', ')
  if (rule.exposeHeaders.length > 0) {
    headers['Access-Control-Expose-Headers'] = rule.exposeHeaders.join(', ')
  }
  if (rule.maxAgeSeconds !== undefined) headers['Access-Control-Max-Age'] = String(rule.maxAgeSeconds)
  return headers
}
