import { For, type JSX, Show } from 'solid-js'
import { t } from '../texts/texts'

/** A table with a row for each thing. The heads of its columns are texts; that of buttons is told to screen readers alone. */
export function List<T>(props: {
  columns: readonly string[]
  rows: readonly T[]
  hasActions?: boolean
  class?: string
  children: (row: T) => JSX.Element
}) {
  return (
    <table class={`list ${props.class ?? ''}`}>
      <thead>
        <tr>
          <For each={props.columns}>{(column) => <th>{column}</th>}</For>
          <Show when={props.hasActions}>
            <th>
              <span class="hidden">{t('actions')}</span>
            </th>
          </Show>
        </tr>
      </thead>
      <tbody>
        <For each={props.rows}>{(row) => props.children(row)}</For>
      </tbody>
    </table>
  )
}
