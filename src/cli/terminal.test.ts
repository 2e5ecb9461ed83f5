import type { WriteStream } from 'node:tty'
import { expect, it } from 'vitest'
import { terminalOf } from './terminal.js'

/** A terminal of 20 columns and 4 rows that records what is written to it. */
function recorded(values: Partial<WriteStream> = {}) {
  const written: string[] = []
  const stream = { isTTY: true, columns: 20, rows: 4, write: (text: string) => written.push(text), ...values }
  return { stream: stream as unknown as WriteStream, written }
}

it('draws lines over those drawn before, cut so that none wraps and the screen does not scroll', () => {
  const { stream, written } = recorded()
  const terminal = terminalOf(stream, { TERM: 'xterm' })!
  terminal.redraw(['one', 'x'.repeat(50), 'three', 'four', 'five'])
  expect(written.splice(0).join('')).toBe(`\u001b[0Jone\n${'x'.repeat(19)}\nthree\n`)
  terminal.redraw(['again'])
  expect(written.splice(0).join('')).toBe('\u001b[3A\u001b[0Jagain\n')
  terminal.keep()
  terminal.redraw(['below'])
  expect(written.splice(0).join('')).toBe('\u001b[0Jbelow\n')
})

it('is none where the stream is none, or cannot move its cursor', () => {
  expect(terminalOf(recorded({ isTTY: false }).stream, {})).toBeUndefined()
  expect(terminalOf(recorded().stream, { TERM: 'dumb' })).toBeUndefined()
})
