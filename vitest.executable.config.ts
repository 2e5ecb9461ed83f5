import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

const executable =
  process.env.CARPORT_TEST_EXECUTABLE ?? `dist/executable/carport-${process.platform}-${process.arch}`

/** The end-to-end tests that start the program as a process, on the program in one file that `npm run package` made. */
export default defineConfig({
  test: {
    include: [
      'test/executable.test.ts',
      'test/cluster.test.ts',
      'test/contention.test.ts',
      'test/file-modes.test.ts',
      'test/honest-nodes.test.ts',
      'test/memory.test.ts',
      'test/overload.test.ts',
      'test/rot.test.ts',
    ],
    env: { CARPORT_TEST_EXECUTABLE: resolve(executable) },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
})
