import type { StreamCall } from '../../client/stream-call.js'

/** What reads through to other stores have in common. */
export interface Shadows {
  call: StreamCall
  /** Objects that are being kept, by bucket and key. */
  keeping: Map<string, Promise<void>>
}
