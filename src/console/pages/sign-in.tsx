import { createSignal, Show } from 'solid-js'
import { admin } from '../net/admin'
import { listBuckets } from '../net/s3'
import { signIn } from '../session'
import { settings } from '../settings'
import { t } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Field } from '../ui/field'
import { Form } from '../ui/form'

/** Sign-in by an access key or an admin token. What is typed is tried before it is taken; the secret is never sent. */
export function SignIn() {
  const [way, setWay] = createSignal<'key' | 'token'>('key')
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
      await admin('GetCurrentAdminTokenInfo', { as: adminToken })
      signIn({ adminToken })
    }
  })
  const choose = (next: 'key' | 'token') => {
    enter.clear()
    setWay(next)
  }
  return (
    <main class="sign-in">
      <Form class="card" onSend={() => void enter.start()}>
        <h1>
          <img src="/console/icon.svg" alt="" width="32" height="32" /> Carport
        </h1>
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
        <button type="submit" class="button primary" disabled={enter.busy()}>
          {t('sign-in')}
        </button>
        <small class="muted">{settings().version}</small>
      </Form>
    </main>
  )
}
