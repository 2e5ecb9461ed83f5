import type { Facts } from './facts.js'
import type { LatencyResult, LoadResult, Result, Skipped, ValueResult } from './results.js'
import { GIB, MIB } from './sizes.js'

type Row = readonly string[]

/** The results as Markdown tables, one per workload, under the machine's facts. */
export function report(facts: Facts, results: readonly Result[]): string {
  const sections = [factsText(facts)]
  for (const workload of new Set(results.map((result) => result.workload))) {
    const own = results.filter((result) => result.workload === workload)
    const of = <K extends Result['kind']>(kind: K) =>
      own.filter((result): result is Extract<Result, { kind: K }> => result.kind === kind)
    sections.push(
      `## ${workload}`,
      ...loadTable(of('load')),
      ...latencyTable(of('latency')),
      ...valueTable(of('value')),
      ...errors(own),
      ...of('skipped').map(skippedText),
    )
  }
  return `${sections.join('\n\n')}\n`
}

function factsText(facts: Facts): string {
  const { date, cpu, cores, memoryBytes, node, kernel, loadAverage, fsyncMs } = facts
  return [
    `${date}: ${cpu}, ${cores} cores, ${(memoryBytes / GIB).toFixed(1)} GiB, ${kernel}, Node ${node};`,
    `fdatasync of 4 KiB ${fsyncMs.p50.toFixed(2)} ms (p99 ${fsyncMs.p99.toFixed(2)});`,
    `load average at the start ${loadAverage.toFixed(1)}`,
  ].join(' ')
}

function loadTable(results: readonly LoadResult[]): string[] {
  return table(
    [
      ...['cell', 'store', 'per s', 'p50 ms', 'p99 ms', 'MiB/s', 'CPU µs', 'RSS MiB (anon + file)'],
      ...['first/this: rate', 'CPU', 'errors'],
    ],
    results.map((r) => [
      ...[
        r.cell,
        r.store,
        number(r.rate),
        number(r.p50),
        number(r.p99),
        number(r.mibPerSecond),
        number(r.cpuUs),
      ],
      r.memory ? `${mib(r.memory.rss)} (${mib(r.memory.anon)} + ${mib(r.memory.file)})` : '-',
      ...[number(r.firstToThis?.rate), number(r.firstToThis?.cpu), r.errors > 0 ? `${r.errors}` : ''],
    ]),
  )
}

function latencyTable(results: readonly LatencyResult[]): string[] {
  return table(
    ['cell (nodes/zones)', 'store', 'p50 ms', 'p99 ms', 'round trips', 'requests', 'errors'],
    results.map((r) => [
      ...[r.cell, r.store, number(r.p50), number(r.p99), r.roundTrips?.toFixed(2) ?? '-', `${r.requests}`],
      r.errors > 0 ? `${r.errors}` : '',
    ]),
  )
}

function valueTable(results: readonly ValueResult[]): string[] {
  const text = ({ value, unit }: ValueResult) =>
    unit === 'bytes' ? `${mib(value)} MiB` : unit === 'ratio' ? value.toFixed(2) : `${number(value)} ${unit}`
  return table(
    ['figure', 'store', 'value'],
    results.map((r) => [r.cell, r.store, text(r)]),
  )
}

function errors(results: readonly Result[]): string[] {
  return results.flatMap((r) =>
    'error' in r && r.error !== undefined
      ? [`${r.cell}, ${r.store}: ${r.errors} failed, the first: ${r.error}`]
      : [],
  )
}

function skippedText({ cell, store, reason }: Skipped): string {
  return `${cell}, ${store}: not measured: ${reason}`
}

function table(head: Row, rows: readonly Row[]): string[] {
  if (rows.length === 0) return []
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: Row) =>
    `| ${cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  const rule = `| ${widths.map((width, i) => (i < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [[line(head), rule, ...rows.map(line)].join('\n')]
}

/** Formats a number with three significant digits. */
function number(value: number | undefined): string {
  if (value === undefined) return '-'
  if (value >= 100) return Math.round(value).toString()
  return value.toFixed(value >= 10 ? 1 : 2)
}

function mib(bytes: number): string {
  return Math.round(bytes / MIB).toString()
}
