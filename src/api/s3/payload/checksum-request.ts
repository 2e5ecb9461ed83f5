import { S3Error } from '../errors.js'
import {
  CHECKSUM_ALGORITHMS,
  CHECKSUM_HEADER,
  type ChecksumAlgorithm,
  checksumAlgorithm,
} from './checksum.js'

/** The checksum that a request carries of its body. */
export interface ChecksumRequest {
  readonly algorithm: ChecksumAlgorithm
  /** In base64 as sent; undefined when it comes in a trailer, or when only the algorithm was named. */
  readonly value: string | undefined
  readonly inTrailer: boolean
}

/** The CRC32 of no bytes, which presigners that do not know the body put into the URL. */
const CRC32_OF_NOTHING = 'AAAAAA=='

/**
 * The checksum that the headers announce of the body.
 * @throws S3Error InvalidRequest when there are several, or the algorithm is unknown
 */
export function checksumRequest(
  header: (name: string) => string | undefined,
  trailerNames: readonly string[],
  presigned: boolean,
): ChecksumRequest | undefined {
  let found: ChecksumRequest | undefined
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const name = CHECKSUM_HEADER[algorithm]
    let value = header(name)
    if (presigned && algorithm === 'CRC32' && value === CRC32_OF_NOTHING) value = undefined
    const inTrailer = trailerNames.includes(name)
    if (value === undefined && !inTrailer) continue
    if (found || (value !== undefined && inTrailer)) {
      throw new S3Error(
        'InvalidRequest',
        'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
      )
    }
    found = { algorithm, value, inTrailer }
  }
  const named = header('x-amz-sdk-checksum-algorithm') ?? header('x-amz-checksum-algorithm')
  if (named === undefined || named === '') return found
  const algorithm = checksumAlgorithm(named)
  if (algorithm === undefined) throw unsupportedChecksum()
  if (found === undefined) return { algorithm, value: undefined, inTrailer: false }
  if (found.algorithm !== algorithm) {
    throw new S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.')
  }
  return found
}

export const unsupportedChecksum = (): S3Error =>
  new S3Error(
    'InvalidRequest',
    `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${CHECKSUM_ALGORITHMS.join(', ')}]`,
  )

/**
 * The names in x-amz-trailer, lower-case.
 * @throws S3Error InvalidRequest when one is not a checksum header
 */
export function trailerNamesOf(value: string | undefined): readonly string[] {
  if (value === undefined) return []
  const names = value
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')
  for (const name of names) {
    if (!CHECKSUM_ALGORITHMS.some((algorithm) => CHECKSUM_HEADER[algorithm] === name)) {
      throw new S3Error('InvalidRequest', 'The value specified in the x-amz-trailer header is not supported')
    }
  }
  return names
}

const DECIMAL = /^\d{1,15}$/

/** A length in bytes from a header. @throws S3Error InvalidArgument */
export function lengthHeader(name: string, value: string): number {
  if (!DECIMAL.test(value)) {
    throw new S3Error('InvalidArgument', `${name} is not a length`, {
      extra: { ArgumentName: name, ArgumentValue: value },
    })
  }
  return Number(value)
}
