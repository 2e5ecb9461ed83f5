import type { K2vItem } from '../../model/k2v/item.js'
import { SeenMarker } from '../../model/k2v/seen-marker.js'
import { OverloadedError } from '../http/admission.js'
import type { Answer } from '../http/answer.js'
import { readBody } from './batches.js'
import type { Handler, K2vContext } from './context.js'
import { bytesOf, parseCausality, parsePollRange, timeoutOf } from './documents.js'
import { invalidRequest } from './errors.js'
import { type Accepted, acceptedForms, itemAnswer, itemKey } from './items.js'
import { jsonAnswer, jsonItem, jsonObject, map } from './json-answer.js'
import { bytesOfItem, bytesOfItems, readHeld } from './memory.js'
import type { K2vRequest } from './request.js'

/** Polls that wait on one node at the same time, and the bytes of all their markers. */
const POLLS_MAX = 20_000
const MARKER_BYTES_MAX = 128 << 20
/** What a marker takes in memory, in multiples of its text. */
const MARKER_FACTOR = 4
/** Memory that a poll of a range may take when it looks: the bytes of a ReadBudget, and the last item beyond. */
const ANSWER_BYTES_MAX = 10 << 20
const UNCHANGED: Answer = { status: 304 }

export const pollItem: Handler = (context, request) => {
  const accepted = acceptedForms(request)
  const key = itemKey(request)
  const seen = parseCausality(request.query.get('causality_token')!)
  const timeout = request.query.get('timeout')
  if (timeout !== undefined && !/^\d{1,9}$/.test(timeout))
    throw invalidRequest('timeout is a number of seconds')
  const timeoutMs = timeoutOf(timeout === undefined ? undefined : Number(timeout)) * 1000
  const news = context.polls.pollItem(context.bucket.id, key, seen, waitOf(context, request, timeoutMs))
  return answerLater(news, context, request, accepted)
}

/** A function of its own, so that what waits keeps nothing of what was sent. */
function answerLater(
  news: Promise<K2vItem | undefined>,
  context: K2vContext,
  request: K2vRequest,
  accepted: Accepted,
): Promise<Answer> {
  return news.then((item) => (item ? answerFound(item, context, request, accepted) : UNCHANGED))
}

function answerFound(
  item: K2vItem,
  { store, bucket, clock }: K2vContext,
  request: K2vRequest,
  accepted: Accepted,
): Promise<Answer> {
  // Thousands may be told of the same change: those for whom there is no room read the item when there is.
  const { partitionKey, sortKey } = item
  let found: K2vItem | undefined = item
  const read = async () => {
    const first = found
    found = undefined
    return first ?? store.read(bucket.id, { partitionKey, sortKey })
  }
  return readHeld(request, read, bytesOfItem).then((late) => itemAnswer(late, accepted, clock))
}

export const pollRange: Handler = async (context, request) => {
  const { range, timeoutS, seenMarker } = parsePollRange(await readBody(request))
  const partitionKey = bytesOf(request.route!.partitionKey!)
  const marker = seenMarker === undefined ? undefined : SeenMarker.decode(seenMarker)
  const { polls, bucket, clock } = context
  const markerBytes = MARKER_FACTOR * (seenMarker?.length ?? 0)
  if (polls.markerBytes + markerBytes > MARKER_BYTES_MAX) throw new OverloadedError()
  const memory = {
    take: () => request.reader.hold(ANSWER_BYTES_MAX),
    giveBack: () => request.reader.keep(0),
  }
  const options = { ...waitOf(context, request, timeoutS * 1000), markerBytes, memory }
  const news = await polls.pollRange(bucket.id, partitionKey, range, marker, options)
  if (!news) return UNCHANGED
  await holdNews(request, bytesOfItems(news.items))
  const seen = { seenMarker: news.marker.encode() }
  return jsonAnswer(jsonObject(seen, 'items', map(news.items, jsonItem)), clock)
}

/** What a poll has read itself is held already; of what woke it up, all who were told have the same copy. */
async function holdNews({ reader }: K2vRequest, bytes: number): Promise<void> {
  if (reader.heldBytes > 0) reader.keep(bytes)
  else await reader.hold(bytes)
}

/** While the request only waits, it takes no place among those that are served. */
function waitOf({ polls }: K2vContext, request: K2vRequest, timeoutMs: number) {
  if (polls.size >= POLLS_MAX) throw new OverloadedError()
  return {
    timeoutMs,
    whenGone: (poll: { end(): void }) => request.onClose(poll),
    onWaiting: () => request.park(),
  }
}
