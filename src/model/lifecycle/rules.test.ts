import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  evaluate,
  expiryOf,
  isLocked,
  type LifecycleRule,
  shortCalendar,
  uploadDueMs,
  type VersionFacts,
  walksOf,
} from './rules.js'

const DAY = 24 * 3600_000
const CREATED = Date.UTC(2026, 0, 15, 10, 30)

const rule = (changes: Partial<LifecycleRule>): LifecycleRule => ({
  id: 'r',
  enabled: true,
  filter: {},
  form: 'filter',
  ...changes,
})
const object = (changes: Partial<VersionFacts> = {}): VersionFacts => ({
  key: 'logs/a',
  kind: 'object',
  size: 1000,
  tags: undefined,
  createdMs: CREATED,
  current: { hasNoncurrent: false },
  ...changes,
})
const days3 = { expiration: { days: 3 } }

describe('expiration of current versions', () => {
  test('days end at the midnight (UTC) after them', () => {
    const end = Date.UTC(2026, 0, 19)
    expect(expiryOf([rule(days3)], object())).toEqual({ atMs: end, ruleId: 'r' })
    expect(evaluate([rule(days3)], object(), end - 1)).toBeUndefined()
    expect(evaluate([rule(days3)], object(), end)).toEqual({ action: 'expire', ruleId: 'r' })
  })
  test('a date counts for versions of any age, from then on', () => {
    const rules = [rule({ expiration: { dateMs: CREATED - DAY } })]
    expect(evaluate(rules, object(), CREATED)?.action).toBe('expire')
    expect(evaluate(rules, object(), CREATED - DAY - 1)).toBeUndefined()
  })
  test('disabled rules do nothing', () => {
    expect(evaluate([rule({ ...days3, enabled: false })], object(), CREATED + 99 * DAY)).toBeUndefined()
  })
  test('the earliest of several rules is the one that is announced', () => {
    const rules = [
      rule({ id: 'late', expiration: { days: 9 } }),
      rule({ id: 'soon', expiration: { days: 2 } }),
    ]
    expect(expiryOf(rules, object())?.ruleId).toBe('soon')
  })
  test('short days are counted from the moment', () => {
    const calendar = shortCalendar(10_000)
    expect(evaluate([rule(days3)], object(), CREATED + 29_999, calendar)).toBeUndefined()
    expect(evaluate([rule(days3)], object(), CREATED + 30_000, calendar)?.action).toBe('expire')
  })
})

describe('filters', () => {
  const late = CREATED + 99 * DAY
  const fits = (filter: LifecycleRule['filter'], facts: Partial<VersionFacts>) =>
    evaluate([rule({ ...days3, filter })], object(facts), late) !== undefined
  test('prefixes, sizes (exclusive) and all of the tags', () => {
    expect(fits({ prefix: 'logs/' }, {})).toBe(true)
    expect(fits({ prefix: 'Logs/' }, {})).toBe(false)
    expect(fits({ sizeGreaterThan: 1000 }, {})).toBe(false)
    expect(fits({ sizeGreaterThan: 999, sizeLessThan: 1001 }, {})).toBe(true)
    expect(fits({ sizeLessThan: 1000 }, {})).toBe(false)
    const tags: [string, string][] = [
      ['a', '1'],
      ['b', '2'],
    ]
    expect(fits({ tags }, { tags: { a: '1', b: '2', c: '3' } })).toBe(true)
    expect(fits({ tags }, { tags: { a: '1' } })).toBe(false)
    expect(fits({ tags: [['constructor', 'x']] }, { tags: {} })).toBe(false)
  })
  test('more criteria never fit more versions', () => {
    const filter = fc.record(
      {
        prefix: fc.constantFrom('', 'l', 'logs/', 'x'),
        tags: fc.constantFrom<[string, string][]>([['a', '1']], [['b', '2']]),
        sizeGreaterThan: fc.nat(3000),
        sizeLessThan: fc.nat(3000),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(
        filter,
        fc.nat(3000),
        fc.constantFrom<Record<string, string>[]>({}, { a: '1' }, { a: '2' }),
        (full, size, tags) => {
          if (!fits(full, { size, tags })) return
          for (const name of Object.keys(full)) {
            const { [name as 'prefix']: _, ...fewer } = full
            expect(fits(fewer, { size, tags })).toBe(true)
          }
        },
      ),
    )
  })
})

describe('delete markers', () => {
  const marker = (hasNoncurrent: boolean) => object({ kind: 'marker', size: 0, current: { hasNoncurrent } })
  test('go once they hide nothing, by the flag at once and by days when these are over', () => {
    const flag = [rule({ expiration: { expiredDeleteMarker: true } })]
    expect(evaluate(flag, marker(false), CREATED)).toEqual({ action: 'delete', ruleId: 'r' })
    expect(evaluate(flag, marker(true), CREATED + 99 * DAY)).toBeUndefined()
    expect(evaluate([rule(days3)], marker(false), CREATED + DAY)).toBeUndefined()
    expect(evaluate([rule(days3)], marker(false), CREATED + 5 * DAY)?.action).toBe('delete')
    expect(evaluate([rule(days3)], marker(true), CREATED + 5 * DAY)).toBeUndefined()
  })
  test('do not expire objects, and rules by tags or sizes are not about them', () => {
    const flag = rule({ expiration: { expiredDeleteMarker: true } })
    expect(evaluate([flag], object(), CREATED + 99 * DAY)).toBeUndefined()
    const tagged = rule({ ...days3, filter: { tags: [['a', '1']] } })
    expect(evaluate([tagged], marker(false), CREATED + 99 * DAY)).toBeUndefined()
    const sized = rule({ ...days3, filter: { sizeLessThan: 5 } })
    expect(evaluate([sized], marker(false), CREATED + 99 * DAY)).toBeUndefined()
  })
})

describe('noncurrent versions', () => {
  const old = (newerVersions: number) => object({ noncurrent: { sinceMs: CREATED, newerVersions } })
  test('go some days after they became that, however old they are', () => {
    const rules = [rule({ noncurrent: { days: 2 } })]
    const version = { ...old(0), createdMs: CREATED - 99 * DAY }
    expect(evaluate(rules, version, CREATED + 2 * DAY)).toBeUndefined()
    expect(evaluate(rules, version, CREATED + 3 * DAY)).toEqual({ action: 'delete', ruleId: 'r' })
  })
  test('the newest ones stay if the rule says so', () => {
    const rules = [rule({ noncurrent: { days: 1, newerVersions: 2 } })]
    const later = CREATED + 9 * DAY
    expect([0, 1, 2, 3].map((n) => evaluate(rules, old(n), later)?.action)).toEqual([
      undefined,
      undefined,
      'delete',
      'delete',
    ])
  })
  test('rules on current versions do not concern them, nor the other way round', () => {
    expect(evaluate([rule(days3)], old(5), CREATED + 99 * DAY)).toBeUndefined()
    expect(evaluate([rule({ noncurrent: { days: 1 } })], object(), CREATED + 99 * DAY)).toBeUndefined()
  })
})

test('once due, a version stays due', () => {
  const rules = fc.array(
    fc.record({
      enabled: fc.boolean(),
      days: fc.integer({ min: 1, max: 20 }),
      newer: fc.integer({ min: 0, max: 3 }),
      marker: fc.boolean(),
    }),
  )
  fc.assert(
    fc.property(
      rules,
      fc.nat(30),
      fc.nat(30),
      fc.nat(4),
      fc.integer({ min: 0, max: 2 }),
      (list, a, b, n, what) => {
        const made = list.map(({ enabled, days, newer, marker }, i) =>
          rule({
            id: `${i}`,
            enabled,
            expiration: marker ? { expiredDeleteMarker: true } : { days },
            noncurrent: { days, newerVersions: newer },
          }),
        )
        const version =
          what === 0
            ? object()
            : what === 1
              ? object({ kind: 'marker' })
              : object({ noncurrent: { sinceMs: CREATED, newerVersions: n } })
        const [soon, late] = [Math.min(a, b), Math.max(a, b)].map((day) => CREATED + day * DAY) as [
          number,
          number,
        ]
        if (evaluate(made, version, soon)) expect(evaluate(made, version, late)).toBeDefined()
      },
    ),
  )
})

test('uploads end after days, by prefix', () => {
  const rules = [rule({ filter: { prefix: 'logs/' }, abortUploadDays: 2 })]
  expect(uploadDueMs(rules, { key: 'logs/a', startedMs: CREATED })).toBe(Date.UTC(2026, 0, 18))
  expect(uploadDueMs(rules, { key: 'other', startedMs: CREATED })).toBeUndefined()
})

test('only the walks that some enabled rule needs are made', () => {
  expect(walksOf([rule({ ...days3, enabled: false }), rule({ abortUploadDays: 1 })])).toEqual({
    current: false,
    noncurrent: false,
    uploads: true,
  })
})

test('locks: legal hold always, retention until its time', () => {
  expect(isLocked({}, CREATED)).toBe(false)
  expect(isLocked({ legalHold: [1, true] }, CREATED)).toBe(true)
  expect(isLocked({ legalHold: [1, false], retention: [1, null] }, CREATED)).toBe(false)
  expect(isLocked({ retention: [1, { untilMs: CREATED + 1 }] }, CREATED)).toBe(true)
  expect(isLocked({ retention: [1, { untilMs: CREATED }] }, CREATED)).toBe(false)
})
