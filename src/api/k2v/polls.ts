import { SeenMarker } from '../../model/k2v/seen-marker.js'
import { OverloadedError } from '../http/admission.js'
import type { Answer } from '../http/answer.js'
import { jsonAnswer, readBody } from './batches.js'
import type { Handler, K2vContext } from './context.js'
import { bytesOf, parseCausality, parsePollRange, timeoutOf } from './documents.js'
import { invalidRequest } from './errors.js'
import { acceptedForms, itemAnswer, itemKey, jsonItem } from './items.js'
import type { K2vRequest } from './request.js'

/** Polls that wait on one node at the same time. */
const POLLS_MAX = 20_000
const UNCHANGED: Answer = { status: 304 }

export const pollItem: Handler = async (context, request) => {
  const accepted = acceptedForms(request)
  const key = itemKey(request)
  const seen = parseCausality(request.query.get('causality_token')!)
  const timeout = request.query.get('timeout')
  if (timeout !== undefined && !/^\d{1,9}$/.test(timeout))
    throw invalidRequest('timeout is a number of seconds')
  const timeoutMs = timeoutOf(timeout === undefined ? undefined : Number(timeout)) * 1000
  const item = await context.polls.pollItem(context.bucket.id, key, seen, waitOf(context, request, timeoutMs))
  return item ? itemAnswer(item, accepted) : UNCHANGED
}

export const pollRange: Handler = async (context, request) => {
  const { range, timeoutS, seenMarker } = parsePollRange(await readBody(request))
  const partitionKey = bytesOf(request.route!.partitionKey!)
  const marker = seenMarker === undefined ? undefined : SeenMarker.decode(seenMarker)
  const options = waitOf(context, request, timeoutS * 1000)
  const news = await context.polls.pollRange(context.bucket.id, partitionKey, range, marker, options)
  if (!news) return UNCHANGED
  return jsonAnswer({ seenMarker: news.marker.encode(), items: news.items.map(jsonItem) })
}

/** While the request only waits, it takes no place among those that are served. */
function waitOf({ polls }: K2vContext, request: K2vRequest, timeoutMs: number) {
  if (polls.size >= POLLS_MAX) throw new OverloadedError()
  return {
    timeoutMs,
    whenGone: (end: () => void) => request.onClose(end),
    onWaiting: () => request.park(),
  }
}
