import { nearestName } from './suggest.js'
import { show, ValueError } from './values.js'

/** One problem of a configuration. `key` is dotted, as in `s3_api.root_domain`. */
export interface Problem {
  key: string
  message: string
}

/** How one key is read. `parse` throws ValueError. */
export interface Key<T> {
  parse(value: unknown): T
  presence: 'required' | 'optional'
  /** The value of an absent optional key. */
  fallback?: T
}

/** A key of an earlier version of the format that has no meaning any more: taken with a warning. */
interface ObsoleteKey {
  obsolete: string
}

/** A key that is known and refused whenever it is present. */
interface RefusedKey {
  refused: string
}

export type SectionSpec = Record<string, Key<unknown> | ObsoleteKey | RefusedKey>

/** The result of reading a section: only the keys with a meaning. */
export type Values<S extends SectionSpec> = {
  [K in keyof S as S[K] extends Key<unknown> ? K : never]: S[K] extends Key<infer T> ? T : never
}

export function required<T>(parse: (value: unknown) => T): Key<T> {
  return { parse, presence: 'required' }
}

export function optional<T, F = T>(parse: (value: unknown) => T, fallback: F): Key<T | F> {
  return { parse, presence: 'optional', fallback }
}

export function obsolete(reason: string): ObsoleteKey {
  return { obsolete: reason }
}

export function refused(reason: string): RefusedKey {
  return { refused: reason }
}

/** Collects all problems of a configuration, so that they are told at once. */
export class Findings {
  readonly problems: Problem[] = []
  readonly warnings: Problem[] = []

  problem(key: string, message: string): void {
    this.problems.push({ key, message })
  }

  warn(key: string, message: string): void {
    this.warnings.push({ key, message })
  }

  /** Returns the result of `parse`, or undefined after noting its error. */
  attempt<T>(key: string, parse: (value: unknown) => T, value: unknown): T | undefined {
    try {
      return parse(value)
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      this.problem(key, error.message)
      return undefined
    }
  }
}

/**
 * Reads a section of the file. Keys with problems are left out of the result, which is why its values may be
 * undefined until `findings` is known to be free of problems.
 */
export function readSection<S extends SectionSpec>(
  spec: S,
  table: Record<string, unknown>,
  prefix: string,
  findings: Findings,
): Partial<Values<S>> {
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(table)) {
    const key = prefix + name
    const known = Object.hasOwn(spec, name) ? spec[name] : undefined
    if (known === undefined) findings.problem(key, unknownKeyMessage(name, prefix, spec))
    else if ('obsolete' in known) findings.warn(key, known.obsolete)
    else if ('refused' in known) findings.problem(key, known.refused)
    else values[name] = findings.attempt(key, known.parse, table[name])
  }
  for (const [name, known] of Object.entries(spec)) {
    if (!('presence' in known) || Object.hasOwn(table, name)) continue
    if (known.presence === 'optional') values[name] = known.fallback
    else findings.problem(prefix + name, `is missing, expected ${expectation(known)}`)
  }
  return values as Partial<Values<S>>
}

function unknownKeyMessage(name: string, prefix: string, spec: SectionSpec): string {
  const nearest = nearestName(name, Object.keys(spec))
  if (nearest !== undefined) return `is not a known key, did you mean "${prefix}${nearest}"?`
  const where = prefix === '' ? 'the top level' : `[${prefix.slice(0, -1)}]`
  return `is not a known key of ${where}, expected one of the keys in docs/configuration.md`
}

/** A parser's own description of the values that it accepts. */
function expectation(key: Key<unknown>): string {
  try {
    key.parse(undefined)
  } catch (error) {
    if (error instanceof ValueError) return error.expected
    throw error
  }
  return 'a value'
}

export function parseBoolean(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new ValueError(`is ${show(value)}`, 'true or false')
  return value
}

/** Text that is not empty; `expected` says what it stands for. */
export function parseText(expected: string): (value: unknown) => string {
  return (value) => {
    if (typeof value !== 'string' || value === '') throw new ValueError(`is ${show(value)}`, expected)
    if (value.includes('\0')) throw new ValueError('contains a null character', expected)
    return value
  }
}

export const filePath = parseText('the path of a file')

export function parseInteger(min: number, max: number): (value: unknown) => number {
  return (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      const upTo = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
      throw new ValueError(`is ${show(value)}`, `a whole number ${upTo}`)
    }
    return value
  }
}

/** One of a few names; `refusals` gives the reason why other known ones are not accepted. */
export function parseChoice<const T extends string>(
  choices: readonly T[],
  refusals: Record<string, string> = {},
): (value: unknown) => T {
  const expected = choices.map((choice) => `"${choice}"`).join(' or ')
  return (value) => {
    if (typeof value === 'string') {
      if ((choices as readonly string[]).includes(value)) return value as T
      if (Object.hasOwn(refusals, value)) throw new ValueError(refusals[value]!, expected)
    }
    throw new ValueError(`is ${show(value)}`, expected)
  }
}

/** Every item by `parse`; the message names the item's number, from 1. */
export function parseList<T>(parse: (value: unknown) => T, expected: string): (value: unknown) => T[] {
  return (value) => {
    if (!Array.isArray(value)) throw new ValueError(`is ${show(value)}`, expected)
    return value.map((item, i) => {
      try {
        return parse(item)
      } catch (error) {
        if (!(error instanceof ValueError)) throw error
        throw new ValueError(`item ${i + 1} ${error.wrong}`, error.expected)
      }
    })
  }
}
