import { type Accessor, createEffect, createSignal, For, on, Show } from 'solid-js'
import type { AdminTokenInfo } from '../../api/admin/types.js'
import type { ConsoleProvider } from '../../api/console/settings.js'
import { admin } from '../net/admin'
import { listBuckets } from '../net/s3'
import { session, sessionEnd, signIn, signOut } from '../session'
import { settings } from '../settings'
import { t } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Dialog } from '../ui/dialog'
import { Choice, Field } from '../ui/field'
import { Form } from '../ui/form'

/** The page of those who are not signed in. `problem`: why an attempt with an identity provider failed. */
export function SignIn(props: { problem: string | undefined }) {
  return (
    <main class="sign-in">
      <div class="card sign-in-card">
        <h1>
          <img src="/console/icon.svg" alt="" width="32" height="32" /> Carport
        </h1>
        <ErrorNote text={props.problem} />
        <Ways isDialog={false} />
        <small class="muted">{settings().version}</small>
      </div>
    </main>
  )
}

/** Says that the session is over, above the page, which stays as it is. */
export function SignInAgain() {
  return (
    <Dialog
      open={sessionEnd() !== undefined}
      onClose={() => undefined}
      isFixed
      title={t('session.over')}
      description={`${sessionEnd() ?? ''} ${t('session.nothing-lost')}`}
    >
      <Ways isDialog />
      <footer>
        <button type="button" class="button" onClick={signOut}>
          {t('sign-out')}
        </button>
      </footer>
    </Dialog>
  )
}

/** Sign-in by a second way: a key for objects beside an admin token, or the other way round. */
export function SignInMore(props: { open: boolean; onClose: () => void }) {
  createEffect(on(session, () => props.onClose(), { defer: true }))
  return (
    <Dialog
      open={props.open}
      onClose={props.onClose}
      title={t('sign-in.more')}
      description={t('sign-in.more-hint')}
    >
      <Ways isDialog />
    </Dialog>
  )
}

/** The ways to sign in. */
function Ways(props: { isDialog: boolean }) {
  const [way, setWay] = createSignal<'key' | 'token'>(props.isDialog && isTokenWanted() ? 'token' : 'key')
  return (
    <>
      <For each={settings().providers}>{(provider) => <ByProvider provider={provider} />}</For>
      <Show when={settings().providers.length > 0}>
        <p class="muted or">{t('sign-in.or')}</p>
      </Show>
      <ByHand way={way} onChoose={setWay} />
    </>
  )
}

/** Whether it is the token that has to be typed: that of the session which is over, or the one that it lacks. */
function isTokenWanted(): boolean {
  return sessionEnd() === undefined ? session().adminToken === undefined : session().key === undefined
}

/** Leaves the page for an identity provider's, perhaps with a role in mind. */
function ByProvider(props: { provider: ConsoleProvider }) {
  const [role, setRole] = createSignal(session().login?.role ?? '')
  const leave = createAction(async () => {
    const { beginSignIn } = await import('../net/oidc')
    await beginSignIn(props.provider, role())
  })
  return (
    <Form onSend={() => void leave.start()}>
      <Show when={props.provider.roles.length > 1}>
        <Choice
          label={t('oidc.role')}
          value={role()}
          options={[['', t('oidc.any-role')], ...props.provider.roles.map((name) => [name, name] as const)]}
          onChange={setRole}
        />
      </Show>
      <ErrorNote text={leave.error()} />
      <button type="submit" class="button primary fill" disabled={leave.busy()}>
        {t('oidc.sign-in', { name: props.provider.name })}
      </button>
    </Form>
  )
}

/** Sign-in by an access key or an admin token. What is typed is tried before it is taken; the secret is never sent. */
function ByHand(props: { way: Accessor<'key' | 'token'>; onChoose: (way: 'key' | 'token') => void }) {
  const way = () => props.way()
  const [accessKeyId, setAccessKeyId] = createSignal('')
  const [secret, setSecret] = createSignal('')
  const [token, setToken] = createSignal('')
  const enter = createAction(async () => {
    if (way() === 'key') {
      const key = { accessKeyId: accessKeyId().trim(), secret: secret().trim() }
      await listBuckets(key)
      signIn({ key })
    } else {
      const adminToken = token().trim()
      const { scope } = await admin<AdminTokenInfo>('GetCurrentAdminTokenInfo', { as: adminToken })
      signIn({ adminToken, scope })
    }
  })
  const choose = (next: 'key' | 'token') => {
    enter.clear()
    props.onChoose(next)
  }
  return (
    <Form onSend={() => void enter.start()}>
      <div class="ways" role="group" aria-label={t('sign-in.way')}>
        <button type="button" aria-pressed={way() === 'key'} onClick={() => choose('key')}>
          {t('sign-in.key')}
        </button>
        <button type="button" aria-pressed={way() === 'token'} onClick={() => choose('token')}>
          {t('sign-in.token')}
        </button>
      </div>
      <Show
        when={way() === 'key'}
        fallback={
          <Field
            label={t('sign-in.token')}
            type="password"
            value={token()}
            onInput={setToken}
            required
            hint={t('sign-in.token-hint')}
          />
        }
      >
        <Field
          label={t('sign-in.key-id')}
          value={accessKeyId()}
          onInput={setAccessKeyId}
          required
          autocomplete="username"
        />
        <Field
          label={t('sign-in.secret')}
          type="password"
          value={secret()}
          onInput={setSecret}
          required
          autocomplete="current-password"
          hint={t('sign-in.secret-hint')}
        />
      </Show>
      <ErrorNote text={enter.error()} />
      <button type="submit" class="button primary fill" disabled={enter.busy()}>
        {t('sign-in')}
      </button>
    </Form>
  )
}
