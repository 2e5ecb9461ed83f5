/** Writes a time or size (an integer below 2^53) as 8 bytes. */
export function writeUint53(buffer: Buffer, value: number, offset: number): void {
  buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), offset)
  buffer.writeUInt32BE(value % 0x1_0000_0000, offset + 4)
}

export function readUint53(buffer: Buffer, offset: number): number {
  return buffer.readUInt32BE(offset) * 0x1_0000_0000 + buffer.readUInt32BE(offset + 4)
}
