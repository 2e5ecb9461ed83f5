import { createHash } from 'node:crypto'
import type { Bucket } from '../src/model/buckets/buckets.js'
import type { BodySource } from '../src/model/content/blobs.js'
import type { NewVersion } from '../src/model/versions/objects.js'
import type { VersionRecord } from '../src/model/versions/record.js'
import type { SeededRandom } from './seeded-random.js'

/** The number of blocks that many contents share. */
const COMMON_BLOCKS = 8

/** Contents by their ETag (32 hex digits), which are different for each write. */
export class Contents {
  readonly #digests = new Map<string, string>()
  #count = 0

  constructor(private readonly blockBytes: number) {}

  /** A content that no other write has, though some of its blocks may be those of others. */
  make(random: SeededRandom, bytes: number): Buffer {
    const { blockBytes } = this
    const content = random.bytes(Math.max(16, bytes))
    content.writeUInt32BE(this.#count++, 0)
    for (let at = blockBytes; at < content.length; at += blockBytes) {
      if (random.chance(0.5))
        content.fill(random.below(COMMON_BLOCKS), at, Math.min(at + blockBytes, content.length))
    }
    return content
  }

  register(etag: string, content: Buffer): void {
    this.#digests.set(etag, digest(content))
  }

  /** The content of one ETag has another one, too. */
  registerCopy(etag: string, source: string): void {
    const digest = this.#digests.get(source)
    if (digest !== undefined) this.#digests.set(etag, digest)
  }

  matches(etag: string, content: Buffer): boolean {
    return this.#digests.get(etag) === digest(content)
  }
}

export function newVersion(bucket: Bucket, key: string, etag: Buffer): NewVersion {
  return {
    bucket: bucket.id,
    key: Buffer.from(key),
    etag,
    etagParts: 0,
    owner: '',
    headers: { 'content-type': 'application/octet-stream' },
    metadata: {},
    mutable: {},
  }
}

export function sourceOf(content: Buffer, random: SeededRandom): BodySource {
  const chunkBytes = 1000 + random.below(40_000)
  return {
    length: random.chance(0.7) ? content.length : undefined,
    readAll: async () => content,
    async *stream() {
      for (let at = 0; at < content.length; at += chunkBytes) yield content.subarray(at, at + chunkBytes)
    },
  }
}

/** What a read of a key has shown, as the value of its register. */
export function shownBy(version: VersionRecord | undefined): string | null {
  return version?.state === 'object' ? version.etag.toString('hex') : null
}

/** A body of which one half comes long after the other. */
export function drippingSource(content: Buffer, pause: () => Promise<void>): BodySource {
  const half = Math.ceil(content.length / 2)
  return {
    length: content.length,
    readAll: async () => {
      await pause()
      return content
    },
    async *stream() {
      yield content.subarray(0, half)
      await pause()
      yield content.subarray(half)
    },
  }
}

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
