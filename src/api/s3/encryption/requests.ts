/**
 * Server-side encryption as requests ask for it: SSE-C (the client's key comes with each request), SSE-S3 (AES256), and
 * the bucket's default.
 *
 * Known gaps and deviations
 * - SSE-KMS (aws:kms, aws:kms:dsse) is refused with NotImplemented.
 * - SSE-C is served over plain HTTP as well, since TLS usually ends at a reverse proxy; AWS refuses that.
 * - A wrong key answers 400 InvalidRequest for reads as for parts; AWS answers 403 for reads.
 * - ETags of SSE-C objects are no MD5 (as with AWS): they are derived from MD5 and data key.
 */
import { hash } from 'node:crypto'
import type { Bucket } from '../../../model/buckets/buckets.js'
import { contentSealer } from '../../../model/content/block-ciphers.js'
import {
  type ContentEncryption,
  customerDataKey,
  decodeContentEncryption,
  IV_BYTES,
  KEY_BYTES,
  keyedEtag,
  newCustomerKeyEncryption,
} from '../../../model/content/ciphers.js'
import type { BlockOpener, BlockSealer } from '../../../model/content/refs.js'
import { versionOpener } from '../../../model/content/version-opener.js'
import type { UploadRow } from '../../../model/uploads/tables.js'
import type { VersionRecord } from '../../../model/versions/record.js'
import { isRelaxed } from '../buckets/relaxed.js'
import type { S3Context } from '../context.js'
import { invalidArgument, S3Error } from '../errors.js'
import type { S3Request } from '../request.js'

const CUSTOMER = 'x-amz-server-side-encryption-customer-'
/** The headers that carry a client's key; named once, because every request is checked for them. */
const CUSTOMER_HEADERS = {
  target: customerHeaders(CUSTOMER),
  source: customerHeaders(`x-amz-copy-source-${CUSTOMER.slice('x-amz-'.length)}`),
}
const ALGORITHM = 'x-amz-server-side-encryption'
const KMS_KEY_ID = 'x-amz-server-side-encryption-aws-kms-key-id'

/** A key that came with a request. */
export interface CustomerKey {
  key: Buffer
  /** In base64, as sent. */
  md5: string
}

/** The encryption that a write asks for. */
export type RequestedEncryption = { kind: 'SSE-C'; customer: CustomerKey } | { kind: 'SSE-S3' } | undefined

/** The encryption of a content together with its data key; it lives for the time of one request. */
export interface Sealing {
  encryption: ContentEncryption
  dataKey: Buffer
  /** Headers of the answer. */
  headers: Record<string, string>
}

function customerHeaders(prefix: string) {
  return { algorithm: `${prefix}algorithm`, key: `${prefix}key`, md5: `${prefix}key-md5` }
}

/**
 * The client's key of a request; undefined if it has none.
 * @throws S3Error InvalidEncryptionAlgorithmError, InvalidArgument when the three headers are not complete and right
 */
export function customerKey(request: S3Request, of: 'target' | 'source' = 'target'): CustomerKey | undefined {
  const names = CUSTOMER_HEADERS[of]
  const algorithm = request.header(names.algorithm)
  const base64 = request.header(names.key)
  const md5 = request.header(names.md5)
  if (algorithm === undefined && base64 === undefined && md5 === undefined) return undefined
  const requests = 'Requests specifying Server Side Encryption with Customer provided keys must provide'
  if (algorithm === undefined) {
    throw invalidArgument(`${requests} a valid encryption algorithm.`, names.algorithm)
  }
  if (algorithm !== 'AES256') {
    throw new S3Error(
      'InvalidEncryptionAlgorithmError',
      'The encryption request you specified is not valid. The valid value is AES256.',
      { extra: { ArgumentName: names.algorithm, ArgumentValue: algorithm } },
    )
  }
  if (base64 === undefined) throw invalidArgument(`${requests} an appropriate secret key.`, names.key)
  if (md5 === undefined) {
    throw invalidArgument(`${requests} the client calculated MD5 of the secret key.`, names.md5)
  }
  const key = Buffer.from(base64, 'base64')
  if (key.length !== KEY_BYTES || key.toString('base64') !== base64) {
    throw invalidArgument('The secret key was invalid for the specified algorithm.', names.key)
  }
  if (hash('md5', key, 'base64') !== md5) {
    throw invalidArgument(
      'The calculated MD5 hash of the key did not match the hash that was provided.',
      names.md5,
      md5,
    )
  }
  return { key, md5 }
}

/**
 * The encryption that a write asks for by its headers, else the bucket's default. A relaxed bucket takes every header that
 * asks for encryption by the store: where there is a master key, the content is encrypted with it; where there is none, it is
 * stored as it came, and the answer tells of no encryption. Its default is never relaxed: an administrator wants it.
 * @throws S3Error InvalidArgument, InvalidEncryptionAlgorithmError, NotImplemented (KMS), AccessDenied (SSE-C
 * blocked)
 */
export function requestedEncryption(
  { masterKeys }: Pick<S3Context, 'masterKeys'>,
  request: S3Request,
  bucket: Bucket,
): RequestedEncryption {
  const algorithm = request.header(ALGORITHM)
  const customer = customerKey(request)
  const document = bucket.document('encryption')
  if (customer) {
    if (algorithm !== undefined) {
      throw invalidArgument(
        'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
        ALGORITHM,
        algorithm,
      )
    }
    if (document?.blocksCustomerKeys) {
      throw new S3Error(
        'AccessDenied',
        'This bucket does not accept server-side encryption with customer keys.',
      )
    }
    return { kind: 'SSE-C', customer }
  }
  if (algorithm !== undefined && isRelaxed(bucket))
    return masterKeys.available || document?.algorithm ? { kind: 'SSE-S3' } : undefined
  const isKms = algorithm === 'aws:kms' || algorithm === 'aws:kms:dsse'
  if (request.header(KMS_KEY_ID) !== undefined && !isKms) {
    throw invalidArgument(
      'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms',
      ALGORITHM,
      algorithm,
    )
  }
  if (isKms) throw kmsRefused()
  if (algorithm === undefined) return document?.algorithm ? { kind: 'SSE-S3' } : undefined
  if (algorithm !== 'AES256') {
    throw invalidArgument('The encryption method specified is not supported', ALGORITHM, algorithm)
  }
  return { kind: 'SSE-S3' }
}

/** The answer to requests for encryption by AWS KMS. */
export function kmsRefused(): S3Error {
  return new S3Error(
    'NotImplemented',
    'Server-side encryption with AWS KMS is not offered: use AES256 or a key of your own (SSE-C).',
  )
}

/**
 * A new encryption of the requested kind, without an IV.
 * @throws S3Error InvalidRequest when it needs a master key and there is none
 */
export function newSealing(
  { masterKeys, random }: S3Context,
  bucket: Bucket,
  requested: RequestedEncryption,
): Sealing | undefined {
  if (!requested) return undefined
  if (requested.kind === 'SSE-C') {
    const { encryption, dataKey } = newCustomerKeyEncryption(requested.customer.key, random)
    return { encryption, dataKey, headers: encryptionHeaders(encryption, requested.customer) }
  }
  const wrapped = masterKeys.wrap(bucket.id, random)
  if (!wrapped) throw masterKeyMissing()
  return { ...wrapped, headers: encryptionHeaders(wrapped.encryption) }
}

/** The answer to requests for SSE-S3 where there is no master key. */
export function masterKeyMissing(): S3Error {
  return new S3Error(
    'InvalidRequest',
    'Server-side encryption with AES256 needs a master key, which this store was not given (sse_master_key_file).',
  )
}

/** A cipher for a content, or the part of that number, with an IV of its own. */
export function sealContent(
  { random }: S3Context,
  { dataKey, encryption }: Sealing,
  part?: number,
): { cipher: BlockSealer; iv: Buffer } {
  const iv = random.bytes(IV_BYTES)
  return { cipher: contentSealer(encryption.format, dataKey, iv, part), iv }
}

/**
 * The digest in an ETag: the MD5, or one derived from it where the MD5 would reveal something about the
 * content.
 */
export function sealedEtag(sealing: Sealing | undefined, md5: Buffer): Buffer {
  return sealing?.encryption.kind === 'SSE-C' ? keyedEtag(sealing.dataKey, md5) : md5
}

/** The x-amz-server-side-encryption* headers of an answer. */
export function encryptionHeaders(
  encryption: ContentEncryption | undefined,
  customer?: CustomerKey,
): Record<string, string> {
  if (!encryption) return {}
  if (encryption.kind === 'SSE-S3') return { [ALGORITHM]: 'AES256' }
  return { [`${CUSTOMER}algorithm`]: 'AES256', ...(customer && { [`${CUSTOMER}key-MD5`]: customer.md5 }) }
}

/**
 * The data key of an encrypted version, after checking that the request's headers fit it.
 * @returns undefined if the version is not encrypted
 * @throws S3Error InvalidRequest, InvalidArgument
 */
export function openVersion(
  context: S3Context,
  request: S3Request,
  version: VersionRecord,
  of: 'target' | 'source' = 'target',
): Sealing | undefined {
  const { encryption } = version
  if (of === 'target' && request.header(ALGORITHM) !== undefined) {
    throw invalidArgument(
      'x-amz-server-side-encryption header is not supported for this operation.',
      ALGORITHM,
      request.header(ALGORITHM),
    )
  }
  const customer = customerKey(request, of)
  if (customer && encryption?.kind !== 'SSE-C') {
    throw new S3Error('InvalidRequest', 'The encryption parameters are not applicable to this object.')
  }
  if (!encryption) return undefined
  if (encryption.kind === 'SSE-C' && !customer) {
    throw new S3Error(
      'InvalidRequest',
      'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.',
    )
  }
  return unseal(context, version.bucket, encryption, customer)
}

/** The cipher of a version's content. */
export function openContent(
  { model }: S3Context,
  version: VersionRecord,
  { dataKey, encryption }: Sealing,
): Promise<BlockOpener> {
  return versionOpener(model.blobs, version, encryption, dataKey)
}

/**
 * The encryption of an upload, for one of its parts or its completion.
 * @param keyNeeded false if the client's key may be left out; one that is sent must be right
 * @throws S3Error InvalidRequest when the request's key is not the upload's
 */
export function openUpload(
  context: S3Context,
  request: S3Request,
  upload: UploadRow,
  keyNeeded = true,
): Sealing | undefined {
  const encryption = decodeContentEncryption(upload.encryption)
  const customer = customerKey(request)
  if (customer && encryption?.kind !== 'SSE-C') {
    throw new S3Error(
      'InvalidRequest',
      'The multipart upload initiate did not request encryption. Subsequent part requests must not include encryption parameters.',
    )
  }
  if (!encryption) return undefined
  if (encryption.kind === 'SSE-C' && !customer) {
    if (!keyNeeded) return undefined
    throw new S3Error(
      'InvalidRequest',
      'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.',
    )
  }
  return unseal(context, upload.bucket, encryption, customer)
}

function unseal(
  { masterKeys }: S3Context,
  bucket: Buffer,
  encryption: ContentEncryption,
  customer: CustomerKey | undefined,
): Sealing {
  const dataKey =
    encryption.kind === 'SSE-S3'
      ? masterKeys.unwrap(bucket, encryption)
      : customerDataKey(encryption, customer!.key)
  if (!dataKey) {
    throw new S3Error(
      'InvalidRequest',
      'The provided encryption parameters did not match the ones used originally.',
    )
  }
  return { encryption, dataKey, headers: encryptionHeaders(encryption, customer) }
}

/**
 * The encryption that a copy takes over from its source, so that its blocks need not be written again: the
 * data key with all IVs. The newest master key wraps it anew for the copy's bucket.
 * @returns undefined if the content must be written again
 */
export function keepSealing(
  { masterKeys, random }: S3Context,
  bucket: Bucket,
  requested: RequestedEncryption,
  source: Sealing,
): Sealing | undefined {
  const { encryption, dataKey } = source
  if (requested?.kind !== encryption.kind) return undefined
  if (requested.kind === 'SSE-C') {
    const same = encryption.kind === 'SSE-C' && customerDataKey(encryption, requested.customer.key)
    return same
      ? { encryption, dataKey, headers: encryptionHeaders(encryption, requested.customer) }
      : undefined
  }
  const { iv, format } = encryption
  const wrapped = masterKeys.wrap(bucket.id, random, { dataKey, format })
  if (!wrapped) throw masterKeyMissing()
  return {
    encryption: { ...wrapped.encryption, ...(iv && { iv }) },
    dataKey,
    headers: encryptionHeaders(wrapped.encryption),
  }
}
