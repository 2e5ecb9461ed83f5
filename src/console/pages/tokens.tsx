import { createSignal, Show } from 'solid-js'
import type { AdminTokenInfo } from '../../api/admin/types.js'
import { word } from '../commands'
import { admin } from '../net/admin'
import { may, session } from '../session'
import { t, when } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command, Copyable } from '../ui/copy'
import { Deletion } from '../ui/deletion'
import { Dialog } from '../ui/dialog'
import { Field } from '../ui/field'
import { Form } from '../ui/form'
import { List } from '../ui/list'
import { createLoad, Load } from '../ui/load'

export default function Tokens() {
  const list = createLoad(
    () => session().adminToken,
    () => admin<AdminTokenInfo[]>('ListAdminTokens'),
  )
  const [making, setMaking] = createSignal(false)
  const [doomed, setDoomed] = createSignal<AdminTokenInfo>()
  return (
    <>
      <header class="page-head">
        <h1>{t('menu.tokens')}</h1>
        <Show when={may('CreateAdminToken')}>
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            {t('token.create')}
          </button>
        </Show>
      </header>
      <Load of={list}>
        {(tokens) => (
          <List columns={[t('name'), t('token.scope'), t('token.expires')]} rows={tokens()} hasActions>
            {(token) => (
              <tr>
                <td>{token.name}</td>
                <td class="mono">{token.scope.join(', ')}</td>
                <td class="muted">{token.expiration ? when(token.expiration) : t('token.never')}</td>
                <td class="actions">
                  <Show when={token.id && may('DeleteAdminToken')}>
                    <button
                      type="button"
                      class="button danger"
                      aria-label={t('token.delete-named', { name: token.name })}
                      onClick={() => setDoomed(token)}
                    >
                      {t('delete')}
                    </button>
                  </Show>
                </td>
              </tr>
            )}
          </List>
        )}
      </Load>
      <NewToken
        open={making()}
        onClose={() => {
          setMaking(false)
          list.reload()
        }}
      />
      <Deletion
        doomed={doomed()}
        title={t('token.delete-named', { name: doomed()?.name ?? '' })}
        warning={t('token.delete-warning')}
        command={`carport admin-token delete --yes ${doomed()?.id ?? ''}`}
        onDelete={async (token) => {
          await admin('DeleteAdminToken', { query: { id: token.id! }, body: {} })
          list.reload()
        }}
        onClose={() => setDoomed(undefined)}
      />
    </>
  )
}

function NewToken(props: { open: boolean; onClose: () => void }) {
  const [name, setName] = createSignal('')
  const [scope, setScope] = createSignal('*')
  const [days, setDays] = createSignal('')
  const [made, setMade] = createSignal<AdminTokenInfo & { secretToken: string }>()
  const make = createAction(async () => {
    const lasting = Number(days())
    const expiration = lasting > 0 ? new Date(Date.now() + lasting * 86_400_000).toISOString() : undefined
    const body = {
      ...{
        name: name(),
        scope: scope()
          .split(/[\s,]+/)
          .filter(Boolean),
      },
      ...(expiration ? { expiration } : { neverExpires: true }),
    }
    setMade(await admin<AdminTokenInfo & { secretToken: string }>('CreateAdminToken', { body }))
  })
  const close = () => {
    setMade(undefined)
    setName('')
    props.onClose()
  }
  return (
    <Dialog open={props.open} onClose={close} title={t('token.create')}>
      <Show
        when={made()}
        fallback={
          <Form onSend={() => void make.start()}>
            <Field label={t('name')} value={name()} onInput={setName} required />
            <Field
              label={t('token.scope')}
              value={scope()}
              onInput={setScope}
              required
              hint={t('token.scope-hint')}
            />
            <Field
              label={t('token.days')}
              type="number"
              value={days()}
              onInput={setDays}
              hint={t('token.days-hint')}
            />
            <ErrorNote text={make.error()} />
            <Command
              text={`carport admin-token create ${word(name() || 'NAME')} --scope ${word(scope())}${Number(days()) > 0 ? ` --expires-in ${days()}d` : ''}`}
            />
            <footer>
              <button type="submit" class="button primary" disabled={make.busy()}>
                {t('create')}
              </button>
            </footer>
          </Form>
        }
      >
        {(token) => (
          <>
            <p class="note">{t('key.shown-once')}</p>
            <Copyable text={token().secretToken} label={t('sign-in.token')} />
          </>
        )}
      </Show>
    </Dialog>
  )
}
