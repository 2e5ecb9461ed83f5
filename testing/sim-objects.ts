import type { Bucket } from '../src/model/buckets/buckets.js'
import type { BodySource } from '../src/model/content/blobs.js'
import type { NewVersion } from '../src/model/versions/objects.js'
import type { SeededRandom } from './seeded-random.js'

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
