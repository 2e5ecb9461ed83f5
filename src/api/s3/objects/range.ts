import { type ByteRange, parseRange } from '../../http/range.js'
import { S3Error } from '../errors.js'

/** As `parseRange`. @throws S3Error InvalidRange (416) if no byte of the range exists */
export function requestedRange(header: string | undefined, size: number): ByteRange | undefined {
  const range = parseRange(header, size)
  if (range !== 'unsatisfiable') return range
  throw new S3Error('InvalidRange', undefined, {
    extra: { RangeRequested: header, ActualObjectSize: size },
    headers: { 'content-range': `bytes */${size}` },
  })
}
