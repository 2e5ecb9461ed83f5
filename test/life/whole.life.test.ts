import { afterAll, beforeAll, expect, test } from 'vitest'
import { Life } from './kit/life.js'
import { SCENARIOS } from './scenarios.js'

/** One cluster goes through all of its life; each step is one of docs/cluster-life.md. */
let life: Life

beforeAll(async () => {
  life = await Life.begin()
})

afterAll(async () => {
  console.log(`\n${life.table()}\n`)
  await life?.end()
})

test.each(SCENARIOS)('$name', async ({ name, run }) => {
  const report = await life.step(name, () => run(life.cluster, life.client))
  expect(report.failures).toEqual([])
})

test('every object is found through every node, and nothing is left to do', async () => {
  const { verified, wrong } = await life.verify()
  console.log(`${verified} objects verified`)
  expect(wrong).toEqual([])
  expect(verified).toBe(life.client.size * life.cluster.running().length)
  await life.cluster.allDone()
})
