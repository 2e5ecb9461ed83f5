import { S3Error } from '../../errors.js'

export function malformed(message: string): S3Error {
  return new S3Error('MalformedPolicy', message)
}

/** A text, or a list of texts with at least one. */
export function strings(value: unknown, message: string): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0) throw malformed(message)
  return list.map((item) => {
    if (typeof item !== 'string' || item === '') throw malformed(message)
    return item
  })
}
