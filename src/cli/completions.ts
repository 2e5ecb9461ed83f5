/** Scripts by which shells complete the program's verbs and flags: made from the program itself, so that they are never behind it. */
import type { Command } from 'commander'

export const SHELLS = ['bash', 'zsh', 'fish'] as const

interface Verb {
  /** Its words with spaces between: "bucket info"; "" is the program itself. */
  path: string
  verbs: [name: string, description: string][]
  flags: { names: string[]; description: string; takes: 'nothing' | 'value' | 'file' }[]
}

/**
 * The script for a shell, to be sourced or put where the shell looks for completions.
 * @param shell one of SHELLS
 */
export function completionScript(program: Command, shell: string): string {
  const name = program.name()
  const verbs = collect(program, '')
  if (shell === 'bash') return bash(name, verbs)
  return shell === 'zsh' ? zsh(name, verbs) : fish(name, verbs)
}

function collect(command: Command, path: string): Verb[] {
  const own: Verb = {
    path,
    verbs: [
      ...command.commands.map((child): [string, string] => [child.name(), child.description()]),
      ...(command.registeredArguments[0]?.argChoices ?? []).map((choice): [string, string] => [choice, '']),
    ],
    flags: command
      .createHelp()
      .visibleOptions(command)
      .map((option) => ({
        names: [option.short, option.long].filter((flag) => flag !== undefined),
        description: option.description,
        takes:
          !option.required && !option.optional
            ? 'nothing'
            : /<(file|dir|path)>/.test(option.flags)
              ? 'file'
              : 'value',
      })),
  }
  const below = command.commands.flatMap((child) =>
    collect(child, path === '' ? child.name() : `${path} ${child.name()}`),
  )
  return [own, ...below]
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** A branch of a `case` for each verb for which `words` gives some. */
function cases(verbs: readonly Verb[], words: (verb: Verb) => string): string {
  return verbs
    .map((verb) => [verb.path, words(verb)] as const)
    .filter(([, text]) => text !== '')
    .map(([path, text]) => `    ${quoted(path)}) ${text} ;;`)
    .join('\n')
}

/** A `case` pattern of all flags of a verb that are followed by a value of that kind. */
function followed({ flags }: Verb, takes: 'value' | 'file'): string {
  return flags
    .filter((flag) => flag.takes === takes)
    .flatMap(({ names }) => names)
    .join('|')
}

function bash(name: string, verbs: readonly Verb[]): string {
  const all = verbs.map(({ path }) => quoted(path)).join('|')
  const test = (takes: 'value' | 'file') =>
    cases(verbs, (verb) => {
      const pattern = followed(verb, takes)
      return pattern === '' ? '' : `case "$2" in ${pattern}) return 0 ;; esac`
    })
  const words = cases(verbs, ({ verbs: children, flags }) =>
    quoted([...children.map(([child]) => child), ...flags.flatMap(({ names }) => names)].join(' ')).replace(
      /^/,
      'echo ',
    ),
  )
  return `# Completions of ${name} for bash: source this file, or put it into ~/.local/share/bash-completion/completions/${name}.
_${name}_takes_file() {
  case "$1" in
${test('file')}
  esac
  return 1
}
_${name}_takes_value() {
  case "$1" in
${test('value')}
  esac
  return 1
}
_${name}_words() {
  case "$1" in
${words}
  esac
}
_${name}() {
  local verb='' word='' last='' i
  local current=\${COMP_WORDS[COMP_CWORD]}
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $last ]] && { _${name}_takes_file "$verb" "$last" || _${name}_takes_value "$verb" "$last"; }; then
      last=''
      continue
    fi
    last=$word
    case "\${verb:+$verb }$word" in
    ${all}) verb=\${verb:+$verb }$word ;;
    esac
  done
  COMPREPLY=()
  if _${name}_takes_file "$verb" "$last"; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif ! _${name}_takes_value "$verb" "$last"; then
    mapfile -t COMPREPLY < <(compgen -W "$(_${name}_words "$verb")" -- "$current")
  fi
}
complete -F _${name} ${name}`
}

function zsh(name: string, verbs: readonly Verb[]): string {
  // A colon parts a word from its description.
  const described = ([word, text]: [string, string]) => quoted(`${word.replaceAll(':', '\\:')}:${text}`)
  const words = cases(verbs, ({ verbs: children, flags }) => {
    const all = [
      ...children,
      ...flags.flatMap(({ names, description }) =>
        names.map((flag): [string, string] => [flag, description]),
      ),
    ]
    return all.length === 0 ? '' : `found=(${all.map(described).join(' ')})`
  })
  const takes = (kind: 'value' | 'file') =>
    cases(verbs, (verb) => {
      const pattern = followed(verb, kind)
      return pattern === '' ? '' : `case $word in ${pattern}) after=${kind} ;; esac`
    })
  return `#compdef ${name}
# Completions of ${name} for zsh: put this file as _${name} into a folder of $fpath.
_${name}_after() {
  local word=$2
  after=''
  case $1 in
${takes('file')}
  esac
  case $1 in
${takes('value')}
  esac
}
_${name}() {
  local verb='' word='' after='' i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    if [[ -n $after ]]; then
      after=''
      continue
    fi
    _${name}_after "$verb" "$word"
    case "\${verb:+$verb }$word" in
    ${verbs.map(({ path }) => quoted(path)).join('|')}) verb=\${verb:+$verb }$word ;;
    esac
  done
  if [[ $after == file ]]; then
    _files
    return
  fi
  [[ -n $after ]] && return
  case $verb in
${words}
  esac
  _describe '${name}' found
}
compdef _${name} ${name}`
}

function fish(name: string, verbs: readonly Verb[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  const valued = verbs.flatMap((verb) => {
    const names = verb.flags.filter(({ takes }) => takes !== 'nothing').flatMap((flag) => flag.names)
    return names.length === 0
      ? []
      : [`    case ${quote(verb.path)}\n      contains -- $argv[2] ${names.join(' ')}`]
  })
  const lines = verbs.flatMap(({ path, verbs: children, flags }) => {
    const where = `complete -c ${name} -n ${quote(`test (__${name}_verb) = ${quote(path)}`)}`
    return [
      ...children.map(([child, text]) => `${where} -f -a ${quote(child)} -d ${quote(text)}`),
      ...flags.map(({ names, description, takes }) => {
        const forms = names.map((flag) =>
          flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
        )
        const value = takes === 'nothing' ? '' : takes === 'file' ? ' -r -F' : ' -x'
        return `${where} ${forms.join(' ')}${value} -d ${quote(description)}`
      }),
    ]
  })
  return `# Completions of ${name} for fish: put this file into ~/.config/fish/completions/${name}.fish.
function __${name}_takes_value
  switch $argv[1]
${valued.join('\n')}
    case '*'
      return 1
  end
end
function __${name}_verb
  set -l verb ''
  set -l last ''
  for word in (commandline -opc)[2..-1]
    if test -n "$last"; and __${name}_takes_value "$verb" $last
      set last ''
      continue
    end
    set last $word
    set -l longer (string trim -- "$verb $word")
    if contains -- $longer ${verbs.flatMap(({ path }) => (path === '' ? [] : [quote(path)])).join(' ')}
      set verb $longer
    end
  end
  echo -- $verb
end
complete -c ${name} -f
${lines.join('\n')}`
}
