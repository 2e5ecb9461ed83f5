import { assert } from './assert.js'

/**
 * Writes a time or size as 8 bytes, big endian.
 * @throws CarportError Internal unless it is an integer from 0 to 2^53 - 1
 */
export function writeUint53(buffer: Buffer, value: number, offset: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a time or size is an integer from 0 to 2^53 - 1')
  buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), offset)
  buffer.writeUInt32BE(value % 0x1_0000_0000, offset + 4)
}

/** Reads what writeUint53 wrote. */
export function readUint53(buffer: Buffer, offset: number): number {
  return buffer.readUInt32BE(offset) * 0x1_0000_0000 + buffer.readUInt32BE(offset + 4)
}
