import { afterAll, beforeAll, expect, test } from 'vitest'
import { SCENARIOS } from './scenarios.js'
import { Torture } from './torture.js'

// A short part of `npm run torture`: each of these does its work once, on one cluster, and all that clients saw is judged.

let torture: Torture
beforeAll(async () => {
  torture = await Torture.begin(1)
}, 120_000)
afterAll(() => torture?.end())

test('nothing is lost and nothing is wrong when nodes are killed, cut off and go by wrong clocks', async () => {
  const acts = SCENARIOS.filter(({ name }) => ['kill', 'cut', 'one-way', 'clocks'].includes(name))
  const report = await torture.run('all', async () => {
    for (const { run } of acts) await run(torture, 1)
  })
  expect(report.violations).toEqual([])
  expect(report.requests).toBeGreaterThan(200)
}, 240_000)
