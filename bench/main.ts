import { accessSync, constants, existsSync, writeFileSync } from 'node:fs'
import { checkAccess } from './buckets.js'
import { Context } from './context.js'
import { collectFacts } from './facts.js'
import { LoadGenerator } from './load/generator.js'
import { type Options, parseOptions, USAGE, UsageError, type WorkloadName } from './options.js'
import { withChildren } from './proc.js'
import { report } from './report.js'
import { carport } from './stores/carport.js'
import { peersIn } from './stores/peers.js'
import type { Contender } from './stores/store.js'
import { geo } from './workloads/geo.js'
import { growth } from './workloads/growth.js'
import { large } from './workloads/large.js'
import { list } from './workloads/list.js'
import { resources } from './workloads/resources.js'
import { small } from './workloads/small.js'

const WORKLOADS: Record<WorkloadName, (context: Context) => Promise<void>> = {
  ...{ small, large, list, geo, resources, growth },
}

/** The stores in the order in which they are measured; the first is what ratios refer to. */
function contendersOf(options: Options): Contender[] {
  const { own, unsynced, endpoints, peersDir } = options
  const external = endpoints.map(
    ({ name, target, pids }): Contender => ({
      name,
      start: async () => ({ name, target, pids: () => withChildren(pids), stop: async () => {} }),
    }),
  )
  return [
    ...(own ? [carport('carport', true)] : []),
    ...(unsynced ? [carport('carport-nofsync', false)] : []),
    ...external,
    ...(peersDir === undefined ? [] : peersIn(peersDir)),
  ]
}

async function bench(options: Options): Promise<void> {
  const contenders = contendersOf(options)
  for (const { name, target, pids } of options.endpoints) {
    await checkAccess(name, target)
    for (const pid of pids) {
      if (!existsSync(`/proc/${pid}`)) throw new UsageError(`--endpoint ${name}: there is no process ${pid}`)
    }
  }
  const facts = collectFacts(options.dir)
  const generator = new LoadGenerator()
  const context = new Context(options, contenders, generator, (line) => process.stderr.write(`${line}\n`))
  const write = () => {
    if (options.json === undefined) return
    writeFileSync(
      options.json,
      `${JSON.stringify({ facts, options: shown(options), results: context.results }, null, 2)}\n`,
    )
  }
  const stop = () => {
    generator.stop()
    context.dispose()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // The results so far took long to measure: write them.
      write()
      process.stdout.write(report(facts, context.results))
      stop()
      process.exit(1)
    })
  }
  try {
    for (const name of options.workloads) {
      try {
        await WORKLOADS[name](context)
      } catch (error) {
        // A failed workload does not make the others' figures worthless: go on.
        process.exitCode = 1
        process.stderr.write(`bench: ${name}: ${messageOf(error)}\n`)
      }
      write()
    }
    process.stdout.write(report(facts, context.results))
  } finally {
    stop()
  }
}

/** The options that a reader of the results must know, without secrets. */
function shown({ seconds, rounds, quick, requests, fillMax, match, workloads }: Options) {
  return { seconds, rounds, quick, requests, fillMax, match, workloads }
}

function checkPlaces({ dir, json }: Options): void {
  for (const [name, place] of [
    ['--dir', dir],
    ['--json', json && (json.includes('/') ? json.slice(0, json.lastIndexOf('/')) || '/' : '.')],
  ]) {
    if (place === undefined || place === '') continue
    try {
      accessSync(place, constants.W_OK)
    } catch {
      throw new UsageError(`${name}: cannot write to ${place}`)
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(`${USAGE}\n`)
  else {
    checkPlaces(options)
    await bench(options)
  }
} catch (error) {
  process.exitCode = 1
  process.stderr.write(`bench: ${messageOf(error)}\n`)
}
