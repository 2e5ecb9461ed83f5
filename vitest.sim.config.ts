import { defineConfig } from 'vitest/config'

/** The long runs of the simulated cluster: `npm run sim`. */
export default defineConfig({
  test: {
    include: ['testing/**/*.sim.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    reporters: ['verbose'],
  },
})
