import type { AnswerBody } from '../src/api/http/answer.js'
import { isStream } from '../src/api/http/respond.js'
import type { Clock } from '../src/util/clock.js'
import { ManualClock } from './cluster-fakes.js'

/** The pieces of an answer's body, each with the number of turns that have ended before it. */
export async function piecesOf(
  make: (clock: Clock) => AnswerBody | undefined,
): Promise<{ text: string; sleeps: number }[]> {
  const clock = new ManualClock()
  let sleeps = 0
  const after = clock.after.bind(clock)
  clock.after = (delayMs, fn) => {
    sleeps++
    queueMicrotask(fn)
    return after(delayMs, () => {})
  }
  const body = make(clock)
  if (body === undefined || !isStream(body)) return [{ text: String(body ?? ''), sleeps }]
  const pieces: { text: string; sleeps: number }[] = []
  for await (const piece of body) pieces.push({ text: piece.toString(), sleeps })
  return pieces
}
