import { invalidArgument } from '../errors.js'

/** A continuation token: the first key of the next page, in a form that is opaque to clients. */
export function writeToken(next: Buffer): string {
  return Buffer.concat([FORMAT, next]).toString('base64url')
}

/**
 * The first key of the page that a token asks for.
 * @throws S3Error InvalidArgument if writeToken did not make the token
 */
export function readToken(token: string): Buffer {
  const bytes = Buffer.from(token, 'base64url')
  if (bytes[0] !== FORMAT[0] || bytes.toString('base64url') !== token) {
    throw invalidArgument('The continuation token provided is incorrect', 'continuation-token', token)
  }
  return bytes.subarray(1)
}

/** The version of the format, which begins each token. */
const FORMAT = Buffer.from([1])
