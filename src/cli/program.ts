import { Command, Option } from 'commander'
import { parseSize } from '../config/values.js'
import {
  argument,
  Context,
  collect,
  group,
  leaf,
  type RunOnNode,
  redundancy,
  SECRET_OPTIONS,
  SHARED_OPTIONS,
  wholeNumber,
} from './command-line.js'
import * as bucket from './commands/bucket.js'
import * as cluster from './commands/cluster.js'
import * as key from './commands/key.js'
import * as layout from './commands/layout.js'
import * as maintenance from './commands/maintenance.js'
import { printNodeId } from './commands/node-id.js'
import { runServerCommand } from './commands/server.js'
import type { CliIo } from './io.js'
import { nodeSelector } from './lookup.js'

/** The command line as a whole, with Garage's verbs and flags. */
export function buildProgram(io: CliIo, runOnNode: RunOnNode): Command {
  const program = new Command('carport')
    .description('Geo-distributed object store for people who host their own data')
    // -h names a host, as in Garage.
    .helpOption('--help', 'show this help')
    .helpCommand('help [command]', 'show help of a command')
    .version(io.version(), '-V, --version', 'show the version')
    .enablePositionalOptions()
    .exitOverride()
  for (const [flags, description] of [...SHARED_OPTIONS, ...SECRET_OPTIONS])
    program.option(flags, description)
  const context = new Context(io, runOnNode)
  addServerAndNode(program, context)
  addLayout(group(program, 'layout', 'roles of the nodes: which keep data, where, and how much'), context)
  addBucket(group(program, 'bucket', 'buckets, their names, permissions and limits'), context)
  addKey(group(program, 'key', 'access keys'), context)
  addMaintenance(program, context)
  return program
}

function addServerAndNode(program: Command, context: Context): void {
  leaf(program, 'server', 'run a node', [
    ['--single-node', 'run alone: no layout to make, and no configuration file needed'],
    ['--default-bucket', 'with --single-node: make a bucket and a key at the first start'],
    ['--data <dir>', 'with --single-node: folder to keep everything in (default: ./data)'],
  ]).action(context.local(runServerCommand))

  leaf(program, 'status', 'show the nodes of the cluster').action(
    context.remote<[object]>((admin) => cluster.status(admin)),
  )

  const node = group(program, 'node', 'this node and its connections')
  leaf(node, 'id', "print this node's id and, if it is configured, its address", [
    ['-q, --quiet', 'do not explain on stderr what to do with it'],
  ]).action(
    context.local<[{ quiet?: boolean }]>((io, flags, options) =>
      printNodeId(io, flags, options.quiet ?? false),
    ),
  )
  leaf(node, 'connect <node>', 'connect to another node, <node id>@<host>:<port>').action(
    context.remote<[string, object]>((admin, peer) => cluster.connectNode(admin, peer)),
  )
}

function addLayout(parent: Command, context: Context): void {
  interface Assign {
    zone?: string
    capacity?: number
    gateway?: boolean
    tag: string[]
    replace: string[]
  }
  leaf(parent, 'assign <node...>', 'stage roles for nodes, given by the first digits of their ids', [
    ['-z, --zone <zone>', 'where the node is: a data centre, a house'],
    new Option('-c, --capacity <size>', 'space to use, such as 500G or 2TiB').argParser(argument(parseSize)),
    ['-g, --gateway', 'serve requests but keep no objects'],
  ])
    .option('-t, --tag <tag>', 'free text, several times if wanted', collect, [])
    .option('--replace <node>', 'stage the removal of this node too', collect, [])
    .action(
      context.remote<[string[], Assign]>((admin, nodes, { zone, capacity, gateway, tag, replace }) =>
        layout.assignRoles(admin, nodes, {
          tags: tag,
          replace,
          ...(zone !== undefined && { zone }),
          ...(capacity !== undefined && { capacityBytes: capacity }),
          ...(gateway !== undefined && { gateway }),
        }),
      ),
    )
  leaf(parent, 'remove <node>', "stage the removal of a node's role").action(
    context.remote<[string, object]>((admin, node) => layout.removeRole(admin, node)),
  )
  leaf(parent, 'config', 'stage parameters of the layout')
    .option(
      '-r, --redundancy <zones>',
      'zones that each object is in: a number, or max',
      argument(redundancy),
    )
    .action(
      context.remote<[{ redundancy?: ReturnType<typeof redundancy> }]>((admin, options) =>
        layout.configureLayout(admin, options.redundancy),
      ),
    )
  leaf(parent, 'show', 'show the roles and what the staged changes would do').action(
    context.remote<[object]>((admin) => layout.showLayout(admin)),
  )
  leaf(parent, 'apply', 'apply the staged changes')
    .option(
      '--version <number>',
      'number of the version they make, from "layout show"',
      argument(wholeNumber),
    )
    .action(
      context.remote<[{ version?: number }]>((admin, { version }) => layout.applyLayout(admin, version)),
    )
  leaf(parent, 'revert', 'drop the staged changes', [['--yes', 'confirm']]).action(
    context.remote<[{ yes?: boolean }]>((admin, { yes }) => layout.revertLayout(admin, yes)),
  )
  leaf(parent, 'history', 'show the versions of the layout and how far nodes are').action(
    context.remote<[object]>((admin) => layout.layoutHistory(admin)),
  )
  leaf(parent, 'skip-dead-nodes', 'do not wait any longer for nodes that are down')
    .requiredOption('--version <number>', 'version of the layout to go on with', argument(wholeNumber))
    .option('--allow-missing-data', 'even where too few copies are known to be complete')
    .action(
      context.remote<[{ version: number; allowMissingData?: boolean }]>((admin, options) =>
        layout.skipDeadNodes(admin, options.version, options.allowMissingData ?? false),
      ),
    )
}

function addBucket(parent: Command, context: Context): void {
  type Permissions = { key: string; read?: boolean; write?: boolean; owner?: boolean }
  leaf(parent, 'list', 'list buckets').action(context.remote<[object]>((admin) => bucket.listBuckets(admin)))
  leaf(parent, 'info <bucket>', 'show a bucket, given by name or by the first digits of its id').action(
    context.remote<[string, object]>((admin, name) => bucket.bucketInfo(admin, name)),
  )
  leaf(parent, 'create <name>', 'create a bucket').action(
    context.remote<[string, object]>((admin, name) => bucket.createBucket(admin, name)),
  )
  leaf(parent, 'delete <bucket>', 'delete an empty bucket', [['--yes', 'confirm']]).action(
    context.remote<[string, { yes?: boolean }]>((admin, name, { yes }) =>
      bucket.deleteBucket(admin, name, yes),
    ),
  )
  leaf(parent, 'alias <bucket> <name>', 'give a bucket one more name', [
    ['--local <key>', 'a name for this access key alone'],
  ]).action(
    context.remote<[string, string, { local?: string }]>((admin, existing, name, { local }) =>
      bucket.aliasBucket(admin, existing, name, local),
    ),
  )
  leaf(parent, 'unalias <name>', 'take a name from a bucket', [
    ['--local <key>', 'a name that this access key alone uses'],
  ]).action(
    context.remote<[string, { local?: string }]>((admin, name, { local }) =>
      bucket.unaliasBucket(admin, name, local),
    ),
  )
  for (const verb of ['allow', 'deny'] as const) {
    leaf(parent, `${verb} <bucket>`, `${verb} an access key to use a bucket`, [
      ['--read', 'reading objects and lists'],
      ['--write', 'writing and deleting objects'],
      ['--owner', 'changing the bucket itself'],
    ])
      .requiredOption('--key <key>', 'name or id of the access key')
      .action(
        context.remote<[string, Permissions]>((admin, name, { key: pattern, read, write, owner }) =>
          bucket.changePermissions(admin, `bucket.${verb}Key`, name, pattern, {
            ...(read && { read }),
            ...(write && { write }),
            ...(owner && { owner }),
          }),
        ),
      )
  }
  leaf(parent, 'website <bucket>', 'serve a bucket as a web site, or not', [
    ['--allow', 'serve it'],
    ['--deny', 'do not'],
    ['-e, --error-document <key>', 'object to show when there is no such page'],
    ['--consistency-mode <mode>', 'degraded: pages from any one replica, also old ones; else consistent'],
  ])
    .option('-i, --index-document <name>', 'name of the page of a folder', 'index.html')
    .action(
      context.remote<[string, bucket.WebsiteOptions]>((admin, name, options) =>
        bucket.setWebsite(admin, name, options),
      ),
    )
  leaf(parent, 'set-quotas <bucket>', 'limit a bucket', [
    ['--max-size <size>', 'most bytes, such as 10GiB, or none'],
    ['--max-objects <number>', 'most objects, or none'],
  ]).action(
    context.remote<[string, { maxSize?: string; maxObjects?: string }]>((admin, name, options) =>
      bucket.setQuotas(admin, name, options),
    ),
  )
  leaf(parent, 'cleanup-incomplete-uploads <bucket...>', 'abort multipart uploads that were not completed')
    .option('--older-than <duration>', 'only those that began this long ago', '1d')
    .action(
      context.remote<[string[], { olderThan: string }]>((admin, names, { olderThan }) =>
        bucket.cleanupUploads(admin, names, olderThan),
      ),
    )
  leaf(parent, 'inspect-object <bucket> <key>', 'show the versions and blocks of an object').action(
    context.remote<[string, string, object]>((admin, name, object) =>
      bucket.inspectObject(admin, name, object),
    ),
  )
}

function addKey(parent: Command, context: Context): void {
  type Create = { createBucket?: boolean }
  leaf(parent, 'list', 'list access keys').action(context.remote<[object]>((admin) => key.listKeys(admin)))
  leaf(parent, 'info <key>', 'show an access key, given by name or by the first digits of its id', [
    ['--show-secret', 'show the secret key too'],
  ]).action(
    context.remote<[string, { showSecret?: boolean }]>((admin, pattern, { showSecret }) =>
      key.keyInfo(admin, pattern, showSecret ?? false),
    ),
  )
  leaf(parent, 'create', 'create an access key', [
    ['--expires-in <duration>', 'how long it is valid, such as 30d'],
  ])
    .argument('[name]', 'name for people', 'Unnamed key')
    .action(
      context.remote<[string, { expiresIn?: string }]>((admin, name, { expiresIn }) =>
        key.createKey(admin, name, expiresIn, context.nowMs()),
      ),
    )
  leaf(parent, 'rename <key> <name>', 'rename an access key').action(
    context.remote<[string, string, object]>((admin, pattern, name) => key.renameKey(admin, pattern, name)),
  )
  leaf(parent, 'delete <key>', 'delete an access key', [['--yes', 'confirm']]).action(
    context.remote<[string, { yes?: boolean }]>((admin, pattern, { yes }) =>
      key.deleteKey(admin, pattern, yes),
    ),
  )
  for (const verb of ['allow', 'deny'] as const) {
    leaf(parent, `${verb} <key>`, `${verb} what an access key may do beyond buckets`, [
      ['--create-bucket', 'creating buckets'],
    ]).action(
      context.remote<[string, Create]>((admin, pattern, { createBucket }) =>
        key.changeKeyPermissions(admin, verb, pattern, createBucket),
      ),
    )
  }
  leaf(parent, 'import <id> <secret>', 'take over an access key from elsewhere', [['--yes', 'confirm']])
    .option('-n, --name <name>', 'name for people', 'Imported key')
    .action(
      context.remote<[string, string, { name: string; yes?: boolean }]>((admin, id, secret, { name, yes }) =>
        key.importKey(admin, id, secret, name, yes),
      ),
    )
  leaf(parent, 'set <key>', 'set how long an access key is valid', [
    ['--expires-in <duration>', 'from now, such as 30d'],
    ['--never-expires', 'without end'],
  ]).action(
    context.remote<[string, { expiresIn?: string; neverExpires?: boolean }]>((admin, pattern, options) =>
      key.setKey(admin, pattern, options, context.nowMs()),
    ),
  )
  leaf(parent, 'delete-expired', 'delete all access keys that have expired', [['--yes', 'confirm']]).action(
    context.remote<[{ yes?: boolean }]>((admin, { yes }) => key.deleteExpiredKeys(admin, yes)),
  )
}

function addMaintenance(program: Command, context: Context): void {
  const allNodes: [string, string] = ['-a, --all-nodes', 'on all nodes']
  type All = { allNodes?: boolean }
  leaf(program, 'stats', 'show figures of a node and the cluster', [allNodes]).action(
    context.remote<[All]>((admin, options) => cluster.stats(admin, nodeSelector(options.allNodes))),
  )
  leaf(program, 'repair', 'start a repair of stored data', [allNodes, ['--yes', 'confirm']])
    .argument('<what>', `${Object.keys(maintenance.REPAIRS).join(', ')}, or scrub`)
    .argument('[command]', `of scrub: ${maintenance.SCRUB_COMMANDS.join(', ')}`)
    .action(
      context.remote<[string, string | undefined, All & { yes?: boolean }]>((admin, what, command, options) =>
        maintenance.repair(admin, nodeSelector(options.allNodes), what, command, options.yes),
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
}
