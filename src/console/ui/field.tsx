import type { JSX } from 'solid-js'
import { createUniqueId, Show } from 'solid-js'

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
