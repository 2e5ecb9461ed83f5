import { describe, expect, it } from 'vitest'
import { SimClock } from '../../testing/sim-clock.js'
import { Hlc, PeerTime } from './clock.js'

const DAY_MS = 24 * 3600_000
/** The bound of these tests, in ms. */
const MAX_MS = 60_000

function machine(offsetMs = 0) {
  const world = new SimClock()
  const clock = world.skewed(offsetMs)
  const peers = new PeerTime(clock, MAX_MS)
  /** Peers tell their time, given how far each is ahead of the true one. */
  const hear = (...offsetsMs: number[]) => {
    for (const [i, peerMs] of offsetsMs.entries()) peers.note(`peer${i}`, world.nowMs() + peerMs)
  }
  return { world, clock, peers, hear, hlc: new Hlc(clock, peers) }
}

describe('the peers’ clocks', () => {
  it('say nothing against the own one while it is within the bound of their median', () => {
    const { peers, hear } = machine(1000)
    hear(0, 500, -DAY_MS)
    expect(peers.offMs()).toBe(1000)
    expect(peers.doubt()).toBeUndefined()
    expect(peers.stampDoubt()).toBeUndefined()
  })

  it.each([2 * DAY_MS, -2 * DAY_MS, 61_000])('show that the own one is %d ms off', (offsetMs) => {
    const { peers, hear, world } = machine(offsetMs)
    hear(0, 0, 3 * DAY_MS)
    expect(peers.offMs()).toBe(offsetMs)
    expect(peers.doubt()).toContain(`${Math.abs(offsetMs / 1000)} s ${offsetMs > 0 ? 'ahead of' : 'behind'}`)
    expect(() => peers.checkMayStamp()).toThrow(expect.objectContaining({ code: 'ClockSkew' }))
    expect(peers.clock.nowMs()).toBe(world.nowMs())
  })

  it('of two that differ, believe the one that is nearer', () => {
    const { peers, hear } = machine()
    hear(0, 2 * DAY_MS)
    expect(peers.offMs()).toBe(0)
    expect(peers.isOff()).toBe(false)
  })

  it('need not be asked again to see the own one jump', () => {
    const { peers, hear, clock, world } = machine()
    hear(0, 0)
    clock.offsetMs = 30 * 365 * DAY_MS
    expect(peers.isOff()).toBe(true)
    expect(peers.nowMs()).toBe(world.nowMs())
    clock.offsetMs = 0
    expect(peers.isOff()).toBe(false)
  })

  it('with one alone, keep both from deleting, and the one that is ahead from writing', () => {
    const ahead = machine(2 * DAY_MS)
    ahead.hear(0)
    expect(ahead.peers.doubt()).toContain('ahead of')
    expect(ahead.peers.stampDoubt()).toContain('ahead of')
    const behind = machine(-2 * DAY_MS)
    behind.hear(0)
    expect(behind.peers.doubt()).toContain('behind')
    expect(behind.peers.stampDoubt()).toBeUndefined()
  })

  it('are believed for ten minutes, and waited for where there are other nodes', async () => {
    const { peers, hear, world } = machine(2 * DAY_MS)
    peers.expectsPeers = () => true
    expect(peers.doubt()).toContain('no other node')
    expect(peers.stampDoubt()).toBeUndefined()
    hear(0, 0)
    await world.run(9 * 60_000)
    expect(peers.isOff()).toBe(true)
    await world.run(2 * 60_000)
    expect(peers.isOff()).toBe(false)
    expect(peers.doubt()).toContain('no other node')
  })

  it('are waited for before a row gets a time, while one of them is about to tell its', () => {
    const { peers, hear } = machine(2 * DAY_MS)
    peers.awaitsPeers = () => true
    expect(peers.stampDoubt()).toContain('no other node')
    hear(0)
    expect(peers.stampDoubt()).toContain('ahead of')
  })

  it('where there are none, the own one is believed', () => {
    const { peers } = machine(2 * DAY_MS)
    expect(peers.doubt()).toBeUndefined()
    expect(peers.stampDoubt()).toBeUndefined()
  })
})

describe('the hybrid logical clock', () => {
  it('follows a peer within the bound, and no farther', () => {
    const { hlc, world } = machine()
    const nowUs = world.nowMs() * 1000
    hlc.observe(nowUs + MAX_MS * 1000)
    expect(hlc.now()).toBe(nowUs + MAX_MS * 1000 + 1)
    hlc.observe(nowUs + MAX_MS * 1000 + 5)
    expect(hlc.now()).toBe(nowUs + MAX_MS * 1000 + 2)
  })

  it('follows a row from the future for that row only', () => {
    const { hlc, world } = machine()
    const futureUs = (world.nowMs() + DAY_MS) * 1000
    expect(hlc.after(futureUs)).toBe(futureUs + 1)
    expect(hlc.now()).toBeLessThan(futureUs)
  })

  it('comes back from what the own clock said while it was wrong', () => {
    const { hlc, clock, world } = machine()
    const before = hlc.now()
    clock.offsetMs = 2 * DAY_MS
    expect(hlc.now()).toBeGreaterThan(before + DAY_MS * 1000)
    clock.offsetMs = 0
    expect(hlc.now()).toBeLessThanOrEqual(world.nowMs() * 1000 + 2)
  })

  it('says the peers’ time while the own clock is off from it', () => {
    const { hlc, clock, hear, world } = machine()
    hear(0, 0)
    clock.offsetMs = 2 * DAY_MS
    expect(hlc.now()).toBeLessThanOrEqual(world.nowMs() * 1000 + 2)
  })
})
