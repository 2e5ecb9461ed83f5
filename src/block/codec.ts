/** A compressor. The real one is asynchronous (threads); the simulator's may answer at once. */
export interface Codec {
  compress(data: Buffer): Buffer | Promise<Buffer>
  /** Undoes `compress`. @throws any Error on malformed bytes. */
  decompress(data: Buffer, plainBytes: number): Buffer | Promise<Buffer>
}
