import type { Command } from 'commander'
import { type Context, leaf, printOutput } from '../command-line.js'
import { convertDb, OFFLINE_REPAIRS, offlineRepair } from '../commands/offline.js'

/** `offline-repair` and `convert-db`: they work on files, not on a running node. */
export function registerOfflineVerbs(program: Command, context: Context): void {
  leaf(program, 'offline-repair', 'repair the data of this node, which must be stopped', [
    ['--yes', 'confirm'],
  ])
    .argument('<what>', OFFLINE_REPAIRS.join(', '))
    .action(
      context.local<[string, { yes?: boolean }]>(async (io, flags, what, { yes }) =>
        printOutput(io, flags, await offlineRepair(io, flags, what, yes)),
      ),
    )
  leaf(program, 'convert-db', 'of Garage: there is one engine here, so this tells what to do instead', [
    ['-i, --input-path <path>', 'database to read'],
    ['-a, --input-engine <engine>', 'its engine'],
    ['-o, --output-path <path>', 'database to write'],
    ['-b, --output-engine <engine>', 'its engine'],
    ['--lmdb-map-size <size>', 'most bytes of an LMDB database'],
  ]).action(context.local<[object]>(convertDb))
}
