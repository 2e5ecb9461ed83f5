import { createHash, type Hash, hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'

/** What the pool asks of a worker; every task but 'discard' is answered with [task, digest or undefined]. */
export type HashTask =
  | { task: number; kind: 'sha256'; data: Uint8Array }
  | { task: number; kind: 'md5-add'; body: number; data: Uint8Array }
  | { task: number; kind: 'md5-end'; body: number }
  | { kind: 'discard'; body: number }

const bodies = new Map<number, Hash>()

parentPort!.on('message', (message: HashTask) => {
  switch (message.kind) {
    case 'sha256':
      return parentPort!.postMessage([message.task, hash('sha256', message.data, 'buffer')])
    case 'md5-add': {
      let body = bodies.get(message.body)
      if (!body) {
        body = createHash('md5')
        bodies.set(message.body, body)
      }
      body.update(message.data)
      return parentPort!.postMessage([message.task, undefined])
    }
    case 'md5-end': {
      const digest = (bodies.get(message.body) ?? createHash('md5')).digest()
      bodies.delete(message.body)
      return parentPort!.postMessage([message.task, digest])
    }
    case 'discard':
      bodies.delete(message.body)
  }
})
