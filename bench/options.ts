import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Target } from './load/raw-s3.js'

export const WORKLOADS = ['small', 'large', 'list', 'geo', 'resources', 'growth'] as const
export type WorkloadName = (typeof WORKLOADS)[number]

export interface EndpointOption {
  name: string
  target: Target
  /** Pids of the server, for CPU and memory; their children count too. */
  pids: number[]
}

export interface Options {
  endpoints: EndpointOption[]
  /** Folder with the peers' programs. */
  peersDir: string | undefined
  /** Measure Carport, and Carport with fsync off. */
  own: boolean
  unsynced: boolean
  workloads: WorkloadName[]
  /** Measure only cells whose name has all of these words. */
  match: string[]
  /** Length of one measurement, in seconds. */
  seconds: number
  /** Measurements of each store per cell. */
  rounds: number
  /** Measure fewer sizes and smaller counts, only to show that everything works. */
  quick: boolean
  /** The number of requests of each kind in `geo`. */
  requests: number
  /** The most keys with which a store is filled by requests. */
  fillMax: number
  json: string | undefined
  /** The folder where the stores keep their data. */
  dir: string
}

/** A fault of the command line or an endpoint, told in one line to the person who typed it. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const USAGE = `usage: npm run bench -- [options]

Measures a store of its own; with --endpoint, those instead.

  --endpoint NAME=URL,key=ID,secret=SECRET[,region=us-east-1][,pids=1+2]
                     another S3 store that runs already; may be given several times
  --own              with --endpoint: a store of our own too, first
  --unsynced         our own with fsync off too
  --peers DIR        also "garage" and "minio", programs in that folder, each in a temporary folder
  --only A,B         of: ${WORKLOADS.join(', ')}
  --match TEXT       only the cells whose name has all of these words, such as "PUT 4 KiB x32"
  --seconds N        length of one measurement (3; --quick 1)
  --rounds N         measurements of each store per cell, the stores in turn (3; --quick 1)
  --requests N       requests of each kind in geo (100; --quick 5)
  --fill-max N       most keys that a store is filled with by requests (100000; --quick 2000)
  --quick            few sizes and small counts: does it work?
  --json FILE        write the results there too
  --dir DIR          where the stores keep their data (the system's temporary folder)`

/** @throws UsageError */
export function parseOptions(argv: readonly string[]): Options | 'help' {
  const values = parse(argv)
  if (values.help) return 'help'
  const quick = values.quick ?? false
  const endpoints = (values.endpoint ?? []).map(parseEndpoint)
  const names = new Set(endpoints.map(({ name }) => name))
  if (names.size < endpoints.length) throw new UsageError('--endpoint: each needs a name of its own')
  return {
    endpoints,
    peersDir: values.peers,
    own: endpoints.length === 0 || (values.own ?? false),
    unsynced: values.unsynced ?? false,
    workloads: values.only === undefined ? [...WORKLOADS] : parseWorkloads(values.only),
    match: (values.match ?? '').toLowerCase().split(/\s+/).filter(Boolean),
    seconds: positive('seconds', values.seconds, quick ? 1 : 3),
    rounds: Math.ceil(positive('rounds', values.rounds, quick ? 1 : 3)),
    quick,
    requests: Math.ceil(positive('requests', values.requests, quick ? 5 : 100)),
    fillMax: Math.ceil(positive('fill-max', values['fill-max'], quick ? 2000 : 100_000)),
    json: values.json,
    dir: resolve(values.dir ?? tmpdir()),
  }
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    return parseArgs({
      args: [...argv],
      options: {
        ...{ endpoint: { type: 'string', multiple: true }, own: flag, unsynced: flag, peers: text },
        ...{ only: text, match: text, seconds: text, rounds: text, requests: text, 'fill-max': text },
        ...{ quick: flag, json: text, dir: text, help: flag },
      },
    }).values as Partial<{
      endpoint: string[]
      own: boolean
      unsynced: boolean
      peers: string
      only: string
      match: string
      seconds: string
      rounds: string
      requests: string
      'fill-max': string
      quick: boolean
      json: string
      dir: string
      help: boolean
    }>
  } catch (error) {
    throw new UsageError((error as Error).message.split('\n')[0])
  }
}

function positive(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  const value = Number(text)
  if (!(value > 0) || !Number.isFinite(value))
    throw new UsageError(`--${name}: "${text}" is no number above 0`)
  return value
}

function parseWorkloads(text: string): WorkloadName[] {
  return text.split(',').map((name) => {
    const known = WORKLOADS.find((workload) => workload === name)
    if (!known) throw new UsageError(`--only: "${name}" is none of ${WORKLOADS.join(', ')}`)
    return known
  })
}

function parseEndpoint(text: string): EndpointOption {
  const wrong = (what: string) =>
    new UsageError(`--endpoint ${text.split(',')[0]}: ${what}; expected NAME=URL,key=ID,secret=SECRET`)
  const [head = '', ...rest] = text.split(',')
  const equals = head.indexOf('=')
  const name = head.slice(0, Math.max(0, equals))
  if (!name) throw wrong('has no name')
  const url = URL.canParse(head.slice(equals + 1)) ? new URL(head.slice(equals + 1)) : undefined
  if (url?.protocol !== 'http:') throw wrong('needs a URL that begins with http://')
  const fields = new Map(
    rest.map((field): [string, string] => {
      const at = field.indexOf('=')
      return [field.slice(0, Math.max(0, at)), field.slice(at + 1)]
    }),
  )
  for (const field of fields.keys()) {
    if (!['key', 'secret', 'region', 'pids'].includes(field)) throw wrong(`"${field}" is unknown`)
  }
  const accessKeyId = fields.get('key')
  const secretAccessKey = fields.get('secret')
  if (!accessKeyId || !secretAccessKey) throw wrong(`has no ${accessKeyId ? 'secret' : 'key'}`)
  const pids = (fields.get('pids') ?? '').split('+').filter(Boolean).map(Number)
  if (!pids.every((pid) => Number.isInteger(pid) && pid > 0)) throw wrong('pids are numbers joined by "+"')
  const region = fields.get('region') ?? 'us-east-1'
  return { name, target: { endpoint: url.origin, accessKeyId, secretAccessKey, region }, pids }
}
