/**
 * Every verb and flag of Garage 2.5.0's command line is one of ours: the list below is data, and each line of it is typed in
 * all forms that Garage takes.
 */
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { splitShortFlags } from './command-line.js'
import type { CliIo } from './io.js'
import { buildProgram } from './program.js'

/** A verb, its arguments, and its flags: "-z --zone=" takes a value, "-t --tag=*" several times. */
type Verb = [verb: string, args: string[], flags: string[]]

const YES = '--yes'
const ALL = '-a --all-nodes'
const PERMISSIONS = ['--key=', '--read', '--write', '--owner']

const VERBS: Verb[] = [
  ['server', [], ['--single-node', '--default-access-key', '--default-bucket']],
  ['health', [], ['-q --quiet']],
  ['status', [], []],
  ['node id', [], ['-q --quiet']],
  ['node connect', ['peer'], []],

  [
    'layout assign',
    ['n1', 'n2'],
    ['-z --zone=', '-c --capacity=10G', '-g --gateway', '-t --tag=*', '--replace=*'],
  ],
  ['layout remove', ['n1'], []],
  ['layout config', [], ['-r --redundancy=2']],
  ['layout show', [], []],
  ['layout apply', [], ['--version=3']],
  ['layout revert', [], [YES]],
  ['layout history', [], []],
  ['layout skip-dead-nodes', [], ['--version=3', '--allow-missing-data']],

  ['bucket list', [], []],
  ['bucket info', ['b'], []],
  ['bucket create', ['b'], []],
  ['bucket delete', ['b'], [YES]],
  ['bucket alias', ['b', 'name'], ['--local=']],
  ['bucket unalias', ['name'], ['--local=']],
  ['bucket allow', ['b'], PERMISSIONS],
  ['bucket deny', ['b'], PERMISSIONS],
  ['bucket website', ['b'], ['--allow', '--deny', '-i --index-document=', '-e --error-document=']],
  ['bucket set-quotas', ['b'], ['--max-size=30GiB', '--max-objects=10']],
  ['bucket cleanup-incomplete-uploads', ['b', 'c'], ['--older-than=2h 5min']],
  ['bucket inspect-object', ['b', 'key'], []],

  ['key list', [], []],
  ['key info', ['k'], ['--show-secret', '--key-id', '--secret-key']],
  ['key create', ['name'], ['--expires-in=']],
  ['key rename', ['k', 'name'], []],
  ['key delete', ['k'], [YES]],
  ['key allow', ['k'], ['--create-bucket']],
  ['key deny', ['k'], ['--create-bucket']],
  ['key import', ['id', 'secret'], ['-n=', YES]],
  ['key set', ['k'], ['--expires-in=', '--never-expires']],
  ['key delete-expired', [], [YES]],
  ['key export-env', ['k'], ['--prefix=']],

  ['admin-token list', [], []],
  ['admin-token info', ['t'], []],
  ['admin-token create', ['name'], ['--expires-in=', '--scope=', '-q --quiet']],
  ['admin-token create', [], []],
  ['admin-token rename', ['t', 'name'], []],
  ['admin-token set', ['t'], ['--expires-in=', '--never-expires', '--scope=-ListKeys']],
  ['admin-token delete', ['t'], [YES]],
  ['admin-token delete-expired', [], [YES]],

  ...[
    'tables',
    'blocks',
    'clear-resync-queue',
    'versions',
    'mpu',
    'block-refs',
    'block-rc',
    'aliases',
    'rebalance',
  ].map((what): Verb => ['repair', [what], [ALL, YES]]),
  ...['start', 'pause', 'resume', 'cancel'].map((what): Verb => ['repair', ['scrub', what], [ALL, YES]]),
  ['offline-repair', ['k2v_item_counters'], [YES]],
  ['offline-repair', ['object_counters'], [YES]],

  ['stats', [], [ALL]],
  ['worker list', [], ['-b --busy', '-e --errors']],
  ['worker info', ['7'], []],
  ['worker get', ['variable'], [ALL]],
  ['worker get', [], []],
  ['worker set', ['variable', 'value'], [ALL]],
  ['block list-errors', [], []],
  ['block info', ['hash'], []],
  ['block retry-now', ['h1', 'h2'], ['--all']],
  ['block retry-now', [], []],
  ['block purge', ['h1', 'h2'], [YES]],
  ['meta snapshot', [], ['--all']],

  ['convert-db', [], ['-i=', '-a=lmdb', '-o=', '-b=sqlite', '--lmdb-map-size=10GiB']],
  ['admin-api-schema', [], []],
  ['json-api', ['GetClusterStatus'], []],
  ['json-api', ['GetBucketInfo', '-'], []],
  ['completions', ['bash'], []],
  ['completions', ['zsh'], []],
  ['completions', ['fish'], []],
]

/** Those before the verb, each of them also a variable of the environment, GARAGE_…. */
const GLOBAL_FLAGS = [
  '-h --rpc-host=',
  '-c --config=',
  '-s --rpc-secret=',
  '--rpc-secret-file=',
  '--admin-token=',
  '--admin-token-file=',
  '--metrics-token=',
  '--metrics-token-file=',
  '--allow-world-readable-secrets=true',
]

interface Flag {
  names: string[]
  /** Undefined for a switch. */
  value: string | undefined
  several: boolean
}

function readFlag(text: string): Flag {
  const at = text.indexOf('=')
  const names = (at < 0 ? text : text.slice(0, at)).split(' ')
  const value = at < 0 ? undefined : text.slice(at + 1)
  return { names, value: value === '' || value === '*' ? 'x' : value, several: value === '*' }
}

/** The words that give a flag, by its short or its long name, in each form that Garage's parser takes. */
function formsOf({ names, value, several }: Flag): string[][] {
  const forms = names.flatMap((name) => {
    if (value === undefined) return [[name]]
    const isShort = !name.startsWith('--')
    return [[name, value], [`${name}=${value}`], ...(isShort ? [[`${name}${value}`]] : [])]
  })
  return several ? forms.map((form) => [...form, ...form]) : forms
}

function descendants(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...descendants(child)])
}

const pathOf = (command: Command): string =>
  command.parent?.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()

/** Parses without running anything; resolves with the verb that was found, its arguments and all options. */
async function parse(words: readonly string[]) {
  let found: { verb: string; args: string[]; option: (name: string) => unknown } | undefined
  const program = buildProgram({ version: () => '1' } as CliIo, async () => {})
  for (const command of descendants(program).filter(({ commands }) => commands.length === 0)) {
    command.action((...all: unknown[]) => {
      const args = (all.slice(0, -2) as unknown[]).flat().filter((arg) => arg !== undefined)
      const options = command.optsWithGlobals()
      const known = [...command.options, ...program.options]
      const option = (name: string) =>
        options[known.find(({ short, long }) => short === name || long === name)!.attributeName()]
      found = { verb: pathOf(command), args: args.map(String), option }
    })
  }
  await program.parseAsync(splitShortFlags(words), { from: 'user' })
  return found
}

describe('every verb and flag of Garage 2.5.0 parses', () => {
  it.each(VERBS.map(([verb, args, flags]) => [`${verb} ${args.join(' ')}`, verb, args, flags] as const))(
    '%s',
    async (_, verb, args, flags) => {
      const all = flags.map(readFlag)
      const words = verb.split(' ')
      const variants = Math.max(1, ...all.map((flag) => formsOf(flag).length))
      for (let i = 0; i < variants; i++) {
        const given = all.flatMap((flag) => formsOf(flag)[i % formsOf(flag).length]!)
        for (const line of [
          [...words, ...given, ...args],
          [...words, ...args, ...given],
        ]) {
          const found = await parse(line)
          expect(found, line.join(' ')).toMatchObject({ verb, args })
          for (const { names, value } of all) {
            expect(found!.option(names[0]!), `${names[0]} of ${line.join(' ')}`).toEqual(
              value === undefined ? true : expect.anything(),
            )
          }
        }
      }
    },
  )

  it.each(GLOBAL_FLAGS)('%s stands before every verb', async (text) => {
    const flag = readFlag(text)
    for (const form of formsOf(flag)) {
      const found = await parse([...form, 'bucket', 'info', 'photos'])
      expect(found).toMatchObject({ verb: 'bucket info', args: ['photos'] })
      expect(found!.option(flag.names[0]!)).toBe(flag.value)
    }
  })

  it('has each verb once, under its full name', () => {
    const program = buildProgram({ version: () => '1' } as CliIo, async () => {})
    const ours = descendants(program)
      .filter(({ commands }) => commands.length === 0)
      .map(pathOf)
    expect(new Set(ours).size).toBe(ours.length)
    expect(ours).toEqual(expect.arrayContaining([...new Set(VERBS.map(([verb]) => verb))]))
  })
})
