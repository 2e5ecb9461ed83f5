import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { expect, it } from 'vitest'
import type { CliIo } from './io.js'
import { buildProgram } from './program.js'

// The last section of docs/cli.md is made from the program: CARPORT_WRITE_DOCS=1 npx vitest run src/cli/cli-page.test.ts

const PAGE = join(import.meta.dirname, '../../docs/cli.md')
const MARK = '## All verbs\n'

/** The verbs in the order of the program, each with its arguments and flags. */
function reference(): string {
  const program = buildProgram({ version: () => '1' } as CliIo, async () => {})
  const alone = program.commands.filter(({ commands }) => commands.length === 0)
  const groups = program.commands.filter(({ commands }) => commands.length > 0)
  const lines = [
    ...alone.flatMap((command) => verbLines(command, '')),
    ...groups.flatMap((group) => [
      '',
      `### ${group.name()}`,
      '',
      sentence(group.description()),
      '',
      ...group.commands.flatMap((command) => verbLines(command, `${group.name()} `)),
    ]),
  ]
  return `${lines.join('\n')}\n`
}

function verbLines(command: Command, before: string): string[] {
  const words = [
    `${before}${command.name()}`,
    ...command.registeredArguments.map((argument) => {
      const name = argument.name() + (argument.variadic ? '…' : '')
      return argument.required ? `<${name}>` : `[${name}]`
    }),
  ]
  const args = command.registeredArguments
    .filter(({ description }) => description !== '')
    .map((argument) => `  - \`${argument.name()}\`: ${plain(argument.description)}`)
  const flags = command
    .createHelp()
    .visibleOptions(command)
    .filter(({ long }) => long !== '--help' && long !== '--json')
    .map((option) => {
      const standard =
        typeof option.defaultValue === 'string' ? `; \`${option.defaultValue}\` unless told` : ''
      return `  - \`${option.flags}\`: ${plain(option.description)}${standard}`
    })
  return [`- **\`${words.join(' ')}\`**: ${plain(command.description())}`, ...args, ...flags]
}

/** Outside of code, a "<" would begin a tag. */
function plain(text: string): string {
  return text.replaceAll('<', '\\<')
}

function sentence(text: string): string {
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`
}

it('docs/cli.md has all verbs and flags as the program has them', () => {
  const [head] = readFileSync(PAGE, 'utf8').split(MARK)
  const wanted = `${head}${MARK}\n${reference()}`
  if (process.env.CARPORT_WRITE_DOCS) writeFileSync(PAGE, wanted)
  expect(readFileSync(PAGE, 'utf8')).toBe(wanted)
})
