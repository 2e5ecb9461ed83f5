import { expect, test } from 'vitest'
import type { Clock } from '../util/clock.js'
import { RepeatedLog } from '../util/repeated-log.js'
import { Admission, addressOf } from './admission.js'

/** Time that a test sets, with the timers that were asked for. */
class SetClock implements Clock {
  ms = 0
  readonly timers: (() => void)[] = []

  nowMs = () => this.ms
  monotonicMs = () => this.ms
  after(_delayMs: number, fn: () => void) {
    this.timers.push(fn)
    return { cancel: () => {} }
  }
}

function admitted(admission: Admission, host: string, tries: number): number {
  let count = 0
  for (let i = 0; i < tries; i++) if (admission.admits(host)) count++
  return count
}

test('an address has a share that comes back with time', () => {
  const clock = new SetClock()
  const admission = new Admission(clock)
  expect(admitted(admission, '192.0.2.1', 1000)).toBe(64)
  expect(admitted(admission, '192.0.2.2', 10)).toBe(10)
  clock.ms += 1000
  expect(admitted(admission, '192.0.2.1', 1000)).toBe(10)
})

test('many addresses together leave the addresses of peers their own share', () => {
  const clock = new SetClock()
  const admission = new Admission(clock)
  let strangers = 0
  for (let i = 0; i < 5000; i++) strangers += admitted(admission, `10.0.${i >> 8}.${i & 255}`, 2)
  expect(strangers).toBe(256)
  admission.know('10.1.0.1')
  expect(admitted(admission, '10.1.0.1', 50)).toBe(50)
  expect(admitted(admission, '10.1.0.1', 1000)).toBeLessThanOrEqual(256)
})

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:1:2::6', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (host, address) => {
  expect(addressOf(host)).toBe(address)
})

test('a flood of dropped connections is a handful of lines', () => {
  const clock = new SetClock()
  const lines: [object, string][] = []
  const log = { debug() {}, info() {}, error() {}, warn: (f: object, m: string) => void lines.push([f, m]) }
  const drops = new RepeatedLog(clock, { ...log, child: () => drops as never }, 'many dropped')
  const drop = (host: string, port: number) => drops.add({ host, reason: 'no TLS' }, { port }, 'dropped')
  for (let i = 0; i < 10_000; i++) drop('192.0.2.1', i)
  for (let i = 0; i < 1000; i++) drop(`10.0.${i >> 8}.${i & 255}`, 1)
  expect(lines).toHaveLength(32)
  for (const fire of clock.timers.splice(0)) fire()
  expect(lines).toHaveLength(33)
  expect(lines.at(-1)![0]).toMatchObject({ count: 9_999 + 969, host: '192.0.2.1', reason: 'no TLS' })
})
