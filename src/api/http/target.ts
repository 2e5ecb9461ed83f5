/** A request target in its two raw parts. */
export interface RawTarget {
  readonly rawPath: string
  /** Without `?`. */
  readonly rawQuery: string
}

/** Splits a request target. A target in absolute form, as sent to proxies, loses its scheme and authority. */
export function splitTarget(url: string): RawTarget {
  let start = 0
  if (url.charCodeAt(0) !== 47) {
    const scheme = url.indexOf('://')
    const slash = scheme > 0 && scheme < 8 ? url.indexOf('/', scheme + 3) : -1
    if (slash < 0) {
      const question = url.indexOf('?')
      return { rawPath: '/', rawQuery: scheme > 0 && question > 0 ? url.slice(question + 1) : '' }
    }
    start = slash
  }
  const question = url.indexOf('?', start)
  if (question < 0) return { rawPath: start === 0 ? url : url.slice(start), rawQuery: '' }
  return { rawPath: url.slice(start, question), rawQuery: url.slice(question + 1) }
}
