/**
 * Patterns of policies: `*` stands for any characters, `?` for one, and `${…}` for a policy variable.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
 */

/** Looks a policy variable up, by its name in lower case; undefined if the request has no such value. */
export type Variables = (name: string) => string | undefined

const ANY = -1
const ONE = -2

type Piece = { codes: readonly number[] } | { variable: string; otherwise: string | undefined }

export interface Pattern {
  /** Whether `text` matches; never if the pattern has a variable without a value. */
  matches(text: string, variables: Variables): boolean
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
  const pieces = parsePieces(source, syntax)
  const [first] = pieces
  if (pieces.length === 0) return literal(source, '')
  if (pieces.length === 1 && 'codes' in first!) {
    const { codes } = first
    const wild = codes.findIndex((code) => code < 0)
    if (wild < 0) return literal(source, text(codes))
    if (wild === codes.length - 1 && codes[wild] === ANY) {
      const prefix = text(codes.slice(0, -1))
      return { source, fixed: false, matches: (value) => value.startsWith(prefix) }
    }
    return { source, fixed: false, matches: (value) => glob(codes, value) }
  }
  return {
    source,
    fixed: false,
    matches(value, variables) {
      const codes: number[] = []
      for (const piece of pieces) {
        if ('codes' in piece) codes.push(...piece.codes)
        else {
          const found = variables(piece.variable) ?? piece.otherwise
          if (found === undefined) return false
          // What is longer than the text cannot match it; a long value named often would take a lot of memory.
          if (found.length > value.length || codes.length > value.length + source.length) return false
          for (let i = 0; i < found.length; i++) codes.push(found.charCodeAt(i))
        }
      }
      return glob(codes, value)
    },
  }
}

function literal(source: string, value: string): Pattern {
  return { source, fixed: true, matches: (other) => other === value }
}

function text(codes: readonly number[]): string {
  return codes.map((code) => String.fromCharCode(code)).join('')
}

/** `${*}`, `${?}` and `${$}` are the characters themselves. */
const ESCAPED: Readonly<Record<string, string>> = { '*': '*', '?': '?', $: '$' }
const VARIABLE = /^\s*([A-Za-z0-9_-]+:[A-Za-z0-9_:/.@+=-]+)\s*(?:,\s*'([^']*)'\s*)?$/

function parsePieces(source: string, syntax: PatternSyntax): Piece[] {
  const pieces: Piece[] = []
  let codes: number[] = []
  const flush = () => {
    if (codes.length > 0) pieces.push({ codes })
    codes = []
  }
  for (let i = 0; i < source.length; i++) {
    const char = source[i]!
    if (syntax.variables && char === '$' && source[i + 1] === '{') {
      const end = source.indexOf('}', i)
      const inside = end < 0 ? undefined : source.slice(i + 2, end)
      const match = inside === undefined ? null : VARIABLE.exec(inside)
      if (inside !== undefined && Object.hasOwn(ESCAPED, inside)) {
        codes.push(inside.charCodeAt(0))
        i = end
        continue
      }
      if (match) {
        flush()
        pieces.push({ variable: match[1]!.toLowerCase(), otherwise: match[2] })
        i = end
        continue
      }
    }
    if (syntax.wildcards && char === '*') {
      if (codes.at(-1) !== ANY) codes.push(ANY)
    } else if (syntax.wildcards && char === '?') codes.push(ONE)
    else codes.push(source.charCodeAt(i))
  }
  flush()
  return pieces
}

/** Greedy matching that goes back to the last star only: time is at most pattern times text. */
function glob(codes: readonly number[], value: string): boolean {
  let at = 0
  let from = 0
  let star = -1
  let starFrom = 0
  while (from < value.length) {
    const code = codes[at]
    if (code === ANY) {
      star = at++
      starFrom = from
    } else if (code !== undefined && (code === ONE || code === value.charCodeAt(from))) {
      at++
      from++
    } else if (star >= 0) {
      at = star + 1
      from = ++starFrom
    } else return false
  }
  while (codes[at] === ANY) at++
  return at === codes.length
}
