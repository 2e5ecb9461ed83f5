import * as Tabs from '@kobalte/core/tabs'
import { createResource, For, Show } from 'solid-js'
import { explain } from '../../net/errors'
import { s3 } from '../../net/s3'
import { bytes, t, when } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Dialog } from '../../ui/dialog'
import { Link } from './link'
import type { Entry } from './listing'
import { Metadata } from './metadata'
import { Move } from './move'
import { Preview } from './preview'
import { Tags } from './tags'
import { Versions } from './versions'
import { visible } from './visible'

/** One object: what it is, what it looks like, links to it, its versions, and what is kept beside it. */
export function Details(props: { bucket: string; entry: Entry; onClose: () => void; onChange: () => void }) {
  const [head, { refetch }] = createResource(
    () => !props.entry.isDeleted && props.entry.key,
    (key) => s3({ method: 'HEAD', bucket: props.bucket, key }),
  )
  const changed = () => {
    void refetch()
    props.onChange()
  }
  const gone = () => {
    props.onClose()
    props.onChange()
  }
  return (
    <Dialog open={true} onClose={props.onClose} title={visible(props.entry.key)}>
      <Tabs.Root defaultValue={props.entry.isDeleted ? 'versions' : 'object'}>
        <Tabs.List class="tabs" aria-label={t('object.views')}>
          <Show when={!props.entry.isDeleted}>
            <Tabs.Trigger value="object">{t('object')}</Tabs.Trigger>
          </Show>
          <Tabs.Trigger value="versions">{t('object.versions')}</Tabs.Trigger>
          <Show when={!props.entry.isDeleted}>
            <Tabs.Trigger value="metadata">{t('object.metadata')}</Tabs.Trigger>
            <Tabs.Trigger value="tags">{t('object.tags')}</Tabs.Trigger>
            <Tabs.Trigger value="move">{t('object.move')}</Tabs.Trigger>
          </Show>
        </Tabs.List>
        <Tabs.Content value="object">
          <ErrorNote text={head.error ? explain(head.error) : undefined} />
          <Facts entry={props.entry} headers={head.error ? undefined : head.latest?.headers} />
          <Show when={!head.error && head()}>
            {(response) => (
              <Preview
                bucket={props.bucket}
                entry={props.entry}
                type={response().headers.get('content-type') ?? ''}
              />
            )}
          </Show>
          <Link bucket={props.bucket} objectKey={props.entry.key} />
          <Download bucket={props.bucket} objectKey={props.entry.key} />
        </Tabs.Content>
        <Tabs.Content value="versions">
          <Versions bucket={props.bucket} objectKey={props.entry.key} onChange={changed} />
        </Tabs.Content>
        <Tabs.Content value="metadata">
          <Show when={!head.error && head.latest}>
            {(response) => (
              <Metadata
                bucket={props.bucket}
                objectKey={props.entry.key}
                headers={response().headers}
                onChange={changed}
              />
            )}
          </Show>
        </Tabs.Content>
        <Tabs.Content value="tags">
          <Tags bucket={props.bucket} objectKey={props.entry.key} />
        </Tabs.Content>
        <Tabs.Content value="move">
          <Move bucket={props.bucket} objectKey={props.entry.key} onCopied={props.onChange} onMoved={gone} />
        </Tabs.Content>
      </Tabs.Root>
    </Dialog>
  )
}

function Facts(props: { entry: Entry; headers: Headers | undefined }) {
  const header = (name: string) => props.headers?.get(name) ?? undefined
  /** Why it cannot be deleted, and until when. */
  const retention = () => {
    const mode = header('x-amz-object-lock-mode')
    const until = header('x-amz-object-lock-retain-until-date')
    return mode && until ? t('object.locked-until', { mode, until: when(until) }) : undefined
  }
  const facts = () =>
    [
      [t('size'), props.entry.size === undefined ? undefined : bytes(props.entry.size)],
      [t('modified'), props.entry.modified && when(props.entry.modified)],
      ['ETag', props.entry.etag],
      ['Content-Type', header('content-type')],
      [t('object.version'), header('x-amz-version-id')],
      [t('object.encrypted'), header('x-amz-server-side-encryption')],
      [t('object.retention'), retention()],
      [t('object.legal-hold'), header('x-amz-object-lock-legal-hold')],
      [t('object.storage-class'), header('x-amz-storage-class')],
    ].filter((fact): fact is [string, string] => fact[1] !== undefined)
  return (
    <dl class="facts-list">
      <For each={facts()}>
        {([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        )}
      </For>
    </dl>
  )
}

function Download(props: { bucket: string; objectKey: string }) {
  const download = createAction(async () => {
    const response = await s3({ bucket: props.bucket, key: props.objectKey })
    const url = URL.createObjectURL(await response.blob())
    const link = document.createElement('a')
    link.href = url
    link.download = props.objectKey.split('/').at(-1) || 'object'
    link.click()
    setTimeout(() => URL.revokeObjectURL(url), 60_000)
  })
  return (
    <>
      <ErrorNote text={download.error()} />
      <Command text={`aws s3 cp s3://${props.bucket}/${props.objectKey} .`} />
      <footer>
        <button
          type="button"
          class="button primary"
          disabled={download.busy()}
          onClick={() => void download.start()}
        >
          {t('object.download')}
        </button>
      </footer>
    </>
  )
}
