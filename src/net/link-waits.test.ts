import { expect, it } from 'vitest'
import { SimClock } from '../../testing/sim-clock.js'
import { LINK_WAIT_MS, LinkWaits } from './link-waits.js'

function waits() {
  const clock = new SimClock()
  return { clock, waits: new LinkWaits(clock) }
}

it('a call waits for a link that broke a moment ago, and learns how long it took', async () => {
  const { clock, waits: links } = waits()
  expect(links.isExpected('a')).toBe(false)
  links.lost('a')
  expect(links.isExpected('a')).toBe(true)
  const waited = links.wait('a', 10_000)
  clock.after(300, () => links.linked('a'))
  expect(await clock.runUntil(waited, 1000)).toBe(300)
  expect(links.isExpected('a')).toBe(false)
})

it('it fails after half a second, or its own deadline', async () => {
  const { clock, waits: links } = waits()
  links.lost('a')
  for (const [maxMs, takesMs] of [
    [10_000, LINK_WAIT_MS],
    [100, 100],
  ] as const) {
    const startMs = clock.monotonicMs()
    const waited = links.wait('a', maxMs).catch((error) => error)
    expect(await clock.runUntil(waited, 1000)).toMatchObject({ code: 'PeerUnreachable' })
    expect(clock.monotonicMs() - startMs).toBe(takesMs)
  }
})

it('nobody waits for a node that is away for longer, however often it is dialled', async () => {
  const { clock, waits: links } = waits()
  links.dialing('a')
  expect(links.isExpected('a')).toBe(true)
  await clock.run(5_000)
  links.dialing('a')
  expect(links.isExpected('a')).toBe(false)
  links.linked('a')
  links.lost('a')
  expect(links.isExpected('a')).toBe(true)
})

it('a wait ends when the caller gives up, and when the node stops', async () => {
  const { clock, waits: links } = waits()
  const caller = new AbortController()
  links.lost('a')
  const aborted = links.wait('a', 1000, caller.signal).catch((error) => error)
  const closed = links.wait('a', 1000).catch((error) => error)
  caller.abort(new Error('given up'))
  links.close(new Error('stopping'))
  expect(await clock.runUntil(aborted, 1)).toMatchObject({ message: 'given up' })
  expect(await clock.runUntil(closed, 1)).toMatchObject({ message: 'stopping' })
})
