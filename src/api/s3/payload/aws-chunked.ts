import { createHash, type Hash, hash } from 'node:crypto'
import { S3Error } from '../errors.js'
import { equalConstantTime, sha256HexOfLatin1 } from '../signature/keys.js'
import type { SeedSignature } from '../signature/verifier.js'

/** A signed chunk up to this size is kept until its signature is verified; of a longer one only the end waits. */
const HELD_MAX = 1024 * 1024
const LINE_MAX = 4096
const TRAILERS_MAX = 32
const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const SIGNATURE_PREFIX = 'chunk-signature='

type State = 'header' | 'data' | 'data-end' | 'trailers' | 'done'

export interface AwsChunkedOptions {
  /** Given when each chunk is signed. */
  seed?: SeedSignature
  /** Whether the trailers are signed too. */
  signedTrailers: boolean
  /** Lower-case names announced by x-amz-trailer. */
  trailerNames: readonly string[]
  /** x-amz-decoded-content-length */
  decodedLength: number
}

/**
 * Decoder of the aws-chunked content encoding (Amazon S3 API: "Signature calculations for the Authorization
 * header: transferring payload in multiple chunks"), signed or not, with trailers or not.
 */
export class AwsChunkedDecoder {
  /** Trailing headers by lower-case name, once `end` returned. */
  readonly trailers = new Map<string, string>()
  #state: State = 'header'
  #line = ''
  #remaining = 0
  #decoded = 0
  #previous: string
  #expected = ''
  #held: Buffer[] | undefined
  #hash: Hash | undefined
  #trailerText = ''
  #trailerLines = 0
  #trailersVerified = false

  constructor(private readonly options: AwsChunkedOptions) {
    this.#previous = options.seed?.signature ?? ''
  }

  /** Decodes `data` and appends the verified bytes of the body to `out`, without copying. @throws S3Error */
  push(data: Buffer, out: Buffer[]): void {
    let at = 0
    while (at < data.length) {
      if (this.#state === 'data') {
        const piece = data.subarray(at, Math.min(data.length, at + this.#remaining))
        at += piece.length
        this.#remaining -= piece.length
        this.#take(piece, out)
        if (this.#remaining === 0) this.#state = 'data-end'
        continue
      }
      const newline = data.indexOf(10, at)
      const end = newline < 0 ? data.length : newline
      if (this.#line.length + end - at > LINE_MAX) throw malformed('a line is too long')
      this.#line += data.toString('latin1', at, end)
      if (newline < 0) return
      at = newline + 1
      const line = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line
      this.#line = ''
      this.#onLine(line, out)
    }
  }

  /** The body ended. @throws S3Error when it is incomplete or a trailer is missing or wrong */
  end(): void {
    if (this.#state !== 'trailers' && this.#state !== 'done') throw new S3Error('IncompleteBody')
    if (this.#line !== '') this.#onTrailer(this.#line.trimEnd())
    if (this.options.signedTrailers && !this.#trailersVerified) {
      throw new S3Error('MalformedTrailerError', 'The trailer signature is missing.')
    }
    for (const name of this.options.trailerNames) {
      if (!this.trailers.has(name)) {
        throw new S3Error('MalformedTrailerError', `The trailing header ${name} is missing.`)
      }
    }
  }

  #onLine(line: string, out: Buffer[]): void {
    switch (this.#state) {
      case 'header':
        this.#onHeader(line, out)
        return
      case 'data-end':
        if (line !== '') throw malformed('a chunk is longer than its size')
        this.#state = 'header'
        return
      case 'trailers':
        this.#onTrailer(line)
        return
      default:
        if (line !== '') throw malformed('there is data after the end')
    }
  }

  #onHeader(line: string, out: Buffer[]): void {
    const semicolon = line.indexOf(';')
    const sizeText = (semicolon < 0 ? line : line.slice(0, semicolon)).trimEnd()
    if (!/^[0-9a-fA-F]{1,12}$/.test(sizeText)) throw malformed('a chunk size is not a hexadecimal number')
    const size = Number.parseInt(sizeText, 16)
    if (this.options.seed) {
      const extension = semicolon < 0 ? '' : line.slice(semicolon + 1).trim()
      if (!extension.startsWith(SIGNATURE_PREFIX)) throw malformed('a chunk has no signature')
      this.#expected = extension.slice(SIGNATURE_PREFIX.length)
    }
    this.#decoded += size
    if (
      this.#decoded > this.options.decodedLength ||
      (size === 0 && this.#decoded !== this.options.decodedLength)
    ) {
      throw new S3Error(
        'IncompleteBody',
        'The chunks do not have the length that x-amz-decoded-content-length announced.',
      )
    }
    this.#remaining = size
    if (this.options.seed) this.#held = size <= HELD_MAX ? [] : undefined
    if (size > 0) {
      this.#state = 'data'
      return
    }
    if (this.options.seed) this.#verify(EMPTY_SHA256, out)
    this.#state = 'trailers'
  }

  #take(piece: Buffer, out: Buffer[]): void {
    if (!this.options.seed) {
      out.push(piece)
      return
    }
    const whole = this.#remaining === 0 && this.#hash === undefined
    if (!whole) {
      this.#hash ??= createHash('sha256')
      this.#hash.update(piece)
    }
    if (this.#held) this.#held.push(piece)
    else if (this.#remaining > 0) out.push(piece)
    else this.#held = [piece] // the last bytes of a long chunk wait for its signature
    if (this.#remaining > 0) return
    const digest = whole ? hash('sha256', piece) : this.#hash!.digest('hex')
    this.#hash = undefined
    this.#verify(digest, out)
  }

  #verify(sha256: string, out: Buffer[]): void {
    const { key, amzDate, scope } = this.options.seed!
    const signature = key.hex(
      `AWS4-HMAC-SHA256-PAYLOAD\n${amzDate}\n${scope}\n${this.#previous}\n${EMPTY_SHA256}\n${sha256}`,
    )
    if (!equalConstantTime(signature, this.#expected)) throw new S3Error('SignatureDoesNotMatch')
    this.#previous = signature
    if (this.#held) for (const piece of this.#held) out.push(piece)
    this.#held = undefined
  }

  #onTrailer(line: string): void {
    if (line === '') {
      // Signers put an empty line between the trailers and their signature; others end with it.
      if (!this.options.signedTrailers || this.#trailersVerified) this.#state = 'done'
      return
    }
    if (++this.#trailerLines > TRAILERS_MAX) throw new S3Error('MalformedTrailerError')
    const colon = line.indexOf(':')
    if (colon < 1 || this.#trailersVerified) throw new S3Error('MalformedTrailerError')
    const name = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    if (name === 'x-amz-trailer-signature') {
      this.#verifyTrailers(value)
      return
    }
    if (!this.options.trailerNames.includes(name) || this.trailers.has(name)) {
      throw new S3Error(
        'MalformedTrailerError',
        `The trailing header ${name} was not announced by x-amz-trailer.`,
      )
    }
    this.trailers.set(name, value)
    this.#trailerText += `${name}:${value}\n`
  }

  #verifyTrailers(expected: string): void {
    if (!this.options.seed || !this.options.signedTrailers) throw new S3Error('MalformedTrailerError')
    const { key, amzDate, scope } = this.options.seed
    const signature = key.hex(
      `AWS4-HMAC-SHA256-TRAILER\n${amzDate}\n${scope}\n${this.#previous}\n${sha256HexOfLatin1(this.#trailerText)}`,
    )
    if (!equalConstantTime(signature, expected)) throw new S3Error('SignatureDoesNotMatch')
    this.#trailersVerified = true
  }
}

function malformed(what: string): S3Error {
  return new S3Error('InvalidRequest', `The aws-chunked body is malformed: ${what}.`)
}
