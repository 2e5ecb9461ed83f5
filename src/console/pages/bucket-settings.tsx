import { useParams } from '@solidjs/router'
import { createSignal, For, Show } from 'solid-js'
import type { BucketInfo, KeyListItem } from '../../api/admin/types.js'
import { adminCommand, word } from '../commands'
import { admin } from '../net/admin'
import { documentsByAdmin } from '../net/bucket-documents'
import { may } from '../session'
import { bytes, count, t } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Command } from '../ui/copy'
import { Field } from '../ui/field'
import { Form } from '../ui/form'
import { List } from '../ui/list'
import { createLoad, Load } from '../ui/load'
import { Aliases } from './bucket-settings/aliases'
import { SettingsByKey } from './bucket-settings/by-key'
import { Documents } from './bucket-settings/documents'
import { Removal } from './bucket-settings/removal'
import { Versioning } from './bucket-settings/versioning'

type Permission = 'read' | 'write' | 'owner'

const PERMISSIONS: readonly Permission[] = ['read', 'write', 'owner']

/** What a bucket is, and what it is told to do: all of it for administrators, its settings for who has a key. */
export default function BucketSettings() {
  const params = useParams()
  const isByAdmin = () => may('GetBucketInfo') && may('ListKeys')
  const bucket = createLoad(
    () => isByAdmin() && params.bucket,
    async (name) => {
      const query: Record<string, string> = /^[0-9a-f]{32}$/.test(name) ? { id: name } : { globalAlias: name }
      const info = await admin<BucketInfo>('GetBucketInfo', { query })
      return { info, keys: await admin<KeyListItem[]>('ListKeys') }
    },
  )
  return (
    <>
      <h1>
        {params.bucket} · {t('settings.of')}
      </h1>
      <Show when={isByAdmin()} fallback={<SettingsByKey bucket={params.bucket!} />}>
        <Load of={bucket}>
          {(value) => (
            <>
              <Facts info={value().info} />
              <Permissions info={value().info} keys={value().keys} onChange={bucket.reload} />
              <Quotas info={value().info} onChange={bucket.reload} />
              <Aliases info={value().info} onChange={bucket.reload} />
              <Versioning
                commandOf={(versioning) =>
                  adminCommand('UpdateBucketSettings', { id: value().info.id, versioning })
                }
                state={value().info.versioning}
                onSet={async (versioning) => {
                  const query = { id: value().info.id }
                  await admin('UpdateBucketSettings', { query, body: { versioning } })
                  bucket.reload()
                }}
              />
              <Documents
                bucket={value().info.globalAliases[0] ?? params.bucket!}
                documents={documentsByAdmin(value().info.id, value().info.globalAliases[0] ?? params.bucket!)}
              />
              <Removal
                name={value().info.globalAliases[0] ?? params.bucket!}
                command={`carport bucket delete --yes ${word(value().info.globalAliases[0] ?? value().info.id)}`}
                remove={() => admin('DeleteBucket', { query: { id: value().info.id }, body: {} })}
              />
            </>
          )}
        </Load>
      </Show>
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
      <dt>ID</dt>
      <dd class="mono">{props.info.id}</dd>
    </dl>
  )
}

function Permissions(props: Part & { keys: KeyListItem[] }) {
  const name = () => word(props.info.globalAliases[0] ?? props.info.id)
  const [done, setDone] = createSignal('')
  const change = createAction(async (accessKeyId: string, permission: Permission, isAllowed: boolean) => {
    const body = { bucketId: props.info.id, accessKeyId, permissions: { [permission]: true } }
    await admin(isAllowed ? 'AllowBucketKey' : 'DenyBucketKey', { body })
    setDone(`carport bucket ${isAllowed ? 'allow' : 'deny'} --${permission} ${name()} --key ${accessKeyId}`)
    props.onChange()
  })
  const held = (id: string) => props.info.keys.find(({ accessKeyId }) => accessKeyId === id)?.permissions
  return (
    <section class="card">
      <h2>{t('settings.permissions')}</h2>
      <List
        columns={[t('sign-in.key'), ...PERMISSIONS.map((permission) => t(`settings.${permission}`))]}
        rows={props.keys}
      >
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
                    onChange={(event) => void change.start(key.id, permission, event.currentTarget.checked)}
                  />
                </td>
              )}
            </For>
          </tr>
        )}
      </List>
      <ErrorNote text={change.error()} />
      <Command text={done() || `carport bucket allow --read ${name()} --key KEY`} />
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
    <Form class="card" onSend={() => void save.start()}>
      <h2>{t('settings.quotas')}</h2>
      <Field label={t('settings.max-size')} type="number" value={maxSize()} onInput={setMaxSize} />
      <Field label={t('settings.max-objects')} type="number" value={maxObjects()} onInput={setMaxObjects} />
      <ErrorNote text={save.error()} />
      <Command
        text={`carport bucket set-quotas ${word(props.info.globalAliases[0] ?? props.info.id)} --max-size ${maxSize() || 'none'} --max-objects ${maxObjects() || 'none'}`}
      />
      <button type="submit" class="button" disabled={save.busy()}>
        {t('settings.save')}
      </button>
    </Form>
  )
}
