import { createSignal, For, Show } from 'solid-js'
import { renderSVG } from 'uqr'
import { objectPath, presign } from '../../../client/sign.js'
import { s3Word } from '../../commands'
import { session } from '../../session'
import { s3Endpoint, settings } from '../../settings'
import { t } from '../../texts/texts'
import { Command, Copyable } from '../../ui/copy'

const LINK_SECONDS = [3600, 86_400, 604_800] as const

/** Links to an object for people without a key, each for some time. */
export function Link(props: { bucket: string; objectKey: string }) {
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
            <Command
              text={`aws s3 presign ${s3Word(props.bucket, props.objectKey)} --expires-in ${seconds()}`}
            />
          </>
        )}
      </Show>
    </div>
  )
}
