import { batch, createSignal, createUniqueId, For, type JSX, Show } from 'solid-js'
import { t } from '../texts/texts'
import { Check, Choice, Field as TextField } from '../ui/field'
import { PairsEditor } from '../ui/pairs'
import { ACTION_GROUPS, oneOrList, principalOf } from './shapes'
import type { Field } from './specs'
import { type Fields, isFields, textsOf, type Value } from './values'

interface Props {
  field: Field
  value: Value | undefined
  onChange: (value: Value | undefined) => void
}

/** The input for one field of a setting. A rule that has the field's opposite, such as NotAction, says so instead. */
export function FieldInput(props: Props & { of: Fields }) {
  return (
    <Show
      when={!Object.hasOwn(props.of, `Not${props.field.path[0]}`)}
      fallback={<p class="muted">{t('form.opposite', { name: `Not${props.field.path[0]}` })}</p>}
    >
      {/* A field's kind never changes: each input is made once. */}
      {INPUTS[props.field.kind](props)}
    </Show>
  )
}

const INPUTS: Readonly<Record<Field['kind'], (props: Props) => JSX.Element>> = {
  text: Text,
  date: Text,
  number: NumberInput,
  lines: (props) => <Lines {...props} read={textsOf} write={(lines) => listOf(props.field, lines)} />,
  places: (props) => (
    <Lines
      {...props}
      read={(value) => textsOf(value).map((name) => name.replace(ARN, ''))}
      write={(lines) =>
        oneOrList(lines.map((line) => (line.includes(':::') ? line : `arn:aws:s3:::${line}`)))
      }
    />
  ),
  pairs: Pairs,
  flag: Flag,
  choice: ChoiceInput,
  checks: Checks,
  principal: Principal,
  actions: Actions,
}

const ARN = /^arn:aws:s3:::/

/** Conditions of policies have one text or a list; settings always have lists. */
function listOf({ path }: Field, lines: string[]): Value | undefined {
  return path[0] === 'Condition' ? oneOrList(lines) : lines
}

function labelOf({ label }: Field): string {
  return t(label)
}

function Text(props: Props) {
  return (
    <TextField
      label={labelOf(props.field)}
      value={props.value === undefined ? '' : String(props.value)}
      onInput={(text) => props.onChange(text === '' ? undefined : text)}
      {...(props.field.hint && { hint: t(props.field.hint) })}
    />
  )
}

function NumberInput(props: Props) {
  return (
    <TextField
      label={labelOf(props.field)}
      type="number"
      value={props.value === undefined ? '' : String(props.value)}
      onInput={(text) => props.onChange(text === '' ? undefined : Number(text))}
      {...(props.field.hint && { hint: t(props.field.hint) })}
    />
  )
}

/** Texts, one a line. What is typed stays as it is, so that an empty line can be begun. */
function Lines(
  props: Props & {
    read: (value: Value | undefined) => string[]
    write: (lines: string[]) => Value | undefined
  },
) {
  const id = createUniqueId()
  const [text, setText] = createSignal(props.read(props.value).join('\n'))
  const linesOf = (typed: string) => typed.split('\n').filter((line) => line.trim() !== '')
  // Somebody else may change the value, the raw document for instance: then its lines count.
  const shown = () => {
    const now = props.read(props.value)
    return JSON.stringify(linesOf(text())) === JSON.stringify(now) ? text() : now.join('\n')
  }
  return (
    <div class="field">
      <label for={id}>{labelOf(props.field)}</label>
      <textarea
        id={id}
        rows="2"
        spellcheck={false}
        value={shown()}
        aria-describedby={props.field.hint && `${id}-hint`}
        onInput={(event) => {
          const { value } = event.currentTarget
          // At once: in between, what was typed would not be what the value says, and give way to it.
          batch(() => {
            setText(value)
            props.onChange(props.write(linesOf(value)))
          })
        }}
      />
      <Show when={props.field.hint}>
        {(hint) => (
          <small id={`${id}-hint`} class="muted">
            {t(hint())}
          </small>
        )}
      </Show>
    </div>
  )
}

function Pairs(props: Props) {
  const pairs = () =>
    (Array.isArray(props.value) ? props.value : [])
      .filter(isFields)
      .map(({ Key = '', Value = '' }) => [String(Key), String(Value)] as const)
  return (
    <fieldset class="field">
      <legend>{labelOf(props.field)}</legend>
      <PairsEditor
        pairs={pairs()}
        onChange={(next) => props.onChange(next.map(([Key, Value]): Fields => ({ Key, Value })))}
      />
    </fieldset>
  )
}

function Flag(props: Props) {
  return (
    <Check
      label={labelOf(props.field)}
      checked={props.value === true}
      onChange={(isOn) => props.onChange(isOn || undefined)}
    />
  )
}

function ChoiceInput(props: Props) {
  const options = () => {
    const { field } = props
    const known =
      field.kind === 'choice' ? field.options.map(([value, label]) => [value, t(label)] as const) : []
    const value = props.value === undefined ? '' : String(props.value)
    // What the form does not know is shown all the same, so that it is not changed by being looked at.
    return known.some(([each]) => each === value) ? known : [...known, [value, value] as const]
  }
  return (
    <Choice
      label={labelOf(props.field)}
      value={props.value === undefined ? '' : String(props.value)}
      options={options()}
      onChange={(value) => props.onChange(value === '' ? undefined : value)}
    />
  )
}

function Checks(props: Props) {
  const given = () => textsOf(props.value)
  const known = () => (props.field.kind === 'checks' ? props.field.options : [])
  const options = () => [...known(), ...given().filter((each) => !known().includes(each))]
  return (
    <fieldset class="field checks">
      <legend>{labelOf(props.field)}</legend>
      <For each={options()}>
        {(each) => (
          <Check
            label={each}
            checked={given().includes(each)}
            onChange={(isOn) =>
              props.onChange(isOn ? [...given(), each] : given().filter((name) => name !== each))
            }
          />
        )}
      </For>
    </fieldset>
  )
}

/** Who a statement is about: everybody, or some access keys. */
function Principal(props: Props) {
  const who = () => principalOf(props.value)
  const keys = () => who()?.keys ?? []
  return (
    <Show when={who()} fallback={<p class="muted">{t('policy.principal-other')}</p>}>
      {(known) => (
        <>
          <Choice
            label={labelOf(props.field)}
            value={known().isEverybody ? 'all' : 'keys'}
            options={[
              ['all', t('policy.principal-all')],
              ['keys', t('policy.principal-keys')],
            ]}
            onChange={(value) => props.onChange(value === 'all' ? '*' : { AWS: [] })}
          />
          <Show when={!known().isEverybody}>
            <Lines
              {...props}
              field={{ kind: 'lines', path: [], label: 'policy.keys', hint: 'policy.keys-hint' }}
              read={() => keys()}
              write={(lines) => ({ AWS: lines.length === 1 ? lines[0]! : lines })}
            />
          </Show>
        </>
      )}
    </Show>
  )
}

/** What a statement is about: the usual actions by a word, all others by their names. */
function Actions(props: Props) {
  const given = () => textsOf(props.value)
  const groups = Object.entries(ACTION_GROUPS) as [keyof typeof ACTION_GROUPS, string][]
  const others = () => given().filter((action) => !groups.some(([, name]) => name === action))
  const set = (actions: readonly string[]) => props.onChange(oneOrList(actions))
  return (
    <fieldset class="field checks">
      <legend>{labelOf(props.field)}</legend>
      <For each={groups}>
        {([group, action]) => (
          <Check
            label={t(`policy.${group}`)}
            checked={given().includes(action)}
            onChange={(isOn) => set(isOn ? [...given(), action] : given().filter((each) => each !== action))}
          />
        )}
      </For>
      <Lines
        {...props}
        field={{ kind: 'lines', path: [], label: 'policy.other-actions', hint: 'policy.other-actions-hint' }}
        read={() => others()}
        write={(lines) => oneOrList([...given().filter((action) => !others().includes(action)), ...lines])}
      />
    </fieldset>
  )
}
