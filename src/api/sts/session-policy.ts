import { compileAction } from '../s3/access/policy/actions.js'
import { EXISTING_TAG, REQUEST_TAG } from '../s3/access/policy/condition-keys.js'
import { type Condition, type ConditionValues, compileConditions } from '../s3/access/policy/conditions.js'
import { compilePattern, type Pattern, type PatternSyntax } from '../s3/access/policy/pattern.js'
import { malformed, strings } from '../s3/access/policy/syntax.js'
import { S3Error } from '../s3/errors.js'

/** Longest inline policy, in characters: AWS's limit. */
export const SESSION_POLICY_MAX = 2048

interface Statement {
  effect: 'Allow' | 'Deny'
  actions: { matches: readonly ((action: string) => boolean)[]; negated: boolean }
  resources: { patterns: readonly Pattern[]; negated: boolean }
  conditions: readonly Condition[]
  /** Texts that name all condition keys and variables which it asks for, in lower case. */
  mentions: readonly string[]
}

export interface SessionQuestion {
  /** E.g. "s3:GetObject". */
  action: string
  /** ARNs of what the action is about, one for each name that the bucket has. */
  resources: readonly string[]
  values: ConditionValues
}

/**
 * The policy that a client gives its temporary credentials: they allow what the policy and the key behind
 * them both allow. The grammar is that of identity policies: no principals, resources in any bucket.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session Unlike at Amazon,
 * conditions on tags (of the object or of the request) are refused.
 */
export class SessionPolicy {
  readonly #statements: readonly Statement[]

  /** @throws S3Error MalformedPolicy, and nothing else */
  constructor(readonly text: string) {
    this.#statements = parse(text)
  }

  /** Whether a statement allows it and none denies it. */
  allows({ action, resources, values }: SessionQuestion): boolean {
    const variables = (name: string) => {
      const found = values(name)
      return found?.length === 1 ? found[0] : undefined
    }
    let allowed = false
    for (const statement of this.#statements) {
      if (allowed && statement.effect === 'Allow') continue
      if (!isAbout(statement, action)) continue
      const { patterns, negated } = statement.resources
      const named = resources.some((arn) => patterns.some((pattern) => pattern.matches(arn, variables)))
      if (named === negated) continue
      if (!statement.conditions.every((condition) => condition.holds(values, variables))) continue
      if (statement.effect === 'Deny') return false
      allowed = true
    }
    return allowed
  }

  /** Whether the answer for an action depends on the condition keys that begin with `prefix`, in lower case. */
  asksFor(action: string, prefix: string): boolean {
    return this.#statements.some(
      (statement) => statement.mentions.some((text) => text.includes(prefix)) && isAbout(statement, action),
    )
  }
}

function isAbout({ actions }: Statement, action: string): boolean {
  return actions.matches.some((matches) => matches(action)) !== actions.negated
}

type Json = Readonly<Record<string, unknown>>

const FIELDS = ['Sid', 'Effect', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition']

function parse(text: string): Statement[] {
  if (text.length > SESSION_POLICY_MAX) {
    throw malformed(`The policy may have ${SESSION_POLICY_MAX} characters at most`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw malformed('The policy is not valid JSON')
  }
  const document = object(value, 'The policy must be a JSON object')
  onlyFields(document, ['Version', 'Id', 'Statement'])
  const { Version: version = '2008-10-17', Statement: statement } = document
  if (version !== '2012-10-17' && version !== '2008-10-17') {
    throw malformed('The policy must contain a valid version string')
  }
  const list = Array.isArray(statement) ? statement : [statement]
  if (list.length === 0) throw malformed('The policy has no statement')
  return list.map((item: unknown) =>
    parseStatement(item, { wildcards: true, variables: version === '2012-10-17' }),
  )
}

function parseStatement(item: unknown, syntax: PatternSyntax): Statement {
  const statement = object(item, 'A statement of the policy must be an object')
  if ('Principal' in statement || 'NotPrincipal' in statement) {
    throw malformed('A policy of a session has no principals')
  }
  onlyFields(statement, FIELDS)
  const { Effect: effect, Sid: sid } = statement
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed('Effect must be Allow or Deny')
  if (sid !== undefined && typeof sid !== 'string') throw malformed('Sid must be a text')
  const action = oneOf(statement, 'Action', 'NotAction')
  const resource = oneOf(statement, 'Resource', 'NotResource')
  const conditions = compileConditions(statement.Condition, syntax)
  const sources = strings(resource.value, 'The policy has an invalid resource')
  const tags = [EXISTING_TAG, REQUEST_TAG]
  const written = [...sources, ...conditions.flatMap(({ key, values }) => [key, ...values])]
  const mentions = written.map((text) => text.toLowerCase())
  if (mentions.some((text) => tags.some((tag) => text.includes(tag)))) {
    throw malformed('Conditions on tags are not offered in policies of sessions')
  }
  return {
    effect,
    actions: { matches: strings(action.value, 'The policy has an invalid action').map(actionOf), ...action },
    resources: { patterns: sources.map((source) => resourceOf(source, syntax)), ...resource },
    conditions,
    mentions,
  }
}

function actionOf(source: string): (action: string) => boolean {
  const matches = compileAction(source)
  if (!matches) throw malformed(`The policy has the unknown action ${source.slice(0, 100)}`)
  return matches
}

/** Parses "*" or an ARN of S3, of any partition. */
function resourceOf(source: string, syntax: PatternSyntax): Pattern {
  if (source === '*') return compilePattern(source, syntax)
  const path = /^arn:[\w*-]+:s3:[^:/]*:[^:/]*:(.+)$/s.exec(source)?.[1]
  if (path === undefined) throw malformed('The policy has an invalid resource')
  return compilePattern(`arn:aws:s3:::${path}`, syntax)
}

function object(value: unknown, message: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(message)
  return value as Json
}

/** The value of a field or of its opposite, of which there must be exactly one. */
function oneOf(statement: Json, name: string, opposite: string): { value: unknown; negated: boolean } {
  const value = statement[name]
  const other = statement[opposite]
  if ((value === undefined) === (other === undefined)) {
    throw malformed(`A statement has either ${name} or ${opposite}`)
  }
  return value === undefined ? { value: other, negated: true } : { value, negated: false }
}

function onlyFields(found: Json, known: readonly string[]): void {
  const unknown = Object.keys(found).find((name) => !known.includes(name))
  if (unknown !== undefined) throw malformed(`Unknown field ${unknown.slice(0, 100)}`)
}

/**
 * Reads a stored policy. One that this version of the program cannot read denies everything.
 * @throws S3Error AccessDenied
 */
export function storedSessionPolicy(text: string): SessionPolicy {
  try {
    return new SessionPolicy(text)
  } catch (cause) {
    throw new S3Error('AccessDenied', 'The policy of the session cannot be read.', { cause })
  }
}
