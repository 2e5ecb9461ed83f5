import { type Command, Option } from 'commander'
import { argument, type Context, collect, leaf, wholeNumber } from '../command-line.js'
import type { MigrateFlags } from '../commands/migrate.js'
import { localEndpoints } from '../config-source.js'

const PARALLEL = 8

/** `migrate` and `export`. */
export function registerMigrateVerbs(program: Command, context: Context): void {
  const options = (admin: boolean) => [
    new Option('--bucket <name>', 'only this bucket; may be repeated').argParser(collect).default([]),
    new Option('--region <region>', "the other store's region").default('us-east-1'),
    ...(admin
      ? [
          new Option(
            '--admin <address>',
            "its admin API (Garage's or Carport's): carries keys, names and quotas",
          ),
          new Option(
            '--json-api <command>',
            "the same by the command line of Garage 2: 'garage -c /etc/garage.toml'",
          ),
          new Option('--minio', 'it is MinIO: carries users and access keys, by the key of an administrator'),
          new Option('--relaxed', 'relax the buckets that it makes here, to take all that Garage took'),
        ]
      : []),
    new Option('--k2v <address>', "the other store's K2V API: carries K2V items"),
    new Option(
      '--k2v-endpoint <address>',
      "this cluster's K2V endpoint, unless the node or its configuration here tells it",
    ),
    new Option(
      '--endpoint <address>',
      "this cluster's S3 endpoint, unless the node or its configuration here tells it",
    ),
    new Option('--journal <folder>', 'where it remembers what was copied').default('carport-migration'),
    new Option('--parallel <n>', 'objects copied at the same time')
      .argParser(argument(wholeNumber))
      .default(PARALLEL, String(PARALLEL)),
    new Option('--dry-run', 'tell what would be copied, and what cannot be'),
    new Option('--verify', 'read everything on both sides, and compare'),
    new Option('--delete', 'delete copies of what was deleted at the source since'),
  ]
  const run = (direction: 'in' | 'out') =>
    context.live<[string, MigrateFlags]>(async (admin, io, global, place, flags) => {
      const { migrate } = await import('../commands/migrate.js')
      return migrate(admin, io, direction, place, flags, localEndpoints(io, global))
    })
  leaf(
    program,
    'migrate',
    'copy another store into this cluster; can be stopped and run again',
    options(true),
  )
    .argument('<source>', 'address of its S3 endpoint, or a folder of buckets')
    .action(run('in'))
  leaf(program, 'export', 'copy buckets of this cluster to another store', options(false))
    .argument('<target>', 'address of its S3 endpoint, or a folder')
    .action(run('out'))
}
