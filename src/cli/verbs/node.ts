import type { Command } from 'commander'
import { type Context, group, leaf } from '../command-line.js'
import * as cluster from '../commands/cluster.js'
import { printNodeId } from '../commands/node-id.js'
import { runServerCommand } from '../commands/server.js'

/** `server`, `status`, `health` and `node`. */
export function registerNodeVerbs(program: Command, context: Context): void {
  leaf(program, 'server', 'run a node', [
    ['--single-node', 'run alone: no layout to make, and no configuration file needed'],
    ['--default-access-key', 'with --single-node: make an access key at the first start'],
    ['--default-bucket', 'with --single-node: make a bucket and an access key at the first start'],
    ['--data <dir>', 'with --single-node: folder to keep everything in (default: ./data)'],
  ]).action(context.local(runServerCommand))

  leaf(program, 'status', 'show the nodes of the cluster').action(
    context.remote<[object]>((admin) => cluster.status(admin)),
  )

  leaf(program, 'health', 'tell whether the cluster answers requests; fails if it does not', [
    ['-q, --quiet', 'print nothing on stdout'],
  ]).action(
    context.remote<[{ quiet?: boolean }]>((admin, { quiet }) => cluster.health(admin, quiet ?? false)),
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
