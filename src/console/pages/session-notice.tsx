import { createEffect, createSignal, onCleanup, Show } from 'solid-js'
import { endSession, type SessionKey, session, signIn } from '../session'
import { settings } from '../settings'
import { t, when } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'

/** Temporary keys are renewed, or their end is told, so long before it, in ms. */
const AHEAD_MS = 5 * 60_000
/** The longest time that browsers' timers take, in ms. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** Renews temporary keys before they end; where that cannot be, says when they do. */
export function SessionNotice() {
  const [isEnding, setEnding] = createSignal(false)
  const provider = () => settings().providers.find(({ name }) => name === session().login?.provider)
  const again = createAction(async () => {
    const { beginSignIn } = await import('../net/oidc')
    await beginSignIn(provider()!, session().login!.role)
  })
  createEffect(() => {
    const { key, login } = session()
    setEnding(false)
    if (key?.expiresMs === undefined) return
    const stopWaiting = at(key.expiresMs - AHEAD_MS, async () => {
      const renewed = login && (await renew(key))
      if (!renewed) setEnding(session().key === key)
    })
    const stopEnd = at(key.expiresMs, () => session().key === key && endSession(t('session.expired')))
    onCleanup(() => {
      stopWaiting()
      stopEnd()
    })
  })
  return (
    <Show when={isEnding() && session().key?.expiresMs}>
      {(end) => (
        <div class="note" role="status">
          <p>{t('session.ends', { time: when(end()) })}</p>
          <ErrorNote text={again.error()} />
          <Show when={provider()}>
            <button type="button" class="button" disabled={again.busy()} onClick={() => void again.start()}>
              {t('session.again')}
            </button>
          </Show>
        </div>
      )}
    </Show>
  )
}

/** Whether there are new keys in the place of `key`. */
async function renew(key: SessionKey): Promise<boolean> {
  const { login } = session()
  const { renewSignIn } = await import('../net/oidc')
  const renewed = await renewSignIn(login!).catch(() => undefined)
  // Whoever signed out, or in again, meanwhile stays so.
  if (renewed && session().key === key) signIn(renewed)
  return renewed !== undefined
}

/** Calls `run` at a time, however far away; the result stops that. */
function at(timeMs: number, run: () => unknown): () => void {
  let timer: ReturnType<typeof setTimeout>
  const wait = () => {
    const leftMs = timeMs - Date.now()
    timer = setTimeout(leftMs > TIMER_MS_MAX ? wait : run, Math.min(TIMER_MS_MAX, Math.max(0, leftMs)))
  }
  wait()
  return () => clearTimeout(timer)
}
