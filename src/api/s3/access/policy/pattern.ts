/**
 * Patterns of policies: `*` stands for any characters, `?` for one, and `${…}` for a policy variable.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
 */
import { type Glob, GlobBuilder, type Steps } from './glob.js'

/** Looks a policy variable up, by its name in lower case; undefined if the request has no such value. */
export type Variables = (name: string) => string | undefined

type Part = { literal: string } | 'one' | 'star' | { variable: string; otherwise: string | undefined }

export interface Pattern {
  /**
   * Whether `text` matches; never if the pattern has a variable without a value. Time is linear in the lengths of the
   * pattern and the text, whatever values its variables have.
   * @param steps counts comparisons, for tests
   */
  matches(text: string, variables: Variables, steps?: Steps): boolean
  /** Whether it stands for one text only: no wildcards, no variables. */
  readonly fixed: boolean
  readonly source: string
}

export interface PatternSyntax {
  /** Whether `*` and `?` are wildcards. */
  wildcards: boolean
  /** Whether `${…}` are variables: since version 2012-10-17 of the policy language. */
  variables: boolean
}

/** Compiles a pattern. Never throws: what is no proper variable stands for itself. */
export function compilePattern(source: string, syntax: PatternSyntax): Pattern {
  const parts = parseParts(source, syntax)
  if (!parts.some((part) => typeof part === 'object' && 'variable' in part)) {
    const glob = globOf(parts, Number.POSITIVE_INFINITY, () => undefined)!
    const { fixed } = glob
    if (fixed !== undefined) return { source, fixed: true, matches: (text) => text === fixed }
    return { source, fixed: false, matches: (text, _variables, steps) => glob.test(text, steps) }
  }
  return {
    source,
    fixed: false,
    matches: (text, variables, steps) => globOf(parts, text.length, variables)?.test(text, steps) ?? false,
  }
}

/** @returns undefined if a variable has no value, or the pattern with its values is longer than `lengthMax` */
function globOf(parts: readonly Part[], lengthMax: number, variables: Variables): Glob | undefined {
  const builder = new GlobBuilder()
  for (const part of parts) {
    if (part === 'star') builder.star()
    else if (part === 'one') builder.one()
    else {
      const text = 'literal' in part ? part.literal : (variables(part.variable) ?? part.otherwise)
      if (text === undefined) return undefined
      builder.literal(text)
    }
    // No text that is shorter matches; a long value named often would take a lot of memory.
    if (builder.length > lengthMax) return undefined
  }
  return builder.build()
}

/** `${*}`, `${?}` and `${$}` are the characters themselves. */
const ESCAPED: Readonly<Record<string, string>> = { '*': '*', '?': '?', $: '$' }
/** Longest text between the braces of a variable. */
const VARIABLE_LENGTH_MAX = 512
const VARIABLE = /^\s*([A-Za-z0-9_-]+:[A-Za-z0-9_:/.@+=-]+)\s*(?:,\s*'([^']*)'\s*)?$/

function parseParts(source: string, syntax: PatternSyntax): Part[] {
  const parts: Part[] = []
  let literal = ''
  const add = (part: Part) => {
    if (literal !== '') parts.push({ literal })
    literal = ''
    parts.push(part)
  }
  for (let i = 0; i < source.length; i++) {
    const char = source[i]!
    if (syntax.variables && char === '$' && source[i + 1] === '{') {
      const rest = source.slice(i + 2, i + 3 + VARIABLE_LENGTH_MAX)
      const length = rest.indexOf('}')
      const end = i + 2 + length
      const inside = length < 0 ? undefined : rest.slice(0, length)
      if (inside !== undefined && Object.hasOwn(ESCAPED, inside)) {
        literal += inside
        i = end
        continue
      }
      const match = inside === undefined ? null : VARIABLE.exec(inside)
      if (match) {
        add({ variable: match[1]!.toLowerCase(), otherwise: match[2] })
        i = end
        continue
      }
    }
    if (syntax.wildcards && char === '*') {
      if (literal !== '' || parts.at(-1) !== 'star') add('star')
    } else if (syntax.wildcards && char === '?') add('one')
    else literal += char
  }
  if (literal !== '') parts.push({ literal })
  return parts
}
