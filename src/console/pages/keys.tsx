import { createSignal, For, Show } from 'solid-js'
import type { KeyInfo, KeyListItem } from '../../api/admin/types.js'
import { admin } from '../net/admin'
import { session } from '../session'
import { t, when } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command, Copyable } from '../ui/copy'
import { Dialog } from '../ui/dialog'
import { Field } from '../ui/field'
import { createLoad, Load } from '../ui/load'

export default function Keys() {
  const list = createLoad(
    () => session().adminToken,
    () => admin<KeyListItem[]>('ListKeys'),
  )
  const [making, setMaking] = createSignal(false)
  const [doomed, setDoomed] = createSignal<KeyListItem>()
  const remove = createAction(async (id: string) => {
    await admin('DeleteKey', { query: { id }, body: {} })
    setDoomed(undefined)
    list.reload()
  })
  return (
    <>
      <header class="page-head">
        <h1>{t('menu.keys')}</h1>
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          {t('key.create')}
        </button>
      </header>
      <Load of={list}>
        {(keys) => (
          <Show when={keys().length > 0} fallback={<p class="empty">{t('key.none')}</p>}>
            <table class="list">
              <thead>
                <tr>
                  <th>{t('name')}</th>
                  <th>{t('sign-in.key-id')}</th>
                  <th>{t('created')}</th>
                  <th>
                    <span class="hidden">{t('actions')}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                <For each={keys()}>
                  {(key) => (
                    <tr>
                      <td>{key.name}</td>
                      <td class="mono">{key.id}</td>
                      <td class="muted">{key.created ? when(key.created) : ''}</td>
                      <td class="actions">
                        <button
                          type="button"
                          class="button danger"
                          aria-label={t('key.delete-named', { name: key.name })}
                          onClick={() => setDoomed(key)}
                        >
                          {t('delete')}
                        </button>
                      </td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
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
      <Dialog
        open={doomed() !== undefined}
        onClose={() => setDoomed(undefined)}
        title={t('key.delete-named', { name: doomed()?.name ?? '' })}
        description={t('key.delete-warning')}
      >
        <ErrorNote text={remove.error()} />
        <Command text={`carport key delete --yes ${doomed()?.id ?? ''}`} />
        <footer>
          <button
            type="button"
            class="button danger"
            disabled={remove.busy()}
            onClick={() => void remove.start(doomed()!.id)}
          >
            {t('delete')}
          </button>
        </footer>
      </Dialog>
    </>
  )
}

function NewKey(props: { open: boolean; onClose: () => void }) {
  const [name, setName] = createSignal('')
  const [made, setMade] = createSignal<KeyInfo>()
  const make = createAction(async () => {
    setMade(await admin<KeyInfo>('CreateKey', { body: { name: name() } }))
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
          <form
            onSubmit={(event) => {
              event.preventDefault()
              void make.start()
            }}
          >
            <Field label={t('name')} value={name()} onInput={setName} required />
            <ErrorNote text={make.error()} />
            <Command text={`carport key create ${name() || 'NAME'}`} />
            <footer>
              <button type="submit" class="button primary" disabled={make.busy()}>
                {t('create')}
              </button>
            </footer>
          </form>
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
