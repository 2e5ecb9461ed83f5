/** Settings as values that forms change: objects, lists and leaves with the names of S3's XML. */

export type Value = string | number | boolean | Value[] | { [name: string]: Value }
export type Fields = { [name: string]: Value }
export type Path = readonly string[]

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What stands at a path; undefined if nothing does. */
export function at(value: Value | undefined, path: Path): Value | undefined {
  let found: Value | undefined = value
  for (const name of path) found = isFields(found) && Object.hasOwn(found, name) ? found[name] : undefined
  return found
}

/** The same with something else at a path. What is undefined or empty goes, together with what it leaves empty. */
export function withAt(value: Fields, path: Path, next: Value | undefined): Fields {
  const [name, ...rest] = path as [string, ...string[]]
  const inner = Object.hasOwn(value, name) ? value[name] : undefined
  const set = rest.length === 0 ? next : withAt(isFields(inner) ? inner : {}, rest, next)
  if (!isEmpty(set)) return { ...value, [name]: set! }
  const { [name]: _, ...others } = value
  return others
}

export function isEmpty(value: Value | undefined): boolean {
  if (value === undefined || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return isFields(value) && Object.keys(value).length === 0
}

/** A text or a list of texts as a list, as policies have both. */
export function textsOf(value: Value | undefined): string[] {
  if (value === undefined) return []
  return (Array.isArray(value) ? value : [value]).map((each) =>
    typeof each === 'object' ? JSON.stringify(each) : String(each),
  )
}
