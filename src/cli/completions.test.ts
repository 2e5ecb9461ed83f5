import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cli } from '../../testing/cli-fakes.js'
import { SHELLS } from './completions.js'

const dir = mkdtempSync(join(tmpdir(), 'carport-completions-'))
const scriptOf = (shell: string) => join(dir, `carport.${shell}`)

beforeAll(async () => {
  for (const shell of SHELLS) writeFileSync(scriptOf(shell), (await cli(['completions', shell])).out)
  writeFileSync(join(dir, 'some-file.toml'), '')
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** How each shell is asked for the completions of a line, whose last word is under way. */
const ASK: Record<string, (line: string) => string> = {
  bash: (line) => `source ${scriptOf('bash')}
words=(${line.endsWith(' ') ? `${line} ''` : line})
COMP_WORDS=("\${words[@]}") COMP_CWORD=$((\${#words[@]} - 1))
_carport
printf '%s\\n' "\${COMPREPLY[@]}"`,
  // Stands for zsh's own helpers, which need a terminal: prints what they would offer for the word under way.
  zsh: (line) => `compdef() { :; }
_files() { ls | grep "^\${words[CURRENT]}" }
_describe() { for entry in "\${(@P)2}"; do [[ $entry == \${words[CURRENT]}* ]] && print -r -- "\${entry%%:*}"; done }
words=(${line.endsWith(' ') ? `${line} ''` : line}) CURRENT=\${#words}
source ${scriptOf('zsh')}
_carport`,
  fish: (line) => `source ${scriptOf('fish')}
complete -C ${JSON.stringify(line)} | string split -f1 \\t`,
}

function complete(shell: string, line: string): string[] {
  const args = shell === 'fish' ? ['--no-config', '-c'] : shell === 'zsh' ? ['-f', '-c'] : ['--norc', '-c']
  const { stdout, stderr } = spawnSync(shell, [...args, ASK[shell]!(line)], { cwd: dir, encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.split('\n').filter((word) => word !== '')
}

describe.each(SHELLS)('completions of %s', (shell) => {
  const isThere = spawnSync(shell, ['--version']).status === 0

  it.skipIf(!isThere)(`are those of the program${isThere ? '' : ` (${shell} is not installed)`}`, () => {
    expect(complete(shell, 'carport ')).toEqual(
      expect.arrayContaining(['server', 'health', 'status', 'layout', 'admin-token', 'json-api']),
    )
    expect(complete(shell, 'carport admin-').sort()).toEqual(['admin-api-schema', 'admin-token'])
    expect(complete(shell, 'carport bucket al')).toEqual(['alias', 'allow'])
    expect(complete(shell, 'carport layout assign --r')).toEqual(['--replace'])
    expect(
      complete(shell, 'carport completions ')
        .filter((word) => !word.startsWith('-'))
        .sort(),
    ).toEqual([...SHELLS].sort())
    // Values of flags are no verbs, and those of files are files.
    expect(complete(shell, 'carport -h layout bucket al')).toEqual(['alias', 'allow'])
    expect(complete(shell, 'carport layout assign -z ').filter((word) => word.startsWith('-'))).toEqual([])
    expect(complete(shell, 'carport -c some-')).toEqual(['some-file.toml'])
  })
})
