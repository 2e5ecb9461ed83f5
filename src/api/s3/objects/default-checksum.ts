import type { StoredBody } from '../../../model/content/blobs.js'
import type { ChecksumAlgorithm } from '../../../model/versions/record.js'
import type { Sealing } from '../encryption/requests.js'

/**
 * Whether a content that came without a checksum gets one. Not under a client's key: the checksum is kept as it is, and
 * would tell which of a few contents it is. AWS gives one there too.
 */
export function hasDefaultChecksum(sealing: Sealing | undefined): boolean {
  return sealing?.encryption.kind !== 'SSE-C'
}

/** The checksum of a content that came without one. */
export function defaultChecksum({
  crc64,
}: StoredBody): { algorithm: ChecksumAlgorithm; value: Buffer } | undefined {
  return crc64 && { algorithm: 'CRC64NVME', value: crc64 }
}
