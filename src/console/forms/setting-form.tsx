import { createMemo, For, Index, Show } from 'solid-js'
import type { DocumentName } from '../net/bucket-documents'
import { t } from '../texts/texts'
import { type Form, readDocument, writeDocument } from './documents'
import { FieldInput } from './fields'
import { SPECS, type Spec, WEBSITE } from './specs'
import { at, type Fields, isEmpty, isFields, type Value, withAt } from './values'

/**
 * A setting as a form. Its text is what counts: the form reads it, and writes it with every change. What the form has no
 * field for stays in the text as it is.
 */
export function SettingForm(props: {
  name: DocumentName
  form: Form
  bucket: string
  text: string
  onText: (text: string) => void
}) {
  const read = createMemo((): { value?: Value | undefined; problem?: string } => {
    try {
      return { value: readDocument(props.name, props.form, props.text) }
    } catch (error) {
      return { problem: (error as Error).message }
    }
  })
  const change = (value: Value | undefined) => props.onText(writeDocument(props.name, props.form, value))
  const specs = () => {
    if (props.name !== 'website') return [SPECS[props.name]]
    const { whole, rules } = WEBSITE[props.form]
    return [whole, rules]
  }
  return (
    <Show
      when={read().problem === undefined}
      fallback={<p class="note error">{t('form.unclear', { problem: read().problem ?? '' })}</p>}
    >
      <For each={specs()}>
        {(spec) => (
          <Show when={spec.rules} fallback={<Whole spec={spec} value={read().value} onChange={change} />}>
            {(rules) => (
              <Rules spec={spec} of={rules()} bucket={props.bucket} value={read().value} onChange={change} />
            )}
          </Show>
        )}
      </For>
    </Show>
  )
}

/** The fields of a setting that is one thing. */
function Whole(props: {
  spec: Spec
  value: Value | undefined
  onChange: (value: Value | undefined) => void
}) {
  const fields = () => (isFields(props.value) ? props.value : {})
  const set = (path: readonly string[], next: Value | undefined) => {
    if (path.length === 0) {
      props.onChange(isEmpty(next) ? undefined : next)
      return
    }
    const changed = withAt(fields(), path, next)
    const { always = {}, fields: known } = props.spec
    const isOnlyAlways = Object.keys(changed).every(
      (name) => Object.hasOwn(always, name) && !known.some((field) => field.path[0] === name),
    )
    props.onChange(isOnlyAlways ? undefined : { ...always, ...changed })
  }
  return (
    <div class="form-fields">
      <For each={props.spec.fields}>
        {(field) => (
          <FieldInput
            field={field}
            of={fields()}
            value={field.path.length === 0 ? props.value : at(fields(), field.path)}
            onChange={(next) => set(field.path, next)}
          />
        )}
      </For>
    </div>
  )
}

/** The rules of a setting that is a list of them. */
function Rules(props: {
  spec: Spec
  of: NonNullable<Spec['rules']>
  bucket: string
  value: Value | undefined
  onChange: (value: Value | undefined) => void
}) {
  const rules = () => props.of.read(props.value)
  const change = (next: Fields[]) => {
    const value = props.of.write(next, props.value)
    const isGone = next.length === 0 && !(isFields(value) && hasMore(value))
    props.onChange(isGone ? undefined : value)
  }
  return (
    <>
      <Index each={rules()}>
        {(rule, i) => (
          <fieldset class="rule">
            <legend>{t('form.rule', { number: i + 1 })}</legend>
            <div class="form-fields">
              <For each={props.spec.fields}>
                {(field) => (
                  <FieldInput
                    field={field}
                    of={rule()}
                    value={at(rule(), field.path)}
                    onChange={(next) =>
                      change(rules().map((each, j) => (j === i ? withAt(each, field.path, next) : each)))
                    }
                  />
                )}
              </For>
            </div>
            <button
              type="button"
              class="button danger"
              onClick={() => change(rules().filter((_, j) => j !== i))}
            >
              {t('form.remove-rule', { number: i + 1 })}
            </button>
          </fieldset>
        )}
      </Index>
      <button type="button" class="button" onClick={() => change([...rules(), props.of.made(props.bucket)])}>
        {t('form.add-rule')}
      </button>
    </>
  )
}

/** Whether there is more in a setting than an empty list of rules: the index of a web site, for instance. */
function hasMore(value: Fields): boolean {
  return Object.entries(value).some(
    ([name, each]) => !['Version', 'Id', 'Statement', 'enabled'].includes(name) && !isEmpty(each),
  )
}
