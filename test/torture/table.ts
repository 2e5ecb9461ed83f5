import { formatTable } from '../../src/cluster/layout/report.js'
import type { TortureReport } from './torture.js'

/**
 * The reports as a table, with three numbers where each third of the run has its own, and below it what failed at nodes to which
 * nothing was done.
 */
export function tableOf(reports: readonly TortureReport[]): string {
  const seconds = (ms: number | undefined) => (ms === undefined ? '-' : `${(ms / 1000).toFixed(1)} s`)
  const rows = reports.map((report) => [
    report.name,
    `${report.seconds.toFixed()} s`,
    String(report.requests),
    String(report.violations.length),
    String(report.refused),
    String(report.broken),
    String([...report.unexpected.values()].reduce((all, count) => all + count, 0)),
    seconds(report.longestGapMs),
    seconds(report.recoveryMs),
    seconds(report.settledMs),
    report.memoryMiB.map((mib) => mib.toFixed()).join(' '),
    report.descriptors.join(' '),
    report.latencies.map(({ p50, p99 }) => `${p50.toFixed()}/${p99.toFixed()}`).join(' '),
  ])
  const header = [
    ...['Scenario', 'Lasted', 'Requests', 'Violations', 'Refused', 'Broken'],
    ...[
      'of these elsewhere',
      'Longest gap there',
      'Recovered',
      'Settled',
      'MiB',
      'Descriptors',
      'p50/p99 ms',
    ],
  ]
  const notes = reports.flatMap(({ name, unexpected, notes }) => [
    ...notes.map((note) => `${name}: ${note}`),
    ...[...unexpected].map(
      ([what, count]) => `${name}, at a node to which nothing was done: ${count} × ${what}`,
    ),
  ])
  return [...formatTable([header, ...rows]), ...(notes.length > 0 ? ['', ...notes] : [])].join('\n')
}
