import type { BodySource } from '../../../model/content/blobs.js'
import { type ChecksumAlgorithm, createChecksum, type Hasher, loadChecksum } from '../payload/checksum.js'

/** A stored object's bytes as the body of a part, with the upload's checksum computed on the way. */
export class CopyChecksum {
  #hasher: Hasher | undefined

  constructor(
    private readonly stream: AsyncIterable<Buffer>,
    private readonly algorithm: ChecksumAlgorithm | undefined,
  ) {}

  /** @param length the number of bytes that the stream will give */
  source(length: number): BodySource {
    const chunks = this.#chunks.bind(this)
    return {
      length,
      async readAll() {
        const all: Buffer[] = []
        // The producer reuses a chunk's memory when the next one is asked for.
        for await (const chunk of chunks()) all.push(Buffer.from(chunk))
        return Buffer.concat(all)
      },
      stream: chunks,
    }
  }

  /** The checksum; call this after the body was read to its end. */
  result(): { algorithm: ChecksumAlgorithm; value: Buffer } | undefined {
    return this.#hasher && { algorithm: this.algorithm!, value: this.#hasher.digest() }
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    await loadChecksum(this.algorithm)
    this.#hasher = this.algorithm && createChecksum(this.algorithm)
    for await (const chunk of this.stream) {
      this.#hasher?.update(chunk)
      yield chunk
    }
  }
}
