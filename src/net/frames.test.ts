import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  FLAG_END,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_MAX,
  FrameDecoder,
  FrameType,
  ProtocolError,
  writeFrameHeader,
} from './frames.js'

interface Frame {
  type: FrameType
  flags: number
  id: number
  payload: Buffer
}

function encodeFrame({ type, flags, id, payload }: Frame): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length)
  writeFrameHeader(bytes, 0, type, flags, payload.length, id)
  payload.copy(bytes, FRAME_HEADER_BYTES)
  return bytes
}

/** Frames as a decoder reports them; pieces of data frames are put together. */
function collector() {
  const frames: Frame[] = []
  const pieces = new Map<number, Buffer[]>()
  const decoder = new FrameDecoder({
    onFrame: (type, flags, id, payload) => frames.push({ type, flags, id, payload: Buffer.from(payload) }),
    onData: (id, piece, end) => {
      const list = pieces.get(id) ?? []
      list.push(Buffer.from(piece))
      pieces.set(id, list)
      if (!end) return
      frames.push({ type: FrameType.data, flags: FLAG_END, id, payload: Buffer.concat(list) })
      pieces.delete(id)
    },
  })
  return { decoder, frames }
}

function pushInChunks(decoder: FrameDecoder, bytes: Buffer, sizes: number[]): void {
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!
    decoder.push(bytes.subarray(at, at + size))
    at += size
  }
}

const frame: fc.Arbitrary<Frame> = fc
  .record({
    type: fc.constantFrom(
      FrameType.request,
      FrameType.reply,
      FrameType.data,
      FrameType.stop,
      FrameType.credit,
      FrameType.ping,
    ),
    id: fc.integer({ min: 0, max: 0xffff_ffff }),
    payload: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  })
  .map(({ type, id, payload }) => {
    const fixed: Partial<Record<FrameType, number>> = {
      [FrameType.stop]: 0,
      [FrameType.credit]: 4,
      [FrameType.ping]: 8,
    }
    const bytes = fixed[type] === undefined ? Buffer.from(payload) : Buffer.alloc(fixed[type], payload[0])
    const flags = type === FrameType.data || type === FrameType.request ? FLAG_END : 0
    return { type, id, flags, payload: bytes }
  })

describe('frame decoder', () => {
  test('finds the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        (sent, sizes) => {
          const { decoder, frames } = collector()
          pushInChunks(decoder, Buffer.concat(sent.map(encodeFrame)), sizes)
          expect(frames).toEqual(sent)
        },
      ),
    )
  })

  test('passes the pieces of a data frame on without waiting for the rest', () => {
    const pieces: number[] = []
    const decoder = new FrameDecoder({ onFrame: () => {}, onData: (_id, piece) => pieces.push(piece.length) })
    const bytes = encodeFrame({ type: FrameType.data, flags: 0, id: 1, payload: Buffer.alloc(1000) })
    decoder.push(bytes.subarray(0, 108))
    expect(pieces).toEqual([100])
    decoder.push(bytes.subarray(108))
    expect(pieces).toEqual([100, 900])
  })

  test('meets garbage with nothing but a protocol error', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        (garbage, sizes) => {
          try {
            pushInChunks(collector().decoder, Buffer.from(garbage), sizes)
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })

  test.each([
    ['an unknown type', [0, 0, 0, 0]],
    ['another unknown type', [12, 0, 0, 0]],
    ['unknown flags', [FrameType.reply, 0x80, 0, 1]],
    ['a payload that is too long', [FrameType.data, 0, 0xff, 0xff]],
    [
      'a payload one byte too long',
      [FrameType.data, 0, (FRAME_PAYLOAD_MAX + 1) >> 8, (FRAME_PAYLOAD_MAX + 1) & 0xff],
    ],
    ['an empty message', [FrameType.request, FLAG_END, 0, 0]],
    ['a credit of the wrong size', [FrameType.credit, 0, 0, 5]],
  ])('refuses %s', (_what, start) => {
    expect(() => collector().decoder.push(Buffer.from([...start, 0, 0, 0, 1]))).toThrow(ProtocolError)
  })
})
