import { defineConfig } from 'vitest/config'
import { PLANTED_BUGS } from './testing/planted/bugs.js'
import { plant } from './testing/planted/planted-bug.js'
import { TableReporter } from './testing/planted/table-reporter.js'

/**
 * `npm run planted`: each planted bug is a project of its own, whose modules have that bug; `-- --project 'dropped*'` runs
 * some of them. The project "none" has no bug.
 */
export default defineConfig({
  test: {
    maxWorkers: Number(process.env.WORKERS ?? 2),
    reporters: ['default', new TableReporter()],
    projects: [undefined, ...PLANTED_BUGS].map((bug) => ({
      plugins: bug ? [plant(bug)] : [],
      test: {
        name: bug?.name ?? 'none',
        include: ['testing/planted/hunt.ts'],
        pool: 'forks' as const,
        env: bug ? { PLANTED: bug.name } : {},
      },
    })),
  },
})
