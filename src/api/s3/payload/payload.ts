import { hash } from 'node:crypto'
import { BodyError } from '../../http/body-reader.js'
import type { LeastRate } from '../../http/least-rate.js'
import { S3Error, type S3ErrorCode } from '../errors.js'
import type { Auth } from '../signature/verifier.js'
import { AwsChunkedDecoder } from './aws-chunked.js'
import {
  type ChecksumAlgorithm,
  checksumOf,
  createChecksum,
  cryptoHasher,
  type Hasher,
  loadChecksum,
} from './checksum.js'
import { type ChecksumRequest, checksumRequest, lengthHeader, trailerNamesOf } from './checksum-request.js'

/** Values computed while a body is read; known at its end. */
export interface PayloadResult {
  /** Bytes, decoded. */
  readonly length: number
  /** The request's checksum, or the one asked for by `computeChecksum`. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: Buffer } | undefined
  /** Set when the signature or the checksum was by SHA-256. */
  readonly sha256: Buffer | undefined
  /** Set when the request had Content-MD5. */
  readonly md5: Buffer | undefined
}

/** The source of a body: a BodyReader, or the file of a form. */
export interface BodyBytes {
  /** Whether anything was read. */
  readonly started: boolean
  /** The next bytes, or undefined at the end. */
  next(): Promise<Buffer | undefined>
  /** The whole body, refused when it has more than `bytesMax`. */
  collect(bytesMax: number, rate?: LeastRate): Promise<Buffer>
}

export interface PayloadOptions {
  readonly reader: BodyBytes
  readonly auth: Auth
  /** Returns a header, or the parameter of a presigned URL that replaces it. */
  readonly header: (name: string) => string | undefined
  /** Whether x-amz-checksum-* headers are about the body (of CompleteMultipartUpload they are not). */
  readonly bodyChecksums: boolean
}

/**
 * A request's body, decoded and verified. Read it once, by `readAll` or by iteration. Length, signatures and
 * checksums are verified when the promise resolves or the iteration ends normally; nothing of the bytes may
 * become visible before.
 */
export class Payload implements AsyncIterable<Buffer> {
  /** Length of the decoded body in bytes; undefined when the client did not tell it. */
  readonly contentLength: number | undefined
  /** Whether the client told the length (a request without a body has length 0, untold). */
  readonly hasLength: boolean
  /** The checksum that the request carries. */
  readonly checksum: ChecksumRequest | undefined
  readonly #reader: BodyBytes
  readonly #decoder: AwsChunkedDecoder | undefined
  readonly #sha256: string | undefined
  readonly #md5: Buffer | undefined
  #computed: ChecksumAlgorithm | undefined
  #result: PayloadResult | undefined

  /** @throws S3Error when the headers about the body are wrong or contradict each other */
  constructor({ reader, auth, header, bodyChecksums }: PayloadOptions) {
    this.#reader = reader
    const kind = auth.kind === 'key' ? auth.payloadKind : anonymousKind(header('x-amz-content-sha256'))
    const trailerNames = trailerNamesOf(header('x-amz-trailer'))
    const contentLength = header('content-length')
    const chunked = kind !== 'unsigned' && kind !== 'sha256'
    if (chunked) {
      const decodedLength = header('x-amz-decoded-content-length')
      if (decodedLength === undefined) throw new S3Error('MissingContentLength')
      this.contentLength = lengthHeader('x-amz-decoded-content-length', decodedLength)
      this.hasLength = true
      const signed = kind !== 'unsigned-chunks-trailer'
      this.#decoder = new AwsChunkedDecoder({
        ...(signed && auth.kind === 'key' && auth.seed ? { seed: auth.seed } : {}),
        signedTrailers: kind === 'signed-chunks-trailer',
        trailerNames: kind === 'signed-chunks' ? [] : trailerNames,
        decodedLength: this.contentLength,
      })
    } else {
      this.hasLength = contentLength !== undefined
      if (contentLength !== undefined) this.contentLength = lengthHeader('Content-Length', contentLength)
      else this.contentLength = header('transfer-encoding') === undefined ? 0 : undefined
      refuseFraming(header, this.contentLength)
      if (auth.kind === 'key' && kind === 'sha256') this.#sha256 = auth.payloadSha256
      else if (kind === 'sha256') this.#sha256 = header('x-amz-content-sha256')!.toLowerCase()
    }
    this.#md5 = contentMd5(header('content-md5'))
    this.checksum = bodyChecksums
      ? checksumRequest(
          header,
          chunked && kind !== 'signed-chunks' ? trailerNames : [],
          auth.kind === 'key' && auth.presigned,
        )
      : undefined
    this.#computed = this.checksum?.algorithm
  }

  /** Has `algorithm` computed on the way, unless the request carries a checksum already. Call it before reading. */
  computeChecksum(algorithm: ChecksumAlgorithm): void {
    this.#computed ??= algorithm
  }

  /** The computed values. @throws Error before the body was read to its end */
  get result(): PayloadResult {
    if (!this.#result) throw new Error('the payload was not read to its end')
    return this.#result
  }

  /** Whether reading began. */
  get started(): boolean {
    return this.#reader.started
  }

  /**
   * The whole body in one buffer.
   * @param rate the least speed of the client: that of documents unless told
   * @throws S3Error `tooLarge` when it is longer than `bytesMax`, and the errors of the verification
   */
  async readAll(
    bytesMax: number,
    tooLarge: S3ErrorCode = 'EntityTooLarge',
    rate?: LeastRate,
  ): Promise<Buffer> {
    if (this.contentLength !== undefined && this.contentLength > bytesMax) throw new S3Error(tooLarge)
    let body: Buffer
    try {
      // Framing takes some 90 bytes for each chunk, and chunks of a sane client are not that small.
      body = await this.#reader.collect(this.#decoder ? 2 * bytesMax + 65_536 : bytesMax, rate)
    } catch (error) {
      throw bodyError(error, tooLarge)
    }
    if (this.#decoder) {
      const pieces: Buffer[] = []
      this.#decoder.push(body, pieces)
      this.#decoder.end()
      body = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
    }
    const loading = loadChecksum(this.#computed)
    if (loading) await loading
    const sha256 =
      this.#sha256 !== undefined || this.#computed === 'SHA256' ? hash('sha256', body, 'buffer') : undefined
    const md5 = this.#md5 ? hash('md5', body, 'buffer') : undefined
    let checksum: Buffer | undefined = sha256
    if (this.#computed !== undefined && this.#computed !== 'SHA256')
      checksum = checksumOf(this.#computed, body)
    this.#verify(body.length, sha256, md5, checksum)
    return body
  }

  /** The body in pieces as they come. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    await loadChecksum(this.#computed)
    const sha256 =
      this.#sha256 !== undefined || this.#computed === 'SHA256' ? cryptoHasher('sha256') : undefined
    const md5 = this.#md5 ? cryptoHasher('md5') : undefined
    const checksum: Hasher | undefined =
      this.#computed === undefined || this.#computed === 'SHA256' ? undefined : createChecksum(this.#computed)
    let length = 0
    const pieces: Buffer[] = []
    for (;;) {
      let chunk: Buffer | undefined
      try {
        chunk = await this.#reader.next()
      } catch (error) {
        throw bodyError(error, 'EntityTooLarge')
      }
      if (chunk === undefined) break
      if (this.#decoder) this.#decoder.push(chunk, pieces)
      else pieces.push(chunk)
      for (const piece of pieces) {
        length += piece.length
        sha256?.update(piece)
        md5?.update(piece)
        checksum?.update(piece)
        yield piece
      }
      pieces.length = 0
    }
    this.#decoder?.end()
    const sha256Digest = sha256?.digest()
    this.#verify(length, sha256Digest, md5?.digest(), checksum?.digest() ?? sha256Digest)
  }

  #verify(
    length: number,
    sha256: Buffer | undefined,
    md5: Buffer | undefined,
    checksum: Buffer | undefined,
  ): void {
    if (this.contentLength !== undefined && length !== this.contentLength) throw new S3Error('IncompleteBody')
    if (this.#sha256 !== undefined && sha256!.toString('hex') !== this.#sha256) {
      throw new S3Error('XAmzContentSHA256Mismatch', undefined, {
        extra: {
          ClientComputedContentSHA256: this.#sha256,
          S3ComputedContentSHA256: sha256!.toString('hex'),
        },
      })
    }
    if (this.#md5 && !this.#md5.equals(md5!)) {
      throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.', {
        extra: { ExpectedDigest: this.#md5.toString('hex'), CalculatedDigest: md5!.toString('base64') },
      })
    }
    const algorithm = this.#computed
    const request = this.checksum
    const expected = request?.inTrailer
      ? this.#decoder!.trailers.get(`x-amz-checksum-${request.algorithm.toLowerCase()}`)
      : request?.value
    // A malformed checksum cannot match either.
    if (expected !== undefined && expected !== checksum!.toString('base64')) {
      throw new S3Error(
        'BadDigest',
        `The ${request!.algorithm} you specified did not match the calculated checksum.`,
      )
    }
    this.#result = {
      length,
      checksum: algorithm && checksum ? { algorithm, value: checksum } : undefined,
      sha256,
      md5,
    }
  }
}

/**
 * Refuses a body that other headers say is in chunks, though x-amz-content-sha256 does not: its framing would be stored
 * as content. A decoded length that is the body's own says that nothing is framed.
 * @throws S3Error InvalidRequest
 */
function refuseFraming(
  header: (name: string) => string | undefined,
  contentLength: number | undefined,
): void {
  const decoded = header('x-amz-decoded-content-length')
  const framed = decoded !== undefined && Number(decoded) !== contentLength
  if (!framed && header('x-amz-trailer') === undefined) return
  throw new S3Error(
    'InvalidRequest',
    'x-amz-trailer and x-amz-decoded-content-length are of a body in chunks, and x-amz-content-sha256 does not name one.',
  )
}

function contentMd5(value: string | undefined): Buffer | undefined {
  if (value === undefined) return undefined
  const digest = Buffer.from(value, 'base64')
  if (digest.length !== 16 || digest.toString('base64') !== value) throw new S3Error('InvalidDigest')
  return digest
}

/** Anonymous requests may give the SHA-256 of their body, or send it in unsigned chunks. */
function anonymousKind(declared: string | undefined): 'unsigned' | 'sha256' | 'unsigned-chunks-trailer' {
  if (declared === undefined || declared === 'UNSIGNED-PAYLOAD') return 'unsigned'
  if (declared === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') return 'unsigned-chunks-trailer'
  if (/^[0-9a-fA-F]{64}$/.test(declared)) return 'sha256'
  throw new S3Error('InvalidRequest', 'x-amz-content-sha256 of an anonymous request is not valid.')
}

/** The error that the client gets when its body cannot be read. */
export function bodyError(error: unknown, tooLarge: S3ErrorCode): unknown {
  if (!(error instanceof BodyError)) return error
  switch (error.code) {
    case 'Aborted':
      return new S3Error('IncompleteBody', undefined, { cause: error })
    case 'Idle':
      return new S3Error('RequestTimeout', undefined, { cause: error })
    case 'TooLarge':
      return new S3Error(tooLarge, undefined, { cause: error })
  }
}
