import { type Command, Option } from 'commander'
import { parseDuration } from '../../config/values.js'
import { argument, type Context, leaf } from '../command-line.js'
import { top } from '../commands/top.js'
import { SORTS, type Sort } from '../top/render.js'

const INTERVAL_MS = 2000

/** `top`. */
export function registerTopVerbs(program: Command, context: Context): void {
  const sorts = Object.entries(SORTS).map(([key, { name }]) => [name, key as Sort] as const)
  const bySort = new Map<string, Sort>(sorts)
  const parseSort = (text: string): Sort => {
    const sort = bySort.get(text)
    if (sort === undefined) throw new Error(`expected one of: ${[...bySort.keys()].join(', ')}`)
    return sort
  }
  const parseInterval = (text: string): number => {
    const ms = parseDuration(/^\d+(\.\d+)?$/.test(text) ? `${text}s` : text)
    if (ms < 500) throw new Error('expected at least half a second')
    return ms
  }
  leaf(program, 'top', 'show what the nodes do: requests, latency, memory, queues; again and again', [
    ['--once', 'print it once, as where there is no terminal'],
    new Option('--interval <time>', 'time between two looks (default: 2s)').argParser(
      argument(parseInterval),
    ),
    new Option('--sort <column>', `${[...bySort.keys()].join(', ')} (default: name)`).argParser(
      argument(parseSort),
    ),
  ]).action(
    context.live<[{ once?: boolean; interval?: number; sort?: Sort }]>((admin, io, flags, options) =>
      top(admin, io, {
        intervalMs: options.interval ?? INTERVAL_MS,
        once: (options.once ?? false) || (flags.json ?? false),
        sort: options.sort ?? 'n',
      }),
    ),
  )
}
