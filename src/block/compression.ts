import { CarportError } from '../util/errors.js'
import type { Codec } from './codec.js'
import { makeBlock, type StoredBlock } from './format.js'

export interface Compression extends Codec {
  /** false: blocks are stored as they are, but compressed ones from before are still read. */
  readonly enabled: boolean
}

/** Compressed bytes are kept only if they are fewer than this share of the plain ones. */
const RATIO_MAX = 0.95
/** Bytes of a block that are compressed first, to see whether compressing the rest is worth it. */
const SAMPLE_BYTES = 64 << 10

/**
 * zstd. `level` is zstd's own (1 to 22, negative ones are faster), or 'none'. The native library is loaded by the
 * first block that needs it.
 */
export function zstdCompression(level: number | 'none'): Compression {
  let loading: Promise<typeof import('@mongodb-js/zstd')> | undefined
  const zstd = () => {
    loading ??= import('@mongodb-js/zstd')
    return loading
  }
  return {
    enabled: level !== 'none',
    compress: async (data) => (await zstd()).compress(data, level === 'none' ? 1 : level),
    decompress: async (data, plainBytes) => {
      checkFrame(data, plainBytes)
      return (await zstd()).decompress(data)
    },
  }
}

/** Bytes that the blocks of a frame hold on average at the least: libzstd splits 128 KiB into at most 196. */
const FRAME_BLOCK_BYTES_MEAN_MIN = 512

/**
 * Bounds what decompressing takes before it begins, since the library makes all the bytes that it is told to: the data
 * must be one zstd frame (RFC 8878) with no more blocks than `plainBytes` need, which hold 128 KiB each at the most; a size
 * that it announces, and what its uncompressed and repeated blocks hold, must not be more than that.
 * @throws CarportError Corrupted
 */
export function checkFrame(data: Buffer, plainBytes: number): void {
  const corrupted = (what: string) => new CarportError('Corrupted', `a compressed block is no ${what}`)
  if (data.length < 9 || data.readUInt32LE(0) !== 0xfd2fb528) throw corrupted('zstd frame')
  const descriptor = data[4]!
  const isSingleSegment = (descriptor & 0x20) !== 0
  const sizeFlag = descriptor >> 6
  const sizeBytes = sizeFlag === 0 ? Number(isSingleSegment) : 1 << sizeFlag
  let at = 5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!
  if (at + sizeBytes > data.length) throw corrupted('zstd frame')
  if (sizeBytes > 0) {
    const announced =
      sizeBytes === 8
        ? Number(data.readBigUInt64LE(at))
        : data.readUIntLE(at, sizeBytes) + (sizeBytes === 2 ? 256 : 0)
    if (announced !== plainBytes) throw corrupted(`frame of ${plainBytes} bytes`)
  }
  at += sizeBytes
  let blocksLeft = 16 + plainBytes / FRAME_BLOCK_BYTES_MEAN_MIN
  let known = 0
  for (let isLast = false; !isLast; blocksLeft--) {
    if (at + 3 > data.length || blocksLeft < 0) throw corrupted(`frame of ${plainBytes} bytes`)
    const header = data.readUIntLE(at, 3)
    isLast = (header & 1) !== 0
    const size = header >> 3
    const kind = (header >> 1) & 3
    if (kind < 2) known += size
    if (known > plainBytes) throw corrupted(`frame of ${plainBytes} bytes`)
    // A block of one repeated byte stores that byte alone.
    at += 3 + (kind === 1 ? 1 : size)
  }
  if (descriptor & 4) at += 4
  if (at !== data.length) throw corrupted('single frame')
}

/**
 * A block ready to be stored, compressed if that saves enough. A sample from the middle decides first (file
 * headers, at the beginning, often compress when the rest does not), so that incompressible data costs
 * little; a block whose middle alone is incompressible is stored plain, which is the price.
 */
export async function compressBlock(data: Buffer, compression: Compression): Promise<StoredBlock> {
  if (!compression.enabled || data.length < 64 || looksRandom(data))
    return makeBlock(data, data.length, false)
  if (data.length > 2 * SAMPLE_BYTES) {
    const start = (data.length - SAMPLE_BYTES) >> 1
    const sample = await compression.compress(data.subarray(start, start + SAMPLE_BYTES))
    if (sample.length > SAMPLE_BYTES * RATIO_MAX) return makeBlock(data, data.length, false)
  }
  const compressed = await compression.compress(data)
  return compressed.length < data.length * RATIO_MAX
    ? makeBlock(compressed, data.length, true)
    : makeBlock(data, data.length, false)
}

/** Bytes looked at to tell random data, which encrypted and compressed files are, without asking the compressor. */
const GLANCE_BYTES = 4096
/** Shannon entropy above which a glance counts as random, in bits per byte; random bytes show 7.95 in 4096. */
const RANDOM_BITS = 7.9

/** Whether the bytes in the middle are spread as evenly as random ones; shorter data is always worth a try. */
function looksRandom(data: Buffer): boolean {
  if (data.length < GLANCE_BYTES) return false
  const counts = new Uint16Array(256)
  const start = (data.length - GLANCE_BYTES) >> 1
  for (let i = start; i < start + GLANCE_BYTES; i++) counts[data[i]!]!++
  let sum = 0
  for (const count of counts) if (count > 0) sum += count * Math.log2(count)
  return Math.log2(GLANCE_BYTES) - sum / GLANCE_BYTES > RANDOM_BITS
}
