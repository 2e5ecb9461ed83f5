import { Worker } from 'node:worker_threads'

/** Starts a thread that runs hash-worker.ts. A module of its own, since a program in one file starts it otherwise. */
export function startHashThread(): Worker {
  return new Worker(new URL('./hash-worker.js', import.meta.url))
}
