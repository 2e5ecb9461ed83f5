import { defineConfig } from 'vitest/config'

/** The whole life of a cluster on real processes: `npm run life`. */
export default defineConfig({
  test: {
    include: ['test/life/**/*.life.test.ts'],
    testTimeout: 3_600_000,
    hookTimeout: 600_000,
    pool: 'forks',
    maxWorkers: 1,
    reporters: ['verbose'],
  },
})
