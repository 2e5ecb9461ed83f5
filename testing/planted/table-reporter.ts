import type { Reporter, TestCase, TestModule } from 'vitest/node'

/** What came of one hunt. */
export interface Hunt {
  /** Name of the bug; 'none' is the control. */
  bug: string
  breaks: string
  seeds: number
  /** Time of the processor, in seconds. */
  seconds: number
  /** The kind of run that caught it, and what its checker said. */
  caughtBy?: { kind: string; problem: string }
}

declare module 'vitest' {
  interface TaskMeta {
    hunt?: Hunt
  }
}

const CONTROL = 'none'

/** Tells of each hunt as it ends, and of all of them in a table (Markdown) in the end. */
export class TableReporter implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const { hunt } = test.meta()
    if (hunt) process.stdout.write(`${rowOf(hunt)}\n`)
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const hunts = modules.flatMap((module) =>
      [...module.children.allTests()].flatMap((test) => test.meta().hunt ?? []),
    )
    if (hunts.length > 0) process.stdout.write(`\n${tableOf(hunts)}\n`)
  }
}

/** The hunts as a table, those that failed at the end. */
export function tableOf(hunts: readonly Hunt[]): string {
  const sorted = [...hunts].sort(
    (a, b) => Number(hasFailed(a)) - Number(hasFailed(b)) || a.seconds - b.seconds,
  )
  const bugs = hunts.filter(({ bug }) => bug !== CONTROL)
  const caught = bugs.filter(({ caughtBy }) => caughtBy).length
  return [
    '| Bug | Promise that it breaks | Seeds | Seconds | Caught |',
    '|---|---|---|---|---|',
    ...sorted.map(rowOf),
    '',
    `${caught} of ${bugs.length} bugs were caught`,
  ].join('\n')
}

function hasFailed({ bug, caughtBy }: Hunt): boolean {
  return (bug === CONTROL) === (caughtBy !== undefined)
}

function rowOf(hunt: Hunt): string {
  const { bug, breaks, seeds, seconds, caughtBy } = hunt
  const outcome = caughtBy ? `${caughtBy.kind}: ${shortened(caughtBy.problem)}` : 'nothing found'
  const told = hasFailed(hunt) ? `**${bug === CONTROL ? outcome : 'escaped'}**` : outcome
  return `| ${bug} | ${breaks} | ${seeds} | ${seconds.toFixed(0)} | ${told} |`
}

/** The first line of what a checker said, without what differs from run to run. */
function shortened(problem: string): string {
  const line = problem.split('\n')[0]!.replaceAll('|', '/')
  return line.length > 100 ? `${line.slice(0, 99)}…` : line
}
