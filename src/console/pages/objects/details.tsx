import * as Tabs from '@kobalte/core/tabs'
import { For, Show } from 'solid-js'
import { objectPath, presign } from '../../../client/sign.js'
import { s3Word } from '../../commands'
import { ApiError } from '../../net/errors'
import { s3 } from '../../net/s3'
import { session } from '../../session'
import { s3Endpoint, settings } from '../../settings'
import { bytes, t, when } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { Dialog } from '../../ui/dialog'
import { createLoad, Load } from '../../ui/load'
import { Link } from './link'
import { Locks } from './locks'
import { Metadata } from './metadata'
import { Move } from './move'
import { Preview } from './preview'
import { Tags } from './tags'
import { Versions } from './versions'
import { visible } from './visible'

const VIEWS = ['object', 'versions', 'metadata', 'tags', 'locks', 'move'] as const

export type View = (typeof VIEWS)[number]

export function isView(text: string | undefined): text is View {
  return VIEWS.some((view) => view === text)
}

/** One object: what it is, what it looks like, links to it, its versions, and what is kept beside it. */
export function Details(props: {
  bucket: string
  objectKey: string
  view: View | undefined
  /** The version whose locks are shown; the current one without it. */
  versionId: string | undefined
  onView: (view: View, versionId?: string) => void
  onClose: () => void
  onChange: () => void
}) {
  const head = createLoad(() => props.objectKey, headOf)
  async function headOf(key: string): Promise<Headers | 'deleted'> {
    try {
      return (await s3({ method: 'HEAD', bucket: props.bucket, key })).headers
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return 'deleted'
      throw error
    }
  }
  const changed = () => {
    head.reload()
    props.onChange()
  }
  const gone = () => {
    props.onClose()
    props.onChange()
  }
  return (
    <Dialog open={true} onClose={props.onClose} title={visible(props.objectKey)}>
      <Load of={head}>
        {(found) => (
          <Tabs.Root
            value={found() === 'deleted' ? 'versions' : (props.view ?? 'object')}
            onChange={(view) => isView(view) && view !== props.view && props.onView(view)}
          >
            <Tabs.List class="tabs" aria-label={t('object.views')}>
              <For each={found() === 'deleted' ? (['versions'] as const) : VIEWS}>
                {(view) => <Tabs.Trigger value={view}>{t(`view.${view}`)}</Tabs.Trigger>}
              </For>
            </Tabs.List>
            <Tabs.Content value="versions">
              <Show when={found() === 'deleted'}>
                <p class="note">{t('object.is-deleted')}</p>
              </Show>
              <Versions
                bucket={props.bucket}
                objectKey={props.objectKey}
                onLocks={(versionId) => props.onView('locks', versionId)}
                onChange={changed}
              />
            </Tabs.Content>
            <Show when={headersOf(found())}>
              {(headers) => (
                <Views
                  {...props}
                  headers={headers()}
                  onChange={changed}
                  onCopied={props.onChange}
                  onGone={gone}
                />
              )}
            </Show>
          </Tabs.Root>
        )}
      </Load>
    </Dialog>
  )
}

function headersOf(found: Headers | 'deleted'): Headers | undefined {
  return found === 'deleted' ? undefined : found
}

/** What there is to see of an object that is not deleted. */
function Views(props: {
  bucket: string
  objectKey: string
  versionId: string | undefined
  headers: Headers
  onChange: () => void
  onCopied: () => void
  onGone: () => void
}) {
  return (
    <>
      <Tabs.Content value="object">
        <Facts headers={props.headers} />
        <Preview bucket={props.bucket} objectKey={props.objectKey} headers={props.headers} />
        <Link bucket={props.bucket} objectKey={props.objectKey} />
        <Download
          bucket={props.bucket}
          objectKey={props.objectKey}
          bytes={Number(props.headers.get('content-length') ?? 0)}
        />
      </Tabs.Content>
      <Tabs.Content value="metadata">
        <Metadata
          bucket={props.bucket}
          objectKey={props.objectKey}
          headers={props.headers}
          onChange={props.onChange}
        />
      </Tabs.Content>
      <Tabs.Content value="tags">
        <Tags bucket={props.bucket} objectKey={props.objectKey} />
      </Tabs.Content>
      <Tabs.Content value="locks">
        <Locks
          bucket={props.bucket}
          objectKey={props.objectKey}
          versionId={props.versionId}
          onChange={props.onChange}
        />
      </Tabs.Content>
      <Tabs.Content value="move">
        <Move
          bucket={props.bucket}
          objectKey={props.objectKey}
          onCopied={props.onCopied}
          onMoved={props.onGone}
        />
      </Tabs.Content>
    </>
  )
}

function Facts(props: { headers: Headers }) {
  const header = (name: string) => props.headers.get(name) ?? undefined
  /** Why it cannot be deleted, and until when. */
  const retention = () => {
    const mode = header('x-amz-object-lock-mode')
    const until = header('x-amz-object-lock-retain-until-date')
    return mode && until ? t('object.locked-until', { mode, until: when(until) }) : undefined
  }
  const facts = () =>
    [
      [t('size'), bytes(Number(header('content-length') ?? 0))],
      [t('modified'), when(header('last-modified') ?? '')],
      ['ETag', header('etag')],
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

/** Longer objects are not held in memory. */
const IN_PAGE_BYTES_MAX = 64 << 20
const LINK_SECONDS = 600

function Download(props: { bucket: string; objectKey: string; bytes: number }) {
  const download = createAction(async () => {
    const key = session().key
    if (key && props.bytes > IN_PAGE_BYTES_MAX) {
      // By the browser itself, which writes to the disk what this page would have to hold in memory.
      const request = {
        ...{ method: 'GET', path: objectPath(props.bucket, props.objectKey), now: new Date() },
        ...{ region: settings().region, query: { 'response-content-disposition': 'attachment' } },
      }
      open(presign(s3Endpoint(), request, key, LINK_SECONDS), '_blank', 'noopener')
      return
    }
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
      <Command text={`aws s3 cp ${s3Word(props.bucket, props.objectKey)} .`} />
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
