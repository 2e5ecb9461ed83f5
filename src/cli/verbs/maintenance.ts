import type { Command } from 'commander'
import { argument, type Context, group, leaf, printOutput, wholeNumber } from '../command-line.js'
import * as cluster from '../commands/cluster.js'
import * as maintenance from '../commands/maintenance.js'
import { type RepairOptions, repair, SCRUB_COMMANDS, watchWork } from '../commands/repair.js'
import { restore } from '../commands/restore.js'
import { nodeSelector } from '../lookup.js'
import { REPAIRS } from '../progress/tasks.js'

/** `stats`, `repair`, `worker`, `block` and `meta`. */
export function registerMaintenanceVerbs(program: Command, context: Context): void {
  const allNodes: [string, string] = ['-a, --all-nodes', 'on all nodes']
  type All = { allNodes?: boolean }
  leaf(program, 'stats', 'show figures of a node and the cluster', [allNodes]).action(
    context.remote<[All]>((admin, options) => cluster.stats(admin, nodeSelector(options.allNodes))),
  )
  leaf(program, 'repair', 'start a repair of stored data', [
    allNodes,
    ['--yes', 'confirm'],
    ['--wait', 'wait for its end, as on a terminal, and show how far it is'],
    ['--no-wait', 'do not wait, also on a terminal'],
  ])
    .argument('<what>', `${Object.keys(REPAIRS).join(', ')}, or scrub`)
    .argument('[command]', `of scrub: ${SCRUB_COMMANDS.join(', ')}`)
    .action(
      context.live<[string, string | undefined, RepairOptions]>((admin, io, flags, what, command, options) =>
        repair(admin, io, flags, [what, command], options),
      ),
    )

  const worker = group(program, 'worker', 'background work')
  leaf(worker, 'list', 'list background workers', [
    ['-b, --busy', 'only busy ones'],
    ['-e, --errors', 'only ones with errors'],
  ]).action(
    context.remote<[{ busy?: boolean; errors?: boolean }]>((admin, options) =>
      maintenance.listWorkers(admin, { busyOnly: options.busy ?? false, errorOnly: options.errors ?? false }),
    ),
  )
  leaf(worker, 'info', 'show a background worker')
    .argument('<tid>', 'its number in the list', argument(wholeNumber))
    .action(context.remote<[number, object]>((admin, id) => maintenance.workerInfo(admin, id)))
  leaf(worker, 'watch', 'show how far repairs, scrubs and moves of data are, until all have ended', [
    allNodes,
  ]).action(context.live<[All]>((admin, io, _, options) => watchWork(admin, io, options.allNodes)))
  leaf(worker, 'get [variable]', 'show parameters of background work', [allNodes]).action(
    context.remote<[string | undefined, All]>((admin, variable, options) =>
      maintenance.getVariables(admin, nodeSelector(options.allNodes), variable),
    ),
  )
  leaf(worker, 'set <variable> <value>', 'set a parameter of background work', [allNodes]).action(
    context.remote<[string, string, All]>((admin, variable, value, options) =>
      maintenance.setVariable(admin, nodeSelector(options.allNodes), variable, value),
    ),
  )

  const block = group(program, 'block', 'blocks of this node')
  leaf(block, 'list-errors', 'list blocks that could not be fetched').action(
    context.remote<[object]>((admin) => maintenance.listBlockErrors(admin)),
  )
  leaf(block, 'info <hash>', 'show what refers to a block').action(
    context.remote<[string, object]>((admin, hash) => maintenance.blockInfo(admin, hash)),
  )
  leaf(block, 'retry-now [hash...]', 'try again at once to fetch blocks', [
    ['--all', 'all with errors'],
  ]).action(
    context.remote<[string[], { all?: boolean }]>((admin, hashes, { all }) =>
      maintenance.retryBlocks(admin, all ?? false, hashes),
    ),
  )
  leaf(block, 'purge <hash...>', 'delete all objects that need a lost block', [['--yes', 'confirm']]).action(
    context.remote<[string[], { yes?: boolean }]>((admin, hashes, { yes }) =>
      maintenance.purgeBlocks(admin, yes, hashes),
    ),
  )

  const meta = group(program, 'meta', 'the metadata database')
  leaf(meta, 'snapshot', 'copy the metadata database', [['--all', 'on all nodes']]).action(
    context.remote<[{ all?: boolean }]>((admin, { all }) => maintenance.snapshot(admin, nodeSelector(all))),
  )
  leaf(meta, 'restore [snapshot]', 'put a snapshot, the newest unless told, in the place of the database', [
    ['--from-replicas', 'begin with an empty database, and fetch all rows from the other replicas'],
    ['--yes', 'confirm'],
  ]).action(
    context.local<[string | undefined, { fromReplicas?: boolean; yes?: boolean }]>(
      async (io, flags, snapshot, { fromReplicas = false, yes = false }) =>
        printOutput(io, flags, await restore(io, flags, { snapshot, fromReplicas, yes })),
    ),
  )
}
