import { A, useParams } from '@solidjs/router'
import { createVirtualizer } from '@tanstack/solid-virtual'
import { createEffect, createSignal, For, on, Show } from 'solid-js'
import { encode } from '../../client/sign.js'
import { explain } from '../net/errors'
import { deleteObjects, listObjects, type ObjectEntry } from '../net/s3'
import { bytes, count, t, when } from '../texts/texts'
import { createAction, ErrorNote } from '../ui/action'
import { Dialog } from '../ui/dialog'
import { Details } from './objects/details'
import { createUploads, UploadList } from './objects/uploads'

const ROW_PX = 40
/** The next page is asked for when so many rows are left to scroll. */
const AHEAD_ROWS = 200

/** A bucket's folders and objects, as many as one scrolls to: only the rows in sight are in the page. */
export default function Objects() {
  const params = useParams()
  const bucket = () => params.bucket!
  const prefix = () => params.prefix ?? ''
  const [entries, setEntries] = createSignal<ObjectEntry[]>([])
  const [next, setNext] = createSignal<string>()
  const [state, setState] = createSignal<'loading' | 'ready'>('loading')
  const [failure, setFailure] = createSignal<string>()
  const [chosen, setChosen] = createSignal<ReadonlySet<string>>(new Set<string>())
  const [shown, setShown] = createSignal<ObjectEntry>()
  const [asksDelete, setAsksDelete] = createSignal(false)
  let turn = 0

  const more = async (from?: string) => {
    const mine = ++turn
    setState('loading')
    setFailure(undefined)
    try {
      const page = await listObjects(bucket(), prefix(), from)
      if (mine !== turn) return
      setEntries((before) => (from === undefined ? page.entries : [...before, ...page.entries]))
      setNext(page.next)
    } catch (error) {
      if (mine === turn) setFailure(explain(error))
    } finally {
      if (mine === turn) setState('ready')
    }
  }
  const reload = () => {
    setChosen(new Set<string>())
    void more()
  }
  createEffect(on([bucket, prefix], reload))
  const uploads = createUploads(bucket, reload)

  const remove = createAction(async () => {
    const keys = [...chosen()]
    for (let at = 0; at < keys.length; at += 1000) {
      const [failed] = await deleteObjects(bucket(), keys.slice(at, at + 1000))
      if (failed) throw new Error(`${failed.key}: ${failed.message}`)
    }
    setAsksDelete(false)
    reload()
  })

  let scroller!: HTMLDivElement
  const rows = createVirtualizer({
    get count() {
      return entries().length
    },
    getScrollElement: () => scroller,
    estimateSize: () => ROW_PX,
    overscan: 20,
  })
  createEffect(() => {
    const last = rows.getVirtualItems().at(-1)
    if (last && next() && state() === 'ready' && last.index > entries().length - AHEAD_ROWS) void more(next())
  })
  const toggle = (key: string) =>
    setChosen((before) => {
      const after = new Set(before)
      if (!after.delete(key)) after.add(key)
      return after
    })

  return (
    <div
      class="objects"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault()
        if (event.dataTransfer) void uploads.addDropped(event.dataTransfer, prefix())
      }}
    >
      <header class="page-head">
        <Crumbs bucket={bucket()} prefix={prefix()} />
        <Show when={chosen().size > 0}>
          <button type="button" class="button danger" onClick={() => setAsksDelete(true)}>
            {t('object.delete-chosen', { count: chosen().size })}
          </button>
        </Show>
        <label class="button primary">
          {t('object.upload')}
          <input
            type="file"
            multiple
            class="hidden"
            onChange={(event) => {
              uploads.add(
                [...(event.currentTarget.files ?? [])].map((file) => ({ file, key: prefix() + file.name })),
              )
              event.currentTarget.value = ''
            }}
          />
        </label>
      </header>
      <UploadList uploads={uploads} />
      <ErrorNote text={failure()}>
        <button type="button" class="button" onClick={reload}>
          {t('try-again')}
        </button>
      </ErrorNote>
      <Show when={entries().length === 0 && !failure()}>
        <p class="empty">{state() === 'loading' ? t('loading') : t('object.none')}</p>
      </Show>
      <div
        class="rows"
        ref={scroller}
        hidden={entries().length === 0}
        role="table"
        aria-label={t('object.list')}
        aria-rowcount={next() ? -1 : entries().length}
      >
        <div role="rowgroup" style={{ height: `${rows.getTotalSize()}px`, position: 'relative' }}>
          <For each={rows.getVirtualItems()}>
            {(item) => (
              <Show when={entries()[item.index]}>
                {(entry) => (
                  <div
                    class="row"
                    role="row"
                    aria-rowindex={item.index + 1}
                    style={{
                      position: 'absolute',
                      top: `${item.start}px`,
                      height: `${ROW_PX}px`,
                      left: 0,
                      right: 0,
                    }}
                  >
                    <Row
                      entry={entry()}
                      bucket={bucket()}
                      prefix={prefix()}
                      isChosen={chosen().has(entry().key)}
                      onToggle={() => toggle(entry().key)}
                      onShow={() => setShown(entry())}
                    />
                  </div>
                )}
              </Show>
            )}
          </For>
        </div>
      </div>
      <Show when={entries().length > 0}>
        <p class="muted" role="status">
          {next()
            ? t('object.at-least', { count: count(entries().length) })
            : t('object.count', { count: count(entries().length) })}
        </p>
      </Show>
      <Show when={shown()}>
        {(entry) => (
          <Details bucket={bucket()} entry={entry()} onClose={() => setShown(undefined)} onChange={reload} />
        )}
      </Show>
      <Dialog
        open={asksDelete()}
        onClose={() => setAsksDelete(false)}
        title={t('object.delete-chosen', { count: chosen().size })}
        description={t('object.delete-warning')}
      >
        <ErrorNote text={remove.error()} />
        <footer>
          <button
            type="button"
            class="button danger"
            disabled={remove.busy()}
            onClick={() => void remove.start()}
          >
            {t('delete')}
          </button>
        </footer>
      </Dialog>
    </div>
  )
}

function Row(props: {
  entry: ObjectEntry
  bucket: string
  prefix: string
  isChosen: boolean
  onToggle: () => void
  onShow: () => void
}) {
  const name = () => props.entry.key.slice(props.prefix.length)
  const isFolder = () => props.entry.size === undefined
  return (
    <>
      <span role="cell">
        <Show when={!isFolder()}>
          <input
            type="checkbox"
            checked={props.isChosen}
            aria-label={t('object.choose', { name: name() })}
            onChange={() => props.onToggle()}
          />
        </Show>
      </span>
      <span role="cell" class="name">
        <Show
          when={isFolder()}
          fallback={
            <button type="button" class="link" onClick={() => props.onShow()}>
              {visible(name())}
            </button>
          }
        >
          <A href={`/buckets/${encode(props.bucket)}/${props.entry.key.split('/').map(encode).join('/')}`}>
            {visible(name())}
          </A>
        </Show>
      </span>
      <span role="cell" class="size muted">
        {isFolder() ? '' : bytes(props.entry.size!)}
      </span>
      <span role="cell" class="time muted">
        {isFolder() ? '' : when(props.entry.modified!)}
      </span>
    </>
  )
}

function Crumbs(props: { bucket: string; prefix: string }) {
  const parts = () => props.prefix.split('/').filter((_, i, all) => i < all.length - 1)
  return (
    <nav class="crumbs" aria-label={t('object.path')}>
      <h1>
        <A href={`/buckets/${encode(props.bucket)}/`}>{props.bucket}</A>
        <For each={parts()}>
          {(part, i) => (
            <>
              {' / '}
              <A
                href={`/buckets/${encode(props.bucket)}/${parts()
                  .slice(0, i() + 1)
                  .map(encode)
                  .join('/')}/`}
              >
                {visible(part)}
              </A>
            </>
          )}
        </For>
      </h1>
    </nav>
  )
}

/** Control characters, and what turns the direction of text, as signs that can be seen. */
export function visible(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
