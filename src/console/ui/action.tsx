import { createSignal, type JSX, Show } from 'solid-js'
import { explain } from '../net/errors'

/** Runs one thing at a time, and keeps what went wrong. */
export function createAction<A extends unknown[]>(run: (...args: A) => Promise<void>) {
  const [busy, setBusy] = createSignal(false)
  const [error, setError] = createSignal<string>()
  return {
    busy,
    error,
    clear: () => setError(undefined),
    async start(...args: A): Promise<boolean> {
      if (busy()) return false
      setBusy(true)
      setError(undefined)
      try {
        await run(...args)
        return true
      } catch (thrown) {
        setError(explain(thrown))
        return false
      } finally {
        setBusy(false)
      }
    },
  }
}

/** What went wrong, told to screen readers as well. */
export function ErrorNote(props: { text: string | undefined; children?: JSX.Element }) {
  return (
    <Show when={props.text}>
      <div class="note error" role="alert">
        <p>{props.text}</p>
        {props.children}
      </div>
    </Show>
  )
}
