import type { JSX } from 'solid-js'
import { createUniqueId, For, Show } from 'solid-js'

/** A labelled input. */
export function Field(
  props: {
    label: string
    value: string
    onInput: (value: string) => void
    hint?: string
  } & Pick<
    JSX.InputHTMLAttributes<HTMLInputElement>,
    'type' | 'required' | 'autocomplete' | 'placeholder' | 'pattern'
  >,
) {
  const id = createUniqueId()
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type={props.type ?? 'text'}
        value={props.value}
        required={props.required}
        pattern={props.pattern}
        autocomplete={props.autocomplete ?? 'off'}
        placeholder={props.placeholder}
        spellcheck={false}
        aria-describedby={props.hint ? `${id}-hint` : undefined}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      <Show when={props.hint}>
        <small id={`${id}-hint`} class="muted">
          {props.hint}
        </small>
      </Show>
    </div>
  )
}

/** A labelled choice of one of several values. */
export function Choice(props: {
  label: string
  value: string
  options: readonly (readonly [value: string, text: string])[]
  onChange: (value: string) => void
}) {
  const id = createUniqueId()
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select id={id} onChange={(event) => props.onChange(event.currentTarget.value)}>
        <For each={props.options}>
          {([value, text]) => (
            <option value={value} selected={value === props.value}>
              {text}
            </option>
          )}
        </For>
      </select>
    </div>
  )
}

/** A labelled box to check. */
export function Check(props: {
  label: string
  checked: boolean
  disabled?: boolean
  onChange: (checked: boolean) => void
}) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={props.checked}
        disabled={props.disabled}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />{' '}
      {props.label}
    </label>
  )
}
