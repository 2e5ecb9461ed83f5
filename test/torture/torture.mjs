// `npm run torture -- [SCENARIO ...] [--seconds N] [--seed S] [--earlier DIR]`: real processes under faults and load; all scenarios unless told.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    earlier: { type: 'string' },
  },
  allowPositionals: true,
})
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
const { status } = spawnSync(process.execPath, [vitest, 'run', '--config', 'vitest.torture.config.ts'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    TORTURE_SCENARIOS: positionals.join(','),
    TORTURE_SECONDS: values.seconds,
    TORTURE_SEED: values.seed,
    ...(values.earlier && { TORTURE_EARLIER: values.earlier }),
  },
})
process.exit(status ?? 1)
