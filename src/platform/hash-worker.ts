import { createHash, type Hash, hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'

/** A request of the pool to a worker. 'add' and 'end' are answered with a HashReply; memory is moved, not copied. */
export type HashTask =
  | { kind: 'add'; task: number; body: number; plain: Uint8Array; sealed: Uint8Array | undefined }
  | { kind: 'end'; task: number; body: number }
  | { kind: 'discard'; body: number }

/** SHA-256 of a block, and its memory; or MD5 of a body. */
export interface HashReply {
  task: number
  digest: Uint8Array
  plain?: Uint8Array
  sealed?: Uint8Array | undefined
}

const bodies = new Map<number, Hash>()

parentPort!.on('message', (message: HashTask) => {
  switch (message.kind) {
    case 'add': {
      const { task, body, plain, sealed } = message
      let md5 = bodies.get(body)
      if (!md5) {
        md5 = createHash('md5')
        bodies.set(body, md5)
      }
      const digest = hash('sha256', sealed ?? plain, 'buffer')
      md5.update(plain)
      const moved = sealed ? [plain.buffer, sealed.buffer] : [plain.buffer]
      return parentPort!.postMessage(
        { task, digest, plain, sealed } satisfies HashReply,
        moved as ArrayBuffer[],
      )
    }
    case 'end': {
      const { task, body } = message
      const digest = (bodies.get(body) ?? createHash('md5')).digest()
      bodies.delete(body)
      return parentPort!.postMessage({ task, digest } satisfies HashReply)
    }
    case 'discard':
      bodies.delete(message.body)
  }
})
