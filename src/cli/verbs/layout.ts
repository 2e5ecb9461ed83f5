import { type Command, Option } from 'commander'
import { parseSize } from '../../config/values.js'
import { argument, type Context, collect, group, leaf, wholeNumber } from '../command-line.js'
import * as layout from '../commands/layout.js'

/** `layout` and its verbs. */
export function registerLayoutVerbs(program: Command, context: Context): void {
  const parent = group(program, 'layout', 'roles of the nodes: which keep data, where, and how much')
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
  const redundancy = (text: string) => {
    const parsed = layout.parseRedundancy(text)
    if (parsed === undefined) throw new Error('expected a number of zones, or "max"')
    return parsed
  }
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
    .option('--force', 'a first layout, though this node knows others and is linked to none')
    .action(
      context.remote<[{ version?: number; force?: boolean }]>((admin, { version, force }) =>
        layout.applyLayout(admin, version, force),
      ),
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
