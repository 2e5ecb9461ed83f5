import { inflateRawSync } from 'node:zlib'
import { StoreError } from '../api/client/s3-client.js'

const END_BYTES = 22
const END = 0x06054b50
const ENTRY = 0x02014b50
const ENTRY_BYTES = 46
const LOCAL_BYTES = 30
const STORED = 0
const DEFLATED = 8

/**
 * The files of a ZIP archive (APPNOTE.TXT 6.3, without ZIP64, encryption and comments of the archive).
 * @param bytesMax of each file
 * @throws StoreError if it is none
 */
export function unzip(archive: Buffer, bytesMax: number): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  const end = archive.length - END_BYTES
  if (end < 0 || archive.readUInt32LE(end) !== END) throw unreadable()
  try {
    let at = archive.readUInt32LE(end + 16)
    for (let left = archive.readUInt16LE(end + 10); left > 0; left--) {
      if (archive.readUInt32LE(at) !== ENTRY) throw unreadable()
      const method = archive.readUInt16LE(at + 10)
      const packedBytes = archive.readUInt32LE(at + 20)
      const nameBytes = archive.readUInt16LE(at + 28)
      const name = archive.toString('utf8', at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes)
      const local = archive.readUInt32LE(at + 42)
      const start = local + LOCAL_BYTES + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28)
      const packed = archive.subarray(start, start + packedBytes)
      if (method !== STORED && method !== DEFLATED) throw unreadable()
      files.set(name, method === STORED ? packed : inflateRawSync(packed, { maxOutputLength: bytesMax }))
      at += ENTRY_BYTES + nameBytes + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32)
    }
  } catch (error) {
    if (error instanceof StoreError) throw error
    throw unreadable()
  }
  return files
}

const unreadable = () => new StoreError('NoZip', 'the export of users is no ZIP archive, or is damaged', 400)
