import { createMemo, For, Show } from 'solid-js'
import { s3Word } from '../../commands'
import { abortUpload, listUploads, type Unfinished as UnfinishedUpload } from '../../net/multipart'
import { bytes, count, t, when } from '../../texts/texts'
import { createAction, ErrorNote } from '../../ui/action'
import { Command } from '../../ui/copy'
import { createLoad } from '../../ui/load'
import type { Upload } from './upload'
import { isOpen, type Uploads } from './uploads'
import { visible } from './visible'

/** So many uploads have a line of their own; the bar above shows all. */
const LINES_MAX = 20

/** What is on its way: each upload, and all of them as one. */
export function UploadList(props: { uploads: Uploads }) {
  const all = () => props.uploads.uploads()
  const sum = createMemo(() => {
    const sum = { sent: 0, total: 0, done: 0, open: 0 }
    for (const upload of all()) {
      const isDone = upload.state() === 'done'
      sum.total += upload.total
      sum.sent += isDone ? upload.total : upload.sent()
      if (isDone) sum.done++
      if (isOpen(upload)) sum.open++
    }
    return sum
  })
  const lines = createMemo(() => {
    const notable = all().filter(({ state }) => state() !== 'done' && state() !== 'waiting')
    const rest = all().filter((upload) => !notable.includes(upload))
    return [...notable, ...rest].slice(0, LINES_MAX)
  })
  return (
    <Show when={all().length > 0}>
      <section class="card uploads" aria-label={t('upload.list')}>
        <Show when={all().length > 1}>
          <div class="upload">
            <strong>{t('upload.all', { done: count(sum().done), count: count(all().length) })}</strong>
            <progress max={sum().total || 1} value={sum().sent} aria-label={t('upload.whole')} />
            <span class="muted" role="status">
              {bytes(sum().sent)} / {bytes(sum().total)}
            </span>
            <Show when={sum().open > 0}>
              <button
                type="button"
                class="button"
                onClick={() =>
                  all()
                    .filter(isOpen)
                    .forEach((upload) => {
                      upload.pause()
                    })
                }
              >
                {t('upload.pause-all')}
              </button>
            </Show>
          </div>
        </Show>
        <For each={lines()}>{(upload) => <Line upload={upload} />}</For>
        <Show when={all().length > LINES_MAX}>
          <p class="muted">{t('upload.more', { count: count(all().length - LINES_MAX) })}</p>
        </Show>
        <Command text={`aws s3 cp --recursive . ${s3Word(props.uploads.bucket, '')}`} />
        <Show when={sum().open === 0}>
          <button type="button" class="button fit" onClick={() => props.uploads.clear()}>
            {t('close')}
          </button>
        </Show>
      </section>
    </Show>
  )
}

function Line(props: { upload: Upload }) {
  const upload = () => props.upload
  return (
    <div class="upload">
      <span class="name">{visible(upload().key)}</span>
      <progress
        max={upload().total || 1}
        value={upload().state() === 'done' ? upload().total || 1 : upload().sent()}
        aria-label={visible(upload().key)}
      />
      <span class="muted" role="status">
        {t(`upload.${upload().state()}`)} · {bytes(upload().sent())} / {bytes(upload().total)}
      </span>
      <Show when={isOpen(upload())}>
        <button type="button" class="button" onClick={() => upload().pause()}>
          {t('upload.pause')}
        </button>
      </Show>
      <Show when={upload().state() === 'paused' || upload().state() === 'failed'}>
        <button type="button" class="button" onClick={() => upload().resume()}>
          {t('upload.resume')}
        </button>
      </Show>
      <Show when={upload().problem()}>
        <p class="note error">{upload().problem()}</p>
      </Show>
    </div>
  )
}

/** Uploads that broke off, of this tab or another, and go on when the same file is chosen. */
export function Unfinished(props: { bucket: string; prefix: string; uploads: Uploads; version: number }) {
  const found = createLoad(
    () => ({ bucket: props.bucket, prefix: props.prefix, version: props.version }),
    // A key that may not list uploads has none to go on with.
    ({ bucket, prefix }) => listUploads(bucket, prefix).catch(() => [] as UnfinishedUpload[]),
  )
  const shown = () => {
    const ours = new Set(props.uploads.uploads().map(({ uploadId }) => uploadId()))
    return (found.latest() ?? []).filter(({ uploadId }) => !ours.has(uploadId)).slice(0, LINES_MAX)
  }
  const discard = createAction(async ({ key, uploadId }: UnfinishedUpload) => {
    await abortUpload(props.bucket, key, uploadId)
    found.reload()
  })
  return (
    <Show when={shown().length > 0}>
      <section class="card uploads" aria-label={t('unfinished')}>
        <p>{t('unfinished.hint')}</p>
        <For each={shown()}>
          {(each) => (
            <div class="upload">
              <span class="name">{visible(each.key)}</span>
              <span class="muted">{when(each.initiated)}</span>
              <label class="button">
                {t('unfinished.choose')}
                <input
                  type="file"
                  class="hidden"
                  aria-label={t('unfinished.choose-for', { name: visible(each.key) })}
                  onChange={(event) => {
                    const [file] = event.currentTarget.files ?? []
                    if (file) props.uploads.add([{ file, key: each.key, uploadId: each.uploadId }])
                  }}
                />
              </label>
              <button
                type="button"
                class="button danger"
                disabled={discard.busy()}
                aria-label={t('unfinished.discard-of', { name: visible(each.key) })}
                onClick={() => void discard.start(each)}
              >
                {t('unfinished.discard')}
              </button>
            </div>
          )}
        </For>
        <ErrorNote text={discard.error()} />
      </section>
    </Show>
  )
}
