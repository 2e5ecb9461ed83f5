import type { Bucket, Buckets } from '../../model/buckets/buckets.js'
import type { Polls } from '../../model/k2v/polls.js'
import type { K2vStore } from '../../model/k2v/store.js'
import type { Clock } from '../../util/clock.js'
import type { Answer } from '../http/answer.js'
import type { K2vRequest } from './request.js'

/** What a handler works with, once its caller is authorized. */
export interface K2vContext {
  readonly store: K2vStore
  readonly polls: Polls
  readonly bucket: Bucket
  readonly buckets: Buckets
  readonly clock: Clock
}

/** Serves one operation; at once where nothing is to be waited for. */
export type Handler = (context: K2vContext, request: K2vRequest) => Answer | Promise<Answer>
