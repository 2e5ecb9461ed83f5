import { useParams } from '@solidjs/router'
import { createSignal, For } from 'solid-js'
import type { BucketInfo, KeyListItem } from '../../api/admin/types.js'
import { admin } from '../net/admin'
import { session } from '../session'
import { bytes, count, t } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command } from '../ui/copy'
import { Field } from '../ui/field'
import { createLoad, Load } from '../ui/load'

type Settings = Readonly<Record<string, unknown>>
type Permission = 'read' | 'write' | 'owner'

const PERMISSIONS: readonly Permission[] = ['read', 'write', 'owner']

/** What a bucket is, and what it is told to do; for administrators. */
export default function BucketSettings() {
  const params = useParams()
  const bucket = createLoad(
    () => session().adminToken && params.bucket,
    async (name) => {
      const query: Record<string, string> = /^[0-9a-f]{32}$/.test(name) ? { id: name } : { globalAlias: name }
      const info = await admin<BucketInfo>('GetBucketInfo', { query })
      const [keys, settings] = await Promise.all([
        admin<KeyListItem[]>('ListKeys'),
        admin<Settings>('GetBucketSettings', { query: { id: info.id } }),
      ])
      return { info, keys, settings }
    },
  )
  return (
    <>
      <h1>
        {params.bucket} · {t('settings.of')}
      </h1>
      <Load of={bucket}>
        {(value) => (
          <>
            <Facts info={value().info} />
            <Permissions info={value().info} keys={value().keys} onChange={bucket.reload} />
            <Quotas info={value().info} onChange={bucket.reload} />
            <Versioning info={value().info} onChange={bucket.reload} />
            <Website info={value().info} onChange={bucket.reload} />
            <Expert info={value().info} settings={value().settings} onChange={bucket.reload} />
          </>
        )}
      </Load>
    </>
  )
}

interface Part {
  info: BucketInfo
  onChange: () => void
}

function Facts(props: { info: BucketInfo }) {
  return (
    <dl class="facts-list">
      <dt>{t('settings.objects')}</dt>
      <dd>{count(props.info.objects)}</dd>
      <dt>{t('settings.bytes')}</dt>
      <dd>{bytes(props.info.bytes)}</dd>
      <dt>{t('settings.uploads')}</dt>
      <dd>{count(props.info.unfinishedMultipartUploads)}</dd>
      <dt>{t('settings.aliases')}</dt>
      <dd>{props.info.globalAliases.join(', ')}</dd>
      <dt>ID</dt>
      <dd class="mono">{props.info.id}</dd>
    </dl>
  )
}

function Permissions(props: Part & { keys: KeyListItem[] }) {
  const change = createAction(async (accessKeyId: string, permission: Permission, isAllowed: boolean) => {
    const body = { bucketId: props.info.id, accessKeyId, permissions: { [permission]: true } }
    await admin(isAllowed ? 'AllowBucketKey' : 'DenyBucketKey', { body })
    props.onChange()
  })
  const held = (id: string) => props.info.keys.find(({ accessKeyId }) => accessKeyId === id)?.permissions
  return (
    <section class="card">
      <h2>{t('settings.permissions')}</h2>
      <table class="list">
        <thead>
          <tr>
            <th>{t('sign-in.key')}</th>
            <For each={PERMISSIONS}>{(permission) => <th>{t(`settings.${permission}`)}</th>}</For>
          </tr>
        </thead>
        <tbody>
          <For each={props.keys}>
            {(key) => (
              <tr>
                <td>{key.name}</td>
                <For each={PERMISSIONS}>
                  {(permission) => (
                    <td>
                      <input
                        type="checkbox"
                        checked={held(key.id)?.[permission] ?? false}
                        disabled={change.busy()}
                        aria-label={`${key.name}: ${t(`settings.${permission}`)}`}
                        onChange={(event) =>
                          void change.start(key.id, permission, event.currentTarget.checked)
                        }
                      />
                    </td>
                  )}
                </For>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <ErrorNote text={change.error()} />
      <Command
        text={`carport bucket allow --read ${props.info.globalAliases[0] ?? props.info.id} --key KEY`}
      />
    </section>
  )
}

function Quotas(props: Part) {
  const [maxSize, setMaxSize] = createSignal(String(props.info.quotas.maxSize ?? ''))
  const [maxObjects, setMaxObjects] = createSignal(String(props.info.quotas.maxObjects ?? ''))
  const numberOf = (text: string) => (text.trim() === '' ? null : Number(text))
  const save = createAction(async () => {
    const quotas = { maxSize: numberOf(maxSize()), maxObjects: numberOf(maxObjects()) }
    await admin('UpdateBucket', { query: { id: props.info.id }, body: { quotas } })
    props.onChange()
  })
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault()
        void save.start()
      }}
    >
      <h2>{t('settings.quotas')}</h2>
      <Field label={t('settings.max-size')} type="number" value={maxSize()} onInput={setMaxSize} />
      <Field label={t('settings.max-objects')} type="number" value={maxObjects()} onInput={setMaxObjects} />
      <ErrorNote text={save.error()} />
      <button type="submit" class="button" disabled={save.busy()}>
        {t('settings.save')}
      </button>
    </form>
  )
}

function Versioning(props: Part) {
  const set = createAction(async (versioning: 'Enabled' | 'Suspended') => {
    await admin('UpdateBucketSettings', { query: { id: props.info.id }, body: { versioning } })
    props.onChange()
  })
  return (
    <section class="card">
      <h2>{t('settings.versioning')}</h2>
      <p>{props.info.versioning === 'off' ? t('settings.versioning-off') : props.info.versioning}</p>
      <For each={['Enabled', 'Suspended'] as const}>
        {(state) => (
          <button
            type="button"
            class="button"
            aria-pressed={props.info.versioning === state.toLowerCase()}
            disabled={set.busy() || (state === 'Suspended' && props.info.versioning === 'off')}
            onClick={() => void set.start(state)}
          >
            {state}
          </button>
        )}
      </For>
      <ErrorNote text={set.error()} />
    </section>
  )
}

function Website(props: Part) {
  const [index, setIndex] = createSignal(props.info.websiteConfig?.indexDocument ?? 'index.html')
  const save = createAction(async (enabled: boolean) => {
    const websiteAccess = enabled ? { enabled, indexDocument: index() } : { enabled }
    await admin('UpdateBucket', { query: { id: props.info.id }, body: { websiteAccess } })
    props.onChange()
  })
  return (
    <section class="card">
      <h2>{t('settings.website')}</h2>
      <Field label={t('settings.website-index')} value={index()} onInput={setIndex} />
      <label>
        <input
          type="checkbox"
          checked={props.info.websiteAccess}
          disabled={save.busy()}
          onChange={(event) => void save.start(event.currentTarget.checked)}
        />{' '}
        {t('settings.website')}
      </label>
      <ErrorNote text={save.error()} />
      <Command text={`carport bucket website --allow ${props.info.globalAliases[0] ?? props.info.id}`} />
    </section>
  )
}

/** Everything else, as its documents. */
function Expert(props: Part & { settings: Settings }) {
  const { id: _, ...given } = props.settings
  const [text, setText] = createSignal(JSON.stringify(given, undefined, 2))
  const save = createAction(async () => {
    const wanted = JSON.parse(text()) as Record<string, unknown>
    const changed = Object.fromEntries(
      Object.entries(wanted).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(given[name])),
    )
    await admin('UpdateBucketSettings', { query: { id: props.info.id }, body: changed })
    props.onChange()
  })
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault()
        void save.start()
      }}
    >
      <h2>{t('settings.expert')}</h2>
      <p class="muted">{t('settings.expert-hint')}</p>
      <textarea
        rows="14"
        class="mono wide"
        aria-label={t('settings.expert')}
        spellcheck={false}
        value={text()}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <ErrorNote text={save.error()} />
      <button type="submit" class="button" disabled={save.busy()}>
        {t('settings.save')}
      </button>
    </form>
  )
}
