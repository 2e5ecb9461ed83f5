import { type Accessor, createResource, type JSX, Match, onCleanup, Switch } from 'solid-js'
import { explain } from '../net/errors'
import { t } from '../texts/texts'
import { ErrorNote } from './action'

/** Something that is asked of the node, and asked again every so often, in ms. */
export function createLoad<S, T>(
  source: Accessor<S | false | undefined>,
  load: (source: S) => Promise<T>,
  everyMs?: number,
) {
  const [value, { refetch, mutate }] = createResource(source, (given: S) => load(given))
  if (everyMs !== undefined) {
    const timer = setInterval(
      () => document.visibilityState === 'visible' && !value.loading && refetch(),
      everyMs,
    )
    onCleanup(() => clearInterval(timer))
  }
  return { value, reload: () => void refetch(), mutate }
}

type Loaded<T> = ReturnType<typeof createLoad<unknown, T>>

/** Shows what was loaded; while it is on its way, or went wrong, says so. What is there stays while it is asked again. */
export function Load<T>(props: {
  of: Pick<Loaded<T>, 'value' | 'reload'>
  children: (value: Accessor<T>) => JSX.Element
}) {
  const latest = () => (props.of.value.error === undefined ? props.of.value.latest : undefined)
  return (
    <Switch>
      <Match when={props.of.value.error !== undefined}>
        <ErrorNote text={explain(props.of.value.error)}>
          <button type="button" class="button" onClick={() => props.of.reload()}>
            {t('try-again')}
          </button>
        </ErrorNote>
      </Match>
      <Match when={latest() !== undefined}>{props.children(() => latest() as T)}</Match>
      <Match when={true}>
        <p class="muted" role="status">
          {t('loading')}
        </p>
      </Match>
    </Switch>
  )
}
