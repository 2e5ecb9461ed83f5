import type { BodySource } from '../../../model/content/blobs.js'
import { OBJECT_RATE } from '../../http/least-rate.js'
import type { Payload } from '../payload/payload.js'

/** A request's body as the model reads it. */
export function bodySource(payload: Payload): BodySource {
  return {
    length: payload.contentLength,
    readAll: (maxBytes) => payload.readAll(maxBytes, 'EntityTooLarge', OBJECT_RATE),
    stream: () => payload,
  }
}
