import { S3Error } from '../../errors.js'
import { isConditionKey } from './condition-keys.js'
import { OPERATORS, type Test } from './condition-operators.js'
import type { PatternSyntax, Variables } from './pattern.js'

/** The values of a condition key in a request, by its name in lower case; undefined if the request has none. */
export type ConditionValues = (key: string) => readonly string[] | undefined

/** One key of a Condition element; all of them must hold. */
export interface Condition {
  /** In lower case. */
  key: string
  /** As written, e.g. "ForAnyValue:StringLikeIfExists". */
  operator: string
  /** As written. */
  values: readonly string[]
  holds(values: ConditionValues, variables: Variables): boolean
}

/** Compiles a statement's Condition element. @throws S3Error MalformedPolicy */
export function compileConditions(element: unknown, syntax: PatternSyntax): Condition[] {
  if (element === undefined) return []
  const conditions: Condition[] = []
  for (const [operator, keys] of entries(element)) {
    for (const [key, values] of entries(keys)) {
      const name = key.toLowerCase()
      if (!isConditionKey(name)) throw new S3Error('MalformedPolicy', 'Policy has an invalid condition key')
      conditions.push(compileOne(operator, name, texts(values), syntax))
    }
  }
  return conditions
}

function entries(element: unknown): [string, unknown][] {
  if (typeof element !== 'object' || element === null || Array.isArray(element)) throw syntaxError()
  return Object.entries(element)
}

/** A condition's value or values as texts: numbers and booleans may stand without quotes. */
function texts(value: unknown): string[] {
  const list = Array.isArray(value) ? value : [value]
  if (list.length === 0) throw syntaxError()
  return list.map((item) => {
    if (typeof item !== 'string' && typeof item !== 'number' && typeof item !== 'boolean') throw syntaxError()
    return String(item)
  })
}

function syntaxError(): S3Error {
  return new S3Error('MalformedPolicy', 'Invalid policy syntax: Condition is not well-formed.')
}

const OPERATOR = /^(?:(ForAllValues|ForAnyValue):)?([A-Za-z]+?)(IfExists)?$/i

function compileOne(operator: string, key: string, values: string[], syntax: PatternSyntax): Condition {
  const match = OPERATOR.exec(operator)
  const base = match?.[2]?.toLowerCase() ?? ''
  const condition = { key, operator, values }
  if (base === 'null' && !match?.[3]) return { ...condition, holds: nullTest(key, values) }
  const found = OPERATORS.get(base)
  if (!found) throw new S3Error('MalformedPolicy', `Invalid Condition type : ${operator.slice(0, 100)}`)
  const { negated } = found
  const tests = values.map((value) => found.compile(value, syntax))
  const satisfies = (value: string, variables: Variables) =>
    tests.some((test: Test) => test(value, variables)) !== negated
  const set = match![1]?.toLowerCase()
  const ifExists = match![3] !== undefined
  return {
    ...condition,
    holds(context, variables) {
      const actual = context(key)
      if (actual === undefined || actual.length === 0) {
        if (ifExists || set === 'forallvalues') return true
        return set === undefined && negated
      }
      // Without a set operator a key should have one value; of several, a "not" must be true of all.
      const all = set === 'forallvalues' || (set === undefined && negated)
      if (all) return actual.every((value) => satisfies(value, variables))
      return actual.some((value) => satisfies(value, variables))
    },
  }
}

/** Null: "true" asks for the key's absence, "false" for its presence. */
function nullTest(key: string, values: readonly string[]): Condition['holds'] {
  const wanted = values.map((value) => {
    const text = value.toLowerCase()
    if (text !== 'true' && text !== 'false') throw syntaxError()
    return text === 'true'
  })
  return (context) => wanted.includes((context(key)?.length ?? 0) === 0)
}
