import { parentPort } from 'node:worker_threads'
import { PlainDigests, sha256 } from '../model/content/hashing.js'

/** A request of the pool to a worker. 'add' and 'end' are answered with a HashReply; memory is moved, not copied. */
export type HashTask =
  | {
      kind: 'add'
      task: number
      body: number
      crc64: boolean
      plain: Uint8Array
      sealed: Uint8Array | undefined
    }
  | { kind: 'end'; task: number; body: number; crc64: boolean }
  | { kind: 'discard'; body: number }

/** SHA-256 of a block, and its memory; or MD5, and perhaps CRC-64/NVME, of a body. */
export interface HashReply {
  task: number
  digest: Uint8Array
  crc64?: Uint8Array
  plain?: Uint8Array
  sealed?: Uint8Array | undefined
}

const bodies = new Map<number, PlainDigests>()

function digestsOf(body: number, crc64: boolean): PlainDigests {
  let digests = bodies.get(body)
  if (!digests) {
    digests = new PlainDigests(crc64)
    bodies.set(body, digests)
  }
  return digests
}

parentPort!.on('message', (message: HashTask) => {
  switch (message.kind) {
    case 'add': {
      const { task, body, crc64, plain, sealed } = message
      const digest = sha256(sealed ?? plain)
      digestsOf(body, crc64).update(plain)
      const moved = sealed ? [plain.buffer, sealed.buffer] : [plain.buffer]
      return parentPort!.postMessage(
        { task, digest, plain, sealed } satisfies HashReply,
        moved as ArrayBuffer[],
      )
    }
    case 'end': {
      const { task, body } = message
      const { md5, crc64 } = digestsOf(body, message.crc64).end()
      bodies.delete(body)
      return parentPort!.postMessage({ task, digest: md5, ...(crc64 && { crc64 }) } satisfies HashReply)
    }
    case 'discard':
      bodies.delete(message.body)
  }
})
