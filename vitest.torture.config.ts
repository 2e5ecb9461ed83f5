import { defineConfig } from 'vitest/config'

/** Real processes under faults and load: `npm run torture`, see test/torture/torture.mjs. */
export default defineConfig({
  test: {
    include: ['test/torture/whole.ts'],
    testTimeout: 7_200_000,
    hookTimeout: 600_000,
    pool: 'forks',
    maxWorkers: 1,
    reporters: ['verbose'],
  },
})
