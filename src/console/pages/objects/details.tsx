import { createResource, createSignal, For, Match, onCleanup, Show, Switch } from 'solid-js'
import { renderSVG } from 'uqr'
import { objectPath, presign } from '../../../client/sign.js'
import { explain } from '../../net/errors'
import { type ObjectEntry, s3 } from '../../net/s3'
import { session } from '../../session'
import { s3Endpoint, settings } from '../../settings'
import { bytes, t, when } from '../../texts/texts'
import { ErrorNote } from '../../ui/action'
import { Copyable } from '../../ui/copy'
import { Dialog } from '../../ui/dialog'

/** Longer objects are not shown in the page. */
const PREVIEW_BYTES_MAX = 32 << 20
const TEXT_BYTES_MAX = 256 << 10
const LINK_SECONDS = [3600, 86_400, 604_800] as const

/** One object: what it is, what it looks like, and links to it. */
export function Details(props: {
  bucket: string
  entry: ObjectEntry
  onClose: () => void
  onChange: () => void
}) {
  const [head] = createResource(
    () => props.entry.key,
    (key) => s3({ method: 'HEAD', bucket: props.bucket, key }),
  )
  const download = async () => {
    const response = await s3({ bucket: props.bucket, key: props.entry.key })
    const url = URL.createObjectURL(await response.blob())
    const link = document.createElement('a')
    link.href = url
    link.download = props.entry.key.split('/').at(-1) || 'object'
    link.click()
    setTimeout(() => URL.revokeObjectURL(url), 60_000)
  }
  return (
    <Dialog open={true} onClose={props.onClose} title={props.entry.key}>
      <dl class="facts-list">
        <dt>{t('size')}</dt>
        <dd>{bytes(props.entry.size!)}</dd>
        <dt>{t('modified')}</dt>
        <dd>{when(props.entry.modified!)}</dd>
        <dt>ETag</dt>
        <dd class="mono">{props.entry.etag}</dd>
        <Show when={!head.error && head()}>
          {(response) => (
            <For each={[...response().headers].filter(([name]) => isTold(name))}>
              {([name, value]) => (
                <>
                  <dt>{name}</dt>
                  <dd>{value}</dd>
                </>
              )}
            </For>
          )}
        </Show>
      </dl>
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
      <footer>
        <button type="button" class="button primary" onClick={() => void download()}>
          {t('object.download')}
        </button>
      </footer>
    </Dialog>
  )
}

function isTold(name: string): boolean {
  return (
    name === 'content-type' ||
    name === 'cache-control' ||
    name.startsWith('x-amz-meta-') ||
    name === 'x-amz-version-id'
  )
}

/** Pictures, text, video, sound and PDF. What is shown comes from a blob of this page, and no markup of it is run. */
function Preview(props: { bucket: string; entry: ObjectEntry; type: string }) {
  const kind = () => {
    const [type] = props.type.split(';')
    if (/^image\/(png|jpeg|gif|webp|avif|bmp)$/.test(type!)) return 'image'
    if (/^video\//.test(type!)) return 'video'
    if (/^audio\//.test(type!)) return 'audio'
    if (type === 'application/pdf') return 'pdf'
    if (/^text\/|json|xml|yaml|javascript|toml/.test(type!)) return 'text'
    return undefined
  }
  const isShort = () => props.entry.size! <= (kind() === 'text' ? TEXT_BYTES_MAX : PREVIEW_BYTES_MAX)
  const [blob] = createResource(
    () => kind() !== undefined && isShort() && props.entry.key,
    async (key) => {
      const data = await (await s3({ bucket: props.bucket, key })).blob()
      if (kind() === 'text') return { text: await data.text(), url: '' }
      const url = URL.createObjectURL(new Blob([data], { type: props.type.split(';')[0]! }))
      return { text: '', url }
    },
  )
  onCleanup(() => blob.latest?.url && URL.revokeObjectURL(blob.latest.url))
  return (
    <Show when={kind() !== undefined}>
      <ErrorNote text={blob.error ? explain(blob.error) : undefined} />
      <Show
        when={!blob.error && blob()}
        fallback={
          <Show when={!isShort()}>
            <p class="muted">{t('object.too-long')}</p>
          </Show>
        }
      >
        {(loaded) => (
          <Switch>
            <Match when={kind() === 'image'}>
              <img class="preview" src={loaded().url} alt={props.entry.key} />
            </Match>
            <Match when={kind() === 'video'}>
              {/* biome-ignore lint/a11y/useMediaCaption: the object is somebody's, and has what it has. */}
              <video class="preview" controls src={loaded().url} />
            </Match>
            <Match when={kind() === 'audio'}>
              {/* biome-ignore lint/a11y/useMediaCaption: the object is somebody's, and has what it has. */}
              <audio controls src={loaded().url} />
            </Match>
            <Match when={kind() === 'pdf'}>
              <iframe class="preview pdf" src={loaded().url} title={props.entry.key} />
            </Match>
            <Match when={kind() === 'text'}>
              <pre class="preview" tabindex="0">
                {loaded().text}
              </pre>
            </Match>
          </Switch>
        )}
      </Show>
    </Show>
  )
}

function Link(props: { bucket: string; objectKey: string }) {
  const [seconds, setSeconds] = createSignal<number>()
  const link = () => {
    const key = session().key
    const until = seconds()
    if (!key || until === undefined) return undefined
    const request = {
      path: objectPath(props.bucket, props.objectKey),
      region: settings().region,
      now: new Date(),
      method: 'GET',
    }
    return presign(s3Endpoint(), request, key, until)
  }
  return (
    <div class="share">
      <span>{t('object.link')}</span>
      <For each={LINK_SECONDS}>
        {(each) => (
          <button
            type="button"
            class="button"
            aria-pressed={seconds() === each}
            onClick={() => setSeconds(each)}
          >
            {t(`link.${each}`)}
          </button>
        )}
      </For>
      <Show when={link()}>
        {(url) => (
          <>
            <Copyable text={url()} label={t('object.link')} />
            <img
              class="qr"
              alt={t('object.qr')}
              src={`data:image/svg+xml,${encodeURIComponent(renderSVG(url()))}`}
            />
          </>
        )}
      </Show>
    </div>
  )
}
