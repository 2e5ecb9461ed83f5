import { compileAction } from './actions.js'
import { type Condition, compileConditions } from './conditions.js'
import { compilePattern, type Pattern, type PatternSyntax } from './pattern.js'
import { type Principals, parsePrincipals } from './principals.js'
import { malformed, strings } from './syntax.js'

/** A statement of a policy, ready to be asked. */
export interface Statement {
  effect: 'Allow' | 'Deny'
  principals: Principals
  actions: { matches: readonly ((action: string) => boolean)[]; negated: boolean }
  resources: { patterns: readonly Pattern[]; negated: boolean }
  conditions: readonly Condition[]
  /** Condition keys and policy variables that it mentions, in lower case. */
  mentions: readonly string[]
}

type Json = Readonly<Record<string, unknown>>

const VERSIONS = ['2008-10-17', '2012-10-17']
const STATEMENT_FIELDS = [
  'Sid',
  'Effect',
  'Principal',
  'NotPrincipal',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
]

/** Parses and checks a policy's text. @throws S3Error MalformedPolicy */
export function parseStatements(text: string, bucket: string): Statement[] {
  const document = parseJson(text)
  onlyFields(document, ['Version', 'Id', 'Statement'])
  const { Version: version = VERSIONS[0], Id: id, Statement: statement } = document
  if (typeof version !== 'string' || !VERSIONS.includes(version)) {
    throw malformed('The policy must contain a valid version string')
  }
  if (id !== undefined && typeof id !== 'string')
    throw malformed('Invalid policy syntax: Id is not a string.')
  if (statement === undefined) throw malformed('Missing required field Statement')
  const list = Array.isArray(statement) ? statement : [statement]
  if (list.length === 0) throw malformed('Could not parse the policy: Statement is empty!')
  const syntax = { wildcards: true, variables: version === '2012-10-17' }
  const sids = new Set<string>()
  return list.map((item: unknown) => parseStatement(item, bucket, syntax, sids))
}

function parseJson(text: string): Json {
  let value: unknown
  if (text.trimStart().startsWith('{')) {
    try {
      value = JSON.parse(text)
    } catch {
      // Below.
    }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed("Policies must be valid JSON and the first byte must be '{'")
  }
  return value as Json
}

function parseStatement(item: unknown, bucket: string, syntax: PatternSyntax, sids: Set<string>): Statement {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    throw malformed('Invalid policy syntax: a statement is an object.')
  }
  const statement = item as Json
  onlyFields(statement, STATEMENT_FIELDS)
  const { Sid: sid, Effect: effect } = statement
  if (sid !== undefined) {
    if (typeof sid !== 'string') throw malformed('Invalid policy syntax: Sid is not a string.')
    if (sid !== '' && sids.has(sid)) throw malformed('Statement IDs (SID) in a single policy must be unique.')
    sids.add(sid)
  }
  if (effect === undefined) throw malformed('Missing required field Effect')
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed('Invalid effect: it is Allow or Deny')
  const principal = oneOf(statement, 'Principal', 'NotPrincipal')
  if (principal.negated && effect === 'Allow') throw malformed('Allow with NotPrincipal is not allowed.')
  const action = oneOf(statement, 'Action', 'NotAction')
  const resource = oneOf(statement, 'Resource', 'NotResource')
  const matches = strings(action.value, 'Policy has invalid action').map((source) => {
    const compiled = compileAction(source)
    if (!compiled) throw malformed('Policy has invalid action')
    return compiled
  })
  const sources = strings(resource.value, 'Policy has invalid resource')
  const patterns = sources.map((source) => parseResource(source, bucket, syntax))
  const conditions = compileConditions(statement.Condition, syntax)
  const variables = syntax.variables
    ? [...sources, ...conditions.flatMap(({ values }) => values)].flatMap(variableNames)
    : []
  return {
    effect,
    principals: parsePrincipals(principal.value, principal.negated),
    actions: { matches, negated: action.negated },
    resources: { patterns, negated: resource.negated },
    conditions,
    mentions: [...conditions.map(({ key }) => key), ...variables],
  }
}

function variableNames(source: string): string[] {
  return [...source.matchAll(/\$\{\s*([^},\s]+)/g)].map((match) => match[1]!.toLowerCase())
}

/** A resource must be the bucket or something in it: "arn:aws:s3:::bucket" or "arn:aws:s3:::bucket/key*". */
function parseResource(source: string, bucket: string, syntax: PatternSyntax): Pattern {
  const arn = /^arn:(aws|aws-cn|aws-us-gov):s3:[^:/]*:[^:/]*:(.+)$/s.exec(source)
  const path = source === '*' ? '*' : arn?.[2]
  if (path === undefined) throw malformed('Policy has invalid resource')
  const slash = path.indexOf('/')
  const name = compilePattern(slash < 0 ? path : path.slice(0, slash), { wildcards: true, variables: false })
  if (!name.matches(bucket, () => undefined)) throw malformed('Policy has invalid resource')
  return compilePattern(`arn:aws:s3:::${path}`, syntax)
}

/** The value of a field or of its opposite, of which there must be exactly one. */
function oneOf(statement: Json, name: string, opposite: string): { value: unknown; negated: boolean } {
  const value = statement[name]
  const other = statement[opposite]
  if (value !== undefined && other !== undefined) {
    throw malformed(`Invalid policy syntax: a statement has ${name} or ${opposite}, not both.`)
  }
  if (value === undefined && other === undefined) throw malformed(`Missing required field ${name}`)
  return value === undefined ? { value: other, negated: true } : { value, negated: false }
}

function onlyFields(object: Json, known: readonly string[]): void {
  for (const name of Object.keys(object)) {
    if (!known.includes(name)) throw malformed(`Unknown field ${name.slice(0, 100)}`)
  }
}
