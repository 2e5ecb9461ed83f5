import { percentDecode } from './uri.js'

const NONE: readonly [string, string][] = []

/**
 * A query string, decoded at the first access. Names are case-sensitive; if a name is given twice, the first
 * value counts. A part that cannot be decoded (bad escape, not UTF-8) is left out and sets `malformed`.
 */
export class Query {
  #pairs: readonly [name: string, value: string][] | undefined
  #malformed = false

  constructor(readonly raw: string) {}

  get pairs(): readonly [name: string, value: string][] {
    if (this.#pairs) return this.#pairs
    if (this.raw === '') {
      this.#pairs = NONE
      return NONE
    }
    const pairs: [string, string][] = []
    for (const part of this.raw.split('&')) {
      if (part === '') continue
      const equals = part.indexOf('=')
      const name = percentDecode(equals < 0 ? part : part.slice(0, equals), true)
      const value = equals < 0 ? '' : percentDecode(part.slice(equals + 1), true)
      if (name === undefined || value === undefined) this.#malformed = true
      else pairs.push([name, value])
    }
    this.#pairs = pairs
    return pairs
  }

  /** Whether some part cannot be decoded. */
  get malformed(): boolean {
    void this.pairs
    return this.#malformed
  }

  /** The value of `name`; '' when it has none; undefined when the name is missing. */
  get(name: string): string | undefined {
    const pairs = this.pairs
    for (let i = 0; i < pairs.length; i++) if (pairs[i]![0] === name) return pairs[i]![1]
    return undefined
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  /** As `get`, ignoring case: for headers that a presigned URL carries in its query. */
  getIgnoreCase(lowerName: string): string | undefined {
    const pairs = this.pairs
    for (let i = 0; i < pairs.length; i++) {
      const name = pairs[i]![0]
      if (name.length === lowerName.length && name.toLowerCase() === lowerName) return pairs[i]![1]
    }
    return undefined
  }
}
