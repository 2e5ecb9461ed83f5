import { A } from '@solidjs/router'
import { createSignal, Show } from 'solid-js'
import type { BucketListItem } from '../../api/admin/types.js'
import { encode } from '../../client/sign.js'
import { admin } from '../net/admin'
import { listBuckets, s3 } from '../net/s3'
import { may, session } from '../session'
import { t, when } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command } from '../ui/copy'
import { Dialog } from '../ui/dialog'
import { Field } from '../ui/field'
import { Form } from '../ui/form'
import { List } from '../ui/list'
import { createLoad, Load } from '../ui/load'
import { folderPlace } from './objects/place'

interface Row {
  readonly name: string
  readonly created: string
  /** Whether this user's key may list it. */
  readonly isOpen: boolean
}

/** The buckets that this user may see: those of the access key, and with an admin token all. */
async function rows(): Promise<Row[]> {
  const { key } = session()
  const found = new Map<string, Row>()
  if (may('ListBuckets')) {
    for (const { globalAliases, localAliases, id, created } of await admin<BucketListItem[]>('ListBuckets')) {
      const name = globalAliases[0] ?? localAliases[0]?.alias ?? id
      found.set(name, { name, created, isOpen: false })
    }
  }
  if (key)
    for (const { name, created } of await listBuckets()) found.set(name, { name, created, isOpen: true })
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

export default function Buckets() {
  const list = createLoad(() => session(), rows)
  const [search, setSearch] = createSignal('')
  const [making, setMaking] = createSignal(false)
  const shown = (all: Row[]) => all.filter(({ name }) => name.includes(search().trim()))
  return (
    <>
      <header class="page-head">
        <h1>{t('menu.buckets')}</h1>
        <input
          type="search"
          aria-label={t('search')}
          placeholder={t('search')}
          value={search()}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        <Show when={session().key !== undefined || may('CreateBucket')}>
          <button type="button" class="button primary" onClick={() => setMaking(true)}>
            {t('bucket.create')}
          </button>
        </Show>
      </header>
      <Load of={list}>
        {(all) => (
          <Show when={all().length > 0} fallback={<p class="empty">{t('bucket.none')}</p>}>
            <List columns={[t('name'), t('created')]} rows={shown(all())} hasActions>
              {(row) => (
                <tr>
                  <td>
                    <Show when={row.isOpen} fallback={row.name}>
                      <A href={folderPlace(row.name, '')}>{row.name}</A>
                    </Show>
                  </td>
                  <td class="muted">{when(row.created)}</td>
                  <td class="actions">
                    <A
                      href={`/bucket-settings/${encode(row.name)}`}
                      aria-label={`${t('settings.of')}: ${row.name}`}
                    >
                      {t('settings.of')}
                    </A>
                  </td>
                </tr>
              )}
            </List>
          </Show>
        )}
      </Load>
      <NewBucket
        open={making()}
        onClose={(made) => {
          setMaking(false)
          if (made) list.reload()
        }}
      />
    </>
  )
}

function NewBucket(props: { open: boolean; onClose: (made: boolean) => void }) {
  const [name, setName] = createSignal('')
  const make = createAction(async () => {
    if (session().key) await s3({ method: 'PUT', bucket: name() })
    else await admin('CreateBucket', { body: { globalAlias: name() } })
    props.onClose(true)
    setName('')
  })
  return (
    <Dialog open={props.open} onClose={() => props.onClose(false)} title={t('bucket.create')}>
      <Form onSend={() => void make.start()}>
        <Field label={t('name')} value={name()} onInput={setName} required hint={t('bucket.name-hint')} />
        <ErrorNote text={make.error()} />
        <Command text={`carport bucket create ${name() || 'NAME'}`} />
        <footer>
          <button type="submit" class="button primary" disabled={make.busy()}>
            {t('create')}
          </button>
        </footer>
      </Form>
    </Dialog>
  )
}
