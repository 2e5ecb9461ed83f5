import { A } from '@solidjs/router'
import { createVirtualizer } from '@tanstack/solid-virtual'
import { createEffect, For, Show } from 'solid-js'
import { bytes, t, when } from '../../texts/texts'
import type { createListing, Entry } from './listing'
import { folderPlace } from './place'
import { visible } from './visible'

const ROW_PX = 40
/** The next page is asked for when so many rows are left to scroll. */
const AHEAD_ROWS = 200

/** The rows of a listing, of any length: only those in sight are in the page. */
export function Rows(props: {
  bucket: string
  folder: string
  listing: ReturnType<typeof createListing>
  chosen: ReadonlySet<string>
  onToggle: (key: string) => void
  onShow: (entry: Entry) => void
}) {
  const entries = () => props.listing.entries()
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
    if (last && last.index > entries().length - AHEAD_ROWS) props.listing.more()
  })
  return (
    <div
      class="rows"
      ref={scroller}
      hidden={entries().length === 0}
      role="table"
      aria-label={t('object.list')}
      aria-rowcount={props.listing.hasMore() ? -1 : entries().length}
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
                    bucket={props.bucket}
                    folder={props.folder}
                    isChosen={props.chosen.has(entry().key)}
                    onToggle={() => props.onToggle(entry().key)}
                    onShow={() => props.onShow(entry())}
                  />
                </div>
              )}
            </Show>
          )}
        </For>
      </div>
    </div>
  )
}

function Row(props: {
  entry: Entry
  bucket: string
  folder: string
  isChosen: boolean
  onToggle: () => void
  onShow: () => void
}) {
  const name = () => props.entry.key.slice(props.folder.length)
  const isFolder = () => props.entry.size === undefined
  return (
    <>
      <span role="cell">
        <Show when={!props.entry.isDeleted}>
          <input
            type="checkbox"
            checked={props.isChosen}
            aria-label={t('object.choose', { name: visible(name()) })}
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
          <A href={folderPlace(props.bucket, props.entry.key)}>{visible(name())}</A>
        </Show>
      </span>
      <span role="cell" class="size muted">
        {props.entry.isDeleted ? t('object.deleted') : isFolder() ? '' : bytes(props.entry.size!)}
      </span>
      <span role="cell" class="time muted">
        {isFolder() ? '' : when(props.entry.modified!)}
      </span>
    </>
  )
}
