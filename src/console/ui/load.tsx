import { type Accessor, createEffect, createSignal, type JSX, on, onCleanup, Show, untrack } from 'solid-js'
import { explain } from '../net/errors'
import { session } from '../session'
import { t } from '../texts/texts'
import { ErrorNote } from './action'

/** Something that was asked of the node. */
export interface Loaded<T> {
  /** What came last; it stays while it is asked again, and when that fails. */
  readonly latest: Accessor<T | undefined>
  /** Why the last question failed. */
  readonly error: Accessor<unknown>
  readonly isLoading: Accessor<boolean>
  reload(): void
}

/**
 * Something that is asked of the node: when `source` changes and has a value, after each sign-in, and every so often, in ms.
 */
export function createLoad<S, T>(
  source: Accessor<S | false | undefined>,
  load: (source: S) => Promise<T>,
  everyMs?: number,
): Loaded<T> {
  const [latest, setLatest] = createSignal<T>()
  const [error, setError] = createSignal<unknown>()
  const [isLoading, setLoading] = createSignal(false)
  let asked: S | undefined
  let turn = 0
  const ask = async () => {
    const given = untrack(source)
    if (given === undefined || given === false) return
    if (given !== asked) setLatest(undefined)
    asked = given
    const mine = ++turn
    setLoading(true)
    try {
      const found = await load(given)
      if (mine !== turn) return
      setLatest(() => found)
      setError(undefined)
    } catch (thrown) {
      if (mine === turn) setError(thrown)
    } finally {
      if (mine === turn) setLoading(false)
    }
  }
  createEffect(on([source, session], () => void ask()))
  if (everyMs !== undefined) {
    const timer = setInterval(
      () => document.visibilityState === 'visible' && !untrack(isLoading) && void ask(),
      everyMs,
    )
    onCleanup(() => clearInterval(timer))
  }
  onCleanup(() => {
    turn++
  })
  return { latest, error, isLoading, reload: () => void ask() }
}

/** Shows what was loaded, and what went wrong since; what is there, and what was typed into it, stays. */
export function Load<T>(props: {
  of: Pick<Loaded<T>, 'latest' | 'error' | 'reload'>
  children: (value: Accessor<T>) => JSX.Element
}) {
  return (
    <>
      <Show when={props.of.error() !== undefined}>
        <ErrorNote text={explain(props.of.error())}>
          <button type="button" class="button" onClick={() => props.of.reload()}>
            {t('try-again')}
          </button>
        </ErrorNote>
      </Show>
      <Show
        when={props.of.latest() !== undefined}
        fallback={
          <Show when={props.of.error() === undefined}>
            <p class="muted" role="status">
              {t('loading')}
            </p>
          </Show>
        }
      >
        {props.children(() => props.of.latest() as T)}
      </Show>
    </>
  )
}
