/**
 * The fuzzers against server processes: `npm run fuzz -- --help`. The exit status is 0 only if all answers were expected, no
 * error was logged, and no turn of the event loop was longer than told.
 */
import { parseArgs } from 'node:util'
import { formatTable } from '../../src/cluster/layout/report.js'
import { FuzzCluster, type Resources } from './fuzz-cluster.js'
import { type FuzzResult, fuzz, fuzzersOf } from './fuzz-run.js'

const USAGE = `Usage: npm run fuzz -- [options]

Sends odd requests to all ports (S3, K2V, web, admin, RPC) of nodes in processes of their own, side by side.

  --minutes N      how long (default 1)
  --seed S         the first seed (default: random); each problem tells the seed that repeats its requests
  --ports a,b      only these ports (default: all)
  --nodes N        nodes of the cluster (default 3)
  --turn-max MS    the longest turn that is no failure, in processor time (default 50)
  --profile        shows what ran in turns longer than that

SIGINT (Ctrl-C) and SIGTERM end a run early, with the figures until then.
`

function table({ ports, nodes, logged, ranMs }: FuzzResult): string {
  const count = (n: number | undefined) => String(n ?? 0)
  const number = (n: number | undefined) => (n === undefined ? '?' : n.toFixed())
  const mib = ({ rssMib }: Resources) => number(rssMib)
  return [
    ...formatTable([
      ['Port', 'Requests', '2xx', '3xx', '4xx', '501', 'Closed', 'Unexpected'],
      ...[...ports].map(([name, { requests, statuses, unexpected }]) => [
        name,
        String(requests),
        ...[2, 3, 4, 5, 0].map((kind) => count(statuses.get(kind))),
        String(unexpected),
      ]),
    ]),
    '',
    ...formatTable([
      [
        'Node',
        'MiB at start',
        'at most',
        'at end',
        'Descriptors at start',
        'at end',
        'Database, MiB',
        'Longest turn, processor',
        'on the clock',
      ],
      ...nodes.map(({ start, end, mostMib, wallMs, cpuMs }, i) => [
        String(i + 1),
        ...[mib(start), number(mostMib), mib(end), number(start.descriptors), number(end.descriptors)],
        number(end.databaseMib),
        ...[`${cpuMs.toFixed()} ms`, `${wallMs.toFixed()} ms`],
      ]),
    ]),
    '',
    `${(ranMs / 60_000).toFixed(1)} min; lines in logs that sound nodes do not write: ${logged}`,
  ].join('\n')
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string' },
      ports: { type: 'string' },
      nodes: { type: 'string', default: '3' },
      'turn-max': { type: 'string', default: '50' },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void process.stdout.write(USAGE)
  const turnMsMax = Number(values['turn-max'])
  const minutes = Number(values.minutes)
  const nodes = Number(values.nodes)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
  if (![turnMsMax, minutes, nodes, seed].every(Number.isFinite) || nodes < 1) throw new Error(USAGE)
  const cluster = await FuzzCluster.start(nodes, values.profile ? { profileMs: turnMsMax } : {})
  const end = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Once: a second signal ends the process at once, and the nodes with it.
    process.once(signal, () => {
      process.stdout.write('interrupted: the figures so far follow\n')
      process.exitCode = 1
      end.abort()
    })
  }
  try {
    const all = await fuzzersOf(cluster)
    const wanted = values.ports?.split(',')
    const chosen = wanted ? all.filter(({ name }) => wanted.includes(name)) : all
    process.stdout.write(`seed ${seed}, ${minutes} min, ports ${chosen.map(({ name }) => name).join(', ')}\n`)
    const result = await fuzz(cluster, chosen, { seed, durationMs: minutes * 60_000, end: end.signal })
    for (const problem of result.problems) process.stdout.write(`\n${problem}\n`)
    for (const profile of result.profiles.slice(0, 20)) process.stdout.write(`\nturn of ${profile}\n`)
    process.stdout.write(`\n${table(result)}\n`)
    const isLong = result.nodes.some(({ cpuMs }) => cpuMs > turnMsMax)
    if (isLong) process.stdout.write(`\nA turn was longer than ${turnMsMax} ms: --profile shows what ran.\n`)
    if (result.problems.length > 0 || isLong) process.exitCode = 1
  } finally {
    await cluster.dispose()
  }
}

await main()
