import { createResource, Match, onCleanup, Show, Switch } from 'solid-js'
import { explain } from '../../net/errors'
import { s3 } from '../../net/s3'
import { t } from '../../texts/texts'
import { ErrorNote } from '../../ui/action'

/** Longer objects are not shown in the page. */
const PREVIEW_BYTES_MAX = 32 << 20
const TEXT_BYTES_MAX = 256 << 10

/** Pictures, text, video, sound and PDF. What is shown comes from a blob of this page, and no markup of it is run. */
export function Preview(props: { bucket: string; objectKey: string; headers: Headers }) {
  const type = () => props.headers.get('content-type')?.split(';')[0]?.trim() ?? ''
  const kind = () => {
    const given = type()
    if (/^image\/(png|jpeg|gif|webp|avif|bmp)$/.test(given)) return 'image'
    if (/^video\//.test(given)) return 'video'
    if (/^audio\//.test(given)) return 'audio'
    if (given === 'application/pdf') return 'pdf'
    if (/^text\/|json|xml|yaml|javascript|toml/.test(given)) return 'text'
    return undefined
  }
  const size = () => Number(props.headers.get('content-length') ?? 0)
  const isShort = () => size() <= (kind() === 'text' ? TEXT_BYTES_MAX : PREVIEW_BYTES_MAX)
  const [blob] = createResource(
    () => kind() !== undefined && isShort() && props.objectKey,
    async (key) => {
      const data = await (await s3({ bucket: props.bucket, key })).blob()
      if (kind() === 'text') return { text: await data.text(), url: '' }
      const url = URL.createObjectURL(new Blob([data], { type: type() }))
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
              <img class="preview" src={loaded().url} alt={props.objectKey} />
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
              <iframe class="preview pdf" src={loaded().url} title={props.objectKey} />
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
