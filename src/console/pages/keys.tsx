import { createSignal, Show } from 'solid-js'
import type { KeyInfo, KeyListItem } from '../../api/admin/types.js'
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

export default function Keys() {
  const list = createLoad(
    () => session().adminToken,
    () => admin<KeyListItem[]>('ListKeys'),
  )
  const [making, setMaking] = createSignal(false)
  const [doomed, setDoomed] = createSignal<KeyListItem>()
  return (
    <>
      <header class="page-head">
        <h1>{t('menu.keys')}</h1>
        <Show when={may('CreateKey')}>
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            {t('key.create')}
          </button>
        </Show>
      </header>
      <Load of={list}>
        {(keys) => (
          <Show when={keys().length > 0} fallback={<p class="empty">{t('key.none')}</p>}>
            <List
              columns={[t('name'), t('sign-in.key-id'), t('created'), t('token.expires')]}
              rows={keys()}
              hasActions
            >
              {(key) => (
                <tr>
                  <td>{key.name}</td>
                  <td class="mono">{key.id}</td>
                  <td class="muted">{key.created ? when(key.created) : ''}</td>
                  <td class="muted">{key.expiration ? when(key.expiration) : t('token.never')}</td>
                  <td class="actions">
                    <Show when={may('DeleteKey')}>
                      <button
                        type="button"
                        class="button danger"
                        aria-label={t('key.delete-named', { name: key.name })}
                        onClick={() => setDoomed(key)}
                      >
                        {t('delete')}
                      </button>
                    </Show>
                  </td>
                </tr>
              )}
            </List>
          </Show>
        )}
      </Load>
      <NewKey
        open={making()}
        onClose={() => {
          setMaking(false)
          list.reload()
        }}
      />
      <Deletion
        doomed={doomed()}
        title={t('key.delete-named', { name: doomed()?.name ?? '' })}
        warning={t('key.delete-warning')}
        command={`carport key delete --yes ${doomed()?.id ?? ''}`}
        onDelete={async (key) => {
          await admin('DeleteKey', { query: { id: key.id }, body: {} })
          list.reload()
        }}
        onClose={() => setDoomed(undefined)}
      />
    </>
  )
}

function NewKey(props: { open: boolean; onClose: () => void }) {
  const [name, setName] = createSignal('')
  const [days, setDays] = createSignal('')
  const [made, setMade] = createSignal<KeyInfo>()
  const make = createAction(async () => {
    const lasting = Number(days())
    const end =
      lasting > 0
        ? { expiration: new Date(Date.now() + lasting * 86_400_000).toISOString() }
        : { neverExpires: true }
    setMade(await admin<KeyInfo>('CreateKey', { body: { name: name(), ...end } }))
  })
  const close = () => {
    setMade(undefined)
    setName('')
    props.onClose()
  }
  return (
    <Dialog open={props.open} onClose={close} title={t('key.create')}>
      <Show
        when={made()}
        fallback={
          <Form onSend={() => void make.start()}>
            <Field label={t('name')} value={name()} onInput={setName} required />
            <Field
              label={t('token.days')}
              type="number"
              value={days()}
              onInput={setDays}
              hint={t('token.days-hint')}
            />
            <ErrorNote text={make.error()} />
            <Command
              text={`carport key create ${word(name() || 'NAME')}${Number(days()) > 0 ? ` --expires-in ${days()}d` : ''}`}
            />
            <footer>
              <button type="submit" class="button primary" disabled={make.busy()}>
                {t('create')}
              </button>
            </footer>
          </Form>
        }
      >
        {(key) => (
          <>
            <p class="note">{t('key.shown-once')}</p>
            <div class="field">
              <span>{t('sign-in.key-id')}</span>
              <Copyable text={key().accessKeyId} label={t('sign-in.key-id')} />
            </div>
            <div class="field">
              <span>{t('sign-in.secret')}</span>
              <Copyable text={key().secretAccessKey ?? ''} label={t('sign-in.secret')} />
            </div>
          </>
        )}
      </Show>
    </Dialog>
  )
}
