import { invalidArgument } from '../errors.js'

/** A continuation token: where the next page begins, in a form that is opaque to clients. */
export function writeToken(next: Buffer): string {
  return Buffer.concat([FORMAT, next]).toString('base64url')
}

/** Where the page begins that a token asks for. @throws S3Error InvalidArgument if the token was not made by writeToken */
export function readToken(token: string): Buffer {
  const bytes = Buffer.from(token, 'base64url')
  if (bytes[0] !== FORMAT[0] || bytes.toString('base64url') !== token) {
    throw invalidArgument('The continuation token provided is incorrect', 'continuation-token', token)
  }
  return bytes.subarray(1)
}

/** Begins each token: its format's version. */
const FORMAT = Buffer.from([1])
