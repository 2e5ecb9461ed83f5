import { describe, expect, test } from 'vitest'
import { defaultRetention, lockGuard, lockState, mayReplaceRetention, type Retention } from './lock.js'
import type { Mutable, VersionRecord } from './record.js'

const NOW = Date.UTC(2026, 1, 28, 12)
const DAY = 86_400_000
const clock = (doubt?: string) => ({ nowMs: () => NOW, doubt: () => doubt })
const withLock = (mutable: Mutable) => ({ mutable }) as VersionRecord
const retained = (mode: Retention['mode'], untilMs: number) => withLock({ retention: [1, { mode, untilMs }] })

describe('state of a version', () => {
  test('retention ends at its time, a legal hold when it is taken off', () => {
    expect(lockState(withLock({}), NOW)).toBe('free')
    expect(lockState(retained('GOVERNANCE', NOW + 1), NOW)).toBe('governance')
    expect(lockState(retained('COMPLIANCE', NOW + 1), NOW)).toBe('compliance')
    expect(lockState(retained('COMPLIANCE', NOW), NOW)).toBe('free')
    expect(lockState(withLock({ retention: [2, null] }), NOW)).toBe('free')
    expect(lockState(withLock({ legalHold: [1, true] }), NOW)).toBe('legal-hold')
    expect(lockState(withLock({ legalHold: [1, false] }), NOW)).toBe('free')
  })

  test('bypassing counts for governance alone', () => {
    const guard = (bypass: boolean) =>
      lockGuard(clock(), { bypass, announces: true, refuse: (state) => new Error(state) })
    expect(() => guard(false).check(retained('GOVERNANCE', NOW + 1))).toThrow('governance')
    expect(() => guard(true).check(retained('GOVERNANCE', NOW + 1))).not.toThrow()
    expect(() => guard(true).check(retained('COMPLIANCE', NOW + 1))).toThrow('compliance')
    expect(() => guard(true).check(withLock({ legalHold: [1, true] }))).toThrow('legal-hold')
  })

  test('no retention ends while the clock is in doubt', () => {
    const options = { bypass: false, announces: true, refuse: (state: string) => new Error(state) }
    const past = retained('COMPLIANCE', NOW - DAY)
    expect(() => lockGuard(clock(), options).check(past)).not.toThrow()
    expect(() => lockGuard(clock('it is wrong'), options).check(past)).toThrow('compliance')
    expect(() => lockGuard(clock('it is wrong'), options).check(withLock({}))).not.toThrow()
  })
})

test('default retention counts calendar days and years from when the version is made', () => {
  expect(defaultRetention(undefined, NOW)).toBeUndefined()
  expect(defaultRetention({}, NOW)).toBeUndefined()
  expect(defaultRetention({ mode: 'GOVERNANCE', days: 2 }, NOW)).toEqual({
    mode: 'GOVERNANCE',
    untilMs: Date.UTC(2026, 2, 2, 12),
  })
  expect(defaultRetention({ mode: 'COMPLIANCE', years: 2 }, NOW)?.untilMs).toBe(Date.UTC(2028, 1, 28, 12))
})

describe('replacing a retention', () => {
  const next = (mode: Retention['mode'], days: number): Retention => ({ mode, untilMs: NOW + days * DAY })
  const may = (current: Retention | undefined, then: Retention | null, bypass = false) =>
    mayReplaceRetention(current, then, { nowMs: NOW, bypass })

  test('is free where there is none, or it has ended', () => {
    expect(may(undefined, next('COMPLIANCE', 1))).toBe(true)
    expect(may(next('COMPLIANCE', -1), null)).toBe(true)
  })

  test('by a longer one of the same mode is always allowed', () => {
    expect(may(next('GOVERNANCE', 1), next('GOVERNANCE', 2))).toBe(true)
    expect(may(next('COMPLIANCE', 1), next('COMPLIANCE', 1))).toBe(true)
  })

  test('in governance mode, anything else needs the bypass', () => {
    for (const then of [next('GOVERNANCE', 1), next('COMPLIANCE', 3), null]) {
      expect(may(next('GOVERNANCE', 2), then)).toBe(false)
      expect(may(next('GOVERNANCE', 2), then, true)).toBe(true)
    }
  })

  test('in compliance mode, nothing helps', () => {
    for (const then of [next('COMPLIANCE', 1), next('GOVERNANCE', 3), null]) {
      expect(may(next('COMPLIANCE', 2), then, true)).toBe(false)
    }
  })
})
