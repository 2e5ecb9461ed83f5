import { defineConfig } from 'vitest/config'

/** The long runs of the simulated cluster: `npm run sim`, see testing/sim.mjs. */
export default defineConfig({
  test: {
    include: ['testing/**/*.sim.test.ts'],
    disableConsoleIntercept: true,
    pool: 'forks',
    maxWorkers: 1,
    reporters: ['verbose'],
  },
})
