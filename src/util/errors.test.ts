import { expect, it } from 'vitest'
import { AnswerError, CarportError } from './errors.js'

class Refusal extends AnswerError {}

it('an answer to a client has no stack, but a cause with one, and errors after it have theirs', () => {
  const cause = new CarportError('Timeout', 'too late')
  const answer = new Refusal('come back later', { cause })
  expect(answer.stack).toBe('Error: come back later')
  expect(answer.cause).toBe(cause)
  expect('cause' in new Refusal('no')).toBe(false)
  expect(new Error('after it').stack).toContain('errors.test.ts')
})
