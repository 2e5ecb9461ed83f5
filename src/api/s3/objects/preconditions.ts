import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'

/** @throws S3Error PreconditionFailed naming the condition */
export function preconditionFailed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', undefined, { extra: { Condition: condition } })
}

export const CONDITIONAL = [
  'if-match',
  'if-none-match',
  'x-amz-if-match-last-modified-time',
  'x-amz-if-match-size',
] as const

/**
 * Refuses conditional writes, which must never be ignored: two clients that rely on them would both believe
 * that they won.
 */
export function refuseConditionalWrite(request: S3Request): void {
  for (const name of CONDITIONAL) {
    if (request.header(name) !== undefined) {
      throw new S3Error(
        'NotImplemented',
        'A header you provided implies functionality that is not implemented',
        {
          extra: { Header: name },
        },
      )
    }
  }
}
