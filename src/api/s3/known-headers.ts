/**
 * The x-amz-* headers that requests may have. A header that is not here may ask for something that is not done, such as
 * an append, a lock or a checksum: the request is refused, as AWS refuses headers that "imply functionality that is not
 * implemented". Whoever reads a new header adds it here.
 */
import { CHECKSUM_ALGORITHMS, CHECKSUM_HEADER } from './payload/checksum.js'

/** Of the signature and of how the body is framed. */
const SIGNING = [
  'x-amz-algorithm',
  'x-amz-content-sha256',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-decoded-content-length',
  'x-amz-expires',
  'x-amz-region-set', // of Signature V4A, which is refused by name
  'x-amz-security-token',
  'x-amz-signature',
  'x-amz-signedheaders',
  'x-amz-trailer',
]

/** Of an operation, with a meaning here, if only that of being refused with an error of their own. */
const OPERATIONS = [
  'x-amz-acl',
  'x-amz-bucket-object-lock-enabled',
  'x-amz-bypass-governance-retention',
  'x-amz-checksum-algorithm',
  'x-amz-checksum-mode',
  'x-amz-checksum-type',
  'x-amz-copy-source',
  'x-amz-copy-source-if-match',
  'x-amz-copy-source-if-modified-since',
  'x-amz-copy-source-if-none-match',
  'x-amz-copy-source-if-unmodified-since',
  'x-amz-copy-source-range',
  'x-amz-copy-source-server-side-encryption-customer-algorithm',
  'x-amz-copy-source-server-side-encryption-customer-key',
  'x-amz-copy-source-server-side-encryption-customer-key-md5',
  'x-amz-expected-bucket-owner',
  'x-amz-grant-full-control',
  'x-amz-grant-read',
  'x-amz-grant-read-acp',
  'x-amz-grant-write',
  'x-amz-grant-write-acp',
  'x-amz-max-parts',
  'x-amz-metadata-directive',
  'x-amz-mp-object-size',
  'x-amz-object-attributes',
  'x-amz-object-lock-legal-hold',
  'x-amz-object-lock-mode',
  'x-amz-object-lock-retain-until-date',
  'x-amz-object-ownership',
  'x-amz-part-number-marker',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-customer-algorithm',
  'x-amz-server-side-encryption-customer-key',
  'x-amz-server-side-encryption-customer-key-md5',
  'x-amz-if-match-initiated-time',
  'x-amz-if-match-last-modified-time',
  'x-amz-if-match-size',
  'x-amz-source-expected-bucket-owner',
  'x-amz-storage-class',
  'x-amz-tagging',
  'x-amz-tagging-directive',
  'x-amz-website-redirect-location',
]

/** Without a meaning here: what they ask for makes no difference, or somebody on the way added them. */
const WITHOUT_EFFECT = [
  'x-amz-apigw-id',
  'x-amz-bucket-object-lock-token', // of support's, for locks on buckets that have objects: not needed
  'x-amz-cf-id',
  'x-amz-confirm-remove-self-bucket-access', // owners keep the right to the policy
  'x-amz-id-2',
  'x-amz-mfa', // no deletion needs a second factor
  'x-amz-optional-object-attributes', // RestoreStatus: there is no archive
  'x-amz-request-id',
  'x-amz-request-payer', // nobody pays
  'x-amz-server-side-encryption-bucket-key-enabled', // only with KMS, which is refused
  'x-amz-skip-destination-validation', // targets are always looked up
  'x-amz-te', // offers to take an MD5 behind the body of an answer
  'x-amz-transition-default-minimum-object-size', // transitions are refused
  'x-amz-user-agent',
]

const KNOWN: ReadonlySet<string> = new Set([
  ...SIGNING,
  ...OPERATIONS,
  ...WITHOUT_EFFECT,
  ...CHECKSUM_ALGORITHMS.map((algorithm) => CHECKSUM_HEADER[algorithm]),
])

/** User metadata, and what SDKs say of themselves. */
const KNOWN_PREFIXES = ['x-amz-meta-', 'x-amz-sdk-']
const PREFIX = 'x-amz-'

/** Whether a name, in lower case, begins with x-amz- and is none of those above. */
export function isUnknownHeader(name: string): boolean {
  if (!name.startsWith(PREFIX) || KNOWN.has(name)) return false
  return !KNOWN_PREFIXES.some((prefix) => name.startsWith(prefix))
}
