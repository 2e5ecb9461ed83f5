/**
 * A link carries frames: an 8-byte header and at most 16 376 bytes, so that a full frame is one TLS record.
 *
 *   type u8 | flags u8 | payload length u16 | stream id u32 | payload      (big endian)
 *
 * A call's id names its two streams as well; the dialing side makes odd ids, the listening side even ones.
 */
export const FRAME_HEADER_BYTES = 8
export const FRAME_BYTES_MAX = 16_384
export const FRAME_PAYLOAD_MAX = FRAME_BYTES_MAX - FRAME_HEADER_BYTES

export const FrameType = {
  /** A part of a call's message; the one with `flagEnd` is the last. */
  request: 1,
  /** A part of the reply's message. */
  reply: 2,
  /** A part of the message that the call failed with. */
  error: 3,
  /** Bytes of a call's stream, from the side that sends it. */
  data: 4,
  /** The stream broke at its source; the payload says why. */
  streamError: 5,
  /** The receiver of a stream wants no more of it. */
  stop: 6,
  /** The receiver of a stream allows u32 more bytes. */
  credit: 7,
  /** The caller is no longer interested in the call. */
  cancel: 8,
  /** The 8 bytes come back in a pong. */
  ping: 9,
  pong: 10,
  /** The sender has no call of its own on this link and makes no new ones: another link replaced it. */
  drained: 11,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

/** The last part of a message, or of a stream. */
export const FLAG_END = 1
/** On a message's last part: a stream follows. */
export const FLAG_STREAM = 2
/** On requests: the priority, two bits. */
export const FLAG_PRIORITY_SHIFT = 2

interface FrameRule {
  flags: number
  minBytes: number
  maxBytes: number
}

const RULES: readonly (FrameRule | undefined)[] = ((): (FrameRule | undefined)[] => {
  const rules: (FrameRule | undefined)[] = []
  const message = { minBytes: 1, maxBytes: FRAME_PAYLOAD_MAX }
  rules[FrameType.request] = { flags: FLAG_END | FLAG_STREAM | (3 << FLAG_PRIORITY_SHIFT), ...message }
  rules[FrameType.reply] = { flags: FLAG_END | FLAG_STREAM, ...message }
  rules[FrameType.error] = { flags: FLAG_END, ...message }
  rules[FrameType.data] = { flags: FLAG_END, minBytes: 0, maxBytes: FRAME_PAYLOAD_MAX }
  rules[FrameType.streamError] = { flags: 0, ...message }
  rules[FrameType.stop] = { flags: 0, minBytes: 0, maxBytes: 0 }
  rules[FrameType.credit] = { flags: 0, minBytes: 4, maxBytes: 4 }
  rules[FrameType.cancel] = { flags: 0, minBytes: 0, maxBytes: 0 }
  rules[FrameType.ping] = { flags: 0, minBytes: 8, maxBytes: 8 }
  rules[FrameType.pong] = { flags: 0, minBytes: 8, maxBytes: 8 }
  rules[FrameType.drained] = { flags: 0, minBytes: 0, maxBytes: 0 }
  return rules
})()

/** The peer broke the protocol: the link must be dropped. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

/** Writes a frame's header at `offset`. */
export function writeFrameHeader(
  target: Buffer,
  offset: number,
  type: FrameType,
  flags: number,
  payloadBytes: number,
  id: number,
): void {
  // Byte by byte: faster than the checked writeUInt methods, and this runs for each frame.
  target[offset] = type
  target[offset + 1] = flags
  target[offset + 2] = payloadBytes >> 8
  target[offset + 3] = payloadBytes & 0xff
  target[offset + 4] = id >>> 24
  target[offset + 5] = (id >>> 16) & 0xff
  target[offset + 6] = (id >>> 8) & 0xff
  target[offset + 7] = id & 0xff
}

export interface FrameSink {
  /** Takes a whole frame of any type but data. `payload` may share memory with the chunk it came in. */
  onFrame(type: FrameType, flags: number, id: number, payload: Buffer): void
  /** Takes a piece of a data frame as it came in; `end` is set with the last byte of a frame that ends its stream. */
  onData(id: number, piece: Buffer, end: boolean): void
}

const EMPTY = Buffer.alloc(0)

/** Cuts incoming bytes into frames. Data frames are passed on in the pieces in which they arrive, without a copy. */
export class FrameDecoder {
  readonly #sink: FrameSink
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES)
  #headerBytes = 0
  #type: FrameType = FrameType.data
  #flags = 0
  #id = 0
  /** Payload bytes of the current frame that have not come yet; 0 between frames. */
  #missing = 0
  /** The current frame's payload, if it comes in several chunks and is not data. */
  #payload = EMPTY

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** @throws ProtocolError, or the sink's own error. The decoder cannot be used after either. */
  push(chunk: Buffer): void {
    const end = chunk.length
    let at = 0
    while (at < end) {
      if (this.#missing === 0) {
        if (this.#headerBytes === 0 && end - at >= FRAME_HEADER_BYTES) {
          this.#startFrame(chunk, at)
          at += FRAME_HEADER_BYTES
        } else {
          const taken = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, end - at)
          chunk.copy(this.#header, this.#headerBytes, at, at + taken)
          this.#headerBytes += taken
          at += taken
          if (this.#headerBytes < FRAME_HEADER_BYTES) return
          this.#headerBytes = 0
          this.#startFrame(this.#header, 0)
        }
        continue
      }
      const taken = Math.min(this.#missing, end - at)
      const piece = chunk.subarray(at, at + taken)
      at += taken
      if (this.#type === FrameType.data) {
        this.#missing -= taken
        this.#sink.onData(this.#id, piece, this.#missing === 0 && (this.#flags & FLAG_END) !== 0)
      } else {
        this.#addToPayload(piece)
      }
    }
  }

  #startFrame(source: Buffer, at: number): void {
    const type = source[at]!
    const flags = source[at + 1]!
    const bytes = (source[at + 2]! << 8) | source[at + 3]!
    const id = source.readUInt32BE(at + 4)
    const rule = RULES[type]
    if (!rule) throw new ProtocolError(`unknown frame type ${type}`)
    if ((flags & ~rule.flags) !== 0) throw new ProtocolError(`frame type ${type} with flags ${flags}`)
    if (bytes < rule.minBytes || bytes > rule.maxBytes) {
      throw new ProtocolError(`frame type ${type} of ${bytes} bytes`)
    }
    this.#type = type as FrameType
    this.#flags = flags
    this.#id = id
    this.#missing = bytes
    if (bytes > 0) return
    if (type === FrameType.data) this.#sink.onData(id, EMPTY, (flags & FLAG_END) !== 0)
    else this.#sink.onFrame(this.#type, flags, id, EMPTY)
  }

  #addToPayload(piece: Buffer): void {
    let payload = piece
    if (piece.length < this.#missing || this.#payload.length > 0) {
      if (this.#payload.length === 0) this.#payload = Buffer.allocUnsafe(this.#missing)
      piece.copy(this.#payload, this.#payload.length - this.#missing)
      payload = this.#payload
    }
    this.#missing -= piece.length
    if (this.#missing > 0) return
    this.#payload = EMPTY
    this.#sink.onFrame(this.#type, this.#flags, this.#id, payload)
  }
}
