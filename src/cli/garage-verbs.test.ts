/**
 * Every verb and flag of Garage 2.5.0's command line is one of ours: each line of the list in testing/garage-verbs.ts is typed
 * in all forms that Garage takes.
 */
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { GARAGE_GLOBAL_FLAGS, GARAGE_VERBS } from '../../testing/garage-verbs.js'
import { splitShortFlags } from './command-line.js'
import type { CliIo } from './io.js'
import { buildProgram } from './program.js'

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
  it.each(
    GARAGE_VERBS.map(([verb, args, flags]) => [`${verb} ${args.join(' ')}`, verb, args, flags] as const),
  )('%s', async (_, verb, args, flags) => {
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
  })

  it.each(GARAGE_GLOBAL_FLAGS)('%s stands before every verb', async (text) => {
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
    expect(ours).toEqual(expect.arrayContaining([...new Set(GARAGE_VERBS.map(([verb]) => verb))]))
  })
})
