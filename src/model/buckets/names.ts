import { CarportError } from '../../util/errors.js'

/** S3's rules: 3 to 63 of a-z 0-9 . -, starting and ending with a letter or digit. */
const NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/

/**
 * @param allowPunycode whether parts of the name may begin with "xn--", as those of international domain names do
 * @throws CarportError InvalidArgument unless the name follows S3's rules for bucket names
 */
export function checkBucketName(name: string, allowPunycode: boolean): void {
  const bad =
    !NAME.test(name) ||
    name.includes('..') ||
    name.includes('.-') ||
    name.includes('-.') ||
    /^\d+\.\d+\.\d+\.\d+$/.test(name)
  const isPunycode = name.startsWith('xn--') || name.includes('.xn--')
  if (bad || (isPunycode && !allowPunycode) || name.endsWith('-s3alias')) {
    throw new CarportError('InvalidArgument', `"${name}" is not a valid bucket name`)
  }
}

/** Whether a name has the length and characters of a bucket's: others are looked up nowhere. */
export function mayBeBucketName(name: string): boolean {
  return NAME.test(name)
}
