import { expect, test } from 'vitest'
import { textSteps } from '../../testing/text-steps.js'
import type { RoutingRule, WebsiteDocument } from '../model/buckets/documents.js'
import { routeOf, routeOfError, type SiteTarget } from './routing.js'

/** The most rules of a site, and the longest prefix and path. */
const RULES = 1000
const LONG = 1024
const PATH_LONG = 8000

const target = (path: string): SiteTarget => ({
  ...{ path, rawPath: `/${path}`, rawQuery: '', authority: 'a', secure: true },
})
const rules = (condition: (i: number) => RoutingRule['condition']): WebsiteDocument => ({
  indexDocument: 'i'.repeat(LONG),
  routingRules: Array.from({ length: RULES }, (_, i) => {
    const rule = condition(i)
    return { ...(rule && { condition: rule }), redirect: { replaceKeyPrefixWith: 'r'.repeat(LONG) } }
  }),
})
/** Each rule may look at as much of the path as its prefix is long, twice: at the path, and at its index document's key. */
const STEPS_MAX = RULES * 2 * (LONG + 2) + 10 * (PATH_LONG + LONG)

test('routing rules take steps linear in their prefixes, however long the path is', () => {
  const near = 'a'.repeat(LONG - 5)
  const website = rules((i) => ({ keyPrefixEquals: `${near}b${i}`.slice(0, LONG) }))
  const steps = textSteps(() => routeOf(website, target('a'.repeat(PATH_LONG))))
  expect(steps).toBeGreaterThan(RULES)
  expect(steps).toBeLessThanOrEqual(STEPS_MAX)
  const folder = textSteps(() => routeOf(website, target(`${'a/'.repeat(PATH_LONG / 2)}`)))
  expect(folder).toBeLessThanOrEqual(STEPS_MAX)
})

test('so do rules for errors; those for other errors take none', () => {
  const website = rules((i) => ({
    keyPrefixEquals: `${'a'.repeat(LONG - 5)}b`,
    httpErrorCodeReturnedEquals: i % 2 === 0 ? 404 : 403,
  }))
  const path = target('a'.repeat(PATH_LONG))
  expect(textSteps(() => routeOfError(website, path, 404))).toBeLessThanOrEqual(STEPS_MAX / 2)
  expect(textSteps(() => routeOfError(website, path, 500))).toBe(0)
})

test('the rule that fits last costs one replacement', () => {
  const website = rules((i) => (i === RULES - 1 ? undefined : { keyPrefixEquals: `b${i}` }))
  const route = () => routeOf(website, target('a'.repeat(PATH_LONG)))
  expect(route()).toMatchObject({ kind: 'redirect', status: 302 })
  expect(textSteps(route)).toBeLessThanOrEqual(STEPS_MAX)
})
