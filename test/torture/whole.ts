import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { EarlierRelease } from './earlier.js'
import { SCENARIOS } from './scenarios.js'
import { tableOf } from './table.js'
import { Torture, type TortureReport } from './torture.js'

const wanted = process.env.TORTURE_SCENARIOS?.split(',').filter((name) => name !== '') ?? []
const seconds = Number(process.env.TORTURE_SECONDS ?? 60)
const seed = Number(process.env.TORTURE_SEED ?? 1)
const unknown = wanted.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name))
if (unknown.length > 0 || !(seconds > 0) || !Number.isSafeInteger(seed)) {
  const list = SCENARIOS.map(({ name, what }) => `  ${name.padEnd(10)}${what}`).join('\n')
  throw new Error(
    `Usage: npm run torture -- [SCENARIO ...] [--seconds N] [--seed S] [--earlier DIR]\nnot known: ${unknown.join(', ')}\n${list}`,
  )
}

const reports: TortureReport[] = []
afterAll(() => console.log(`\n${tableOf(reports)}\n`))

const chosen = SCENARIOS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
for (const scenario of chosen)
  test(`${scenario.name}: ${scenario.what}`, async ({ skip }) => {
    const { name, hasDisks = false, graceSeconds, settings, startsEarlier } = scenario
    const dir = mkdtempSync(join(tmpdir(), 'carport-torture-'))
    const reason = scenario.missing?.(dir)
    rmSync(dir, { recursive: true })
    if (reason) skip(reason)
    const torture = await Torture.begin(seed, {
      hasDisks,
      graceSeconds,
      settings,
      earlier: startsEarlier ? new EarlierRelease() : undefined,
    })
    try {
      const report = await torture.run(name, () => scenario.run(torture, seconds))
      reports.push(report)
      expect(report.violations).toEqual([])
    } finally {
      await torture.end()
    }
  })
