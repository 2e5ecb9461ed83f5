import { type Command, Option } from 'commander'
import { parseSize } from '../../config/values.js'
import { CliError } from '../admin-client.js'
import { argument, type Context, leaf } from '../command-line.js'
import { exportLayout, planLayout } from '../commands/layout-plan.js'
import type { CliIo } from '../io.js'

interface Plan {
  file: string
  rate?: number
  stage?: boolean
  apply?: boolean
  yes?: boolean
  partitions?: boolean
}

/** `layout plan` and `layout export`, beside the other verbs of `layout`. */
export function registerLayoutPlanVerbs(program: Command, context: Context): void {
  const parent = program.commands.find((command) => command.name() === 'layout')!
  leaf(parent, 'plan', 'show what would bring the layout to a file, what moves, and how long it takes', [
    new Option(
      '-f, --file <file>',
      'the roles of all nodes, as "layout export" writes them',
    ).makeOptionMandatory(),
    new Option(
      '--rate <bytes>',
      'bytes that a node receives in a second, such as 50M (default: 12.5M, 100 Mbit/s)',
    ).argParser(argument(parseRate)),
    ['--partitions', 'list every partition that moves'],
    ['--stage', 'stage the changes'],
    ['--apply', 'stage and apply the changes'],
    ['--yes', 'confirm --apply'],
  ]).action(
    context.live<[Plan]>((admin, io, _flags, options) => {
      const { file, rate, stage = false, apply = false, yes = false, partitions = false } = options
      const text = readFile(io, file)
      return planLayout(admin, { fileName: file, text, rateBytes: rate, stage, apply, yes, partitions })
    }),
  )
  leaf(parent, 'export', 'print the current layout as a file for "layout plan"').action(
    context.remote<[object]>((admin) => exportLayout(admin)),
  )
}

function parseRate(text: string): number {
  const bytes = parseSize(text.replace(/\/s$/, ''))
  if (bytes === 0) throw new Error('expected more than nothing')
  return bytes
}

function readFile(io: CliIo, path: string): string {
  try {
    return io.readText(path)
  } catch (error) {
    const { code } = error as { code?: unknown }
    throw new CliError(
      `cannot read ${path} (${code ?? 'unknown error'}): "carport layout export" prints such a file`,
    )
  }
}
