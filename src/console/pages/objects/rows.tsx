import { createEffect, createMemo, createSignal, For, on, onCleanup, onMount, Show } from 'solid-js'
import { bytes, t, when } from '../../texts/texts'
import type { Listing } from './listing'
import { folderPlace } from './place'
import type { Entry } from './read-part'
import { visible } from './visible'

const ROW_PX = 40
/** Rows in the page above and below those in sight. */
const OVERSCAN = 10
/** Browsers cannot make an element taller than some 400 000 rows: of longer listings, so many have a place at a time. */
const BAND_ROWS = 200_000

/** The rows of a listing, of any length: only those in sight are in the page. */
export function Rows(props: {
  bucket: string
  folder: string
  /** Changes with whatever is listed. */
  asked: string
  listing: Listing
  chosen: Pick<ReadonlySet<string>, 'has'>
  onToggle: (entry: Entry) => void
  onShow: (entry: Entry) => void
}) {
  let scroller!: HTMLDivElement
  const [topPx, setTopPx] = createSignal(0)
  const [heightPx, setHeightPx] = createSignal(800)
  /** The first row of the band. */
  const [base, setBase] = createSignal(0)
  const total = () => props.listing.total()
  const bandRows = () => Math.max(0, Math.min(BAND_ROWS, total() - base()))
  const first = createMemo(() => base() + Math.floor(topPx() / ROW_PX))
  const inSight = () => Math.ceil(heightPx() / ROW_PX) + 1
  const rows = createMemo(() => {
    const from = Math.max(base(), first() - OVERSCAN)
    const to = Math.min(base() + bandRows(), first() + inSight() + OVERSCAN)
    return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i)
  })
  const onScroll = () => {
    setTopPx(scroller.scrollTop)
    // The band follows long before its end is reached.
    const at = scroller.scrollTop / ROW_PX
    if (at > BAND_ROWS * 0.8 && base() + BAND_ROWS < total()) move(BAND_ROWS / 2)
    else if (at < BAND_ROWS * 0.2 && base() > 0) move(-BAND_ROWS / 2)
  }
  const move = (by: number) => {
    const moved = Math.max(0, base() + by)
    const px = scroller.scrollTop - (moved - base()) * ROW_PX
    setBase(moved)
    scroller.scrollTop = px
    setTopPx(scroller.scrollTop)
  }
  onMount(() => {
    const observer = new ResizeObserver(() => setHeightPx(scroller.clientHeight))
    observer.observe(scroller)
    onCleanup(() => observer.disconnect())
  })
  createEffect(
    on(
      () => props.asked,
      () => {
        setBase(0)
        scroller.scrollTop = 0
        setTopPx(0)
      },
      { defer: true },
    ),
  )
  createEffect(() => props.listing.show(first(), first() + inSight()))

  /** Moves the focus by rows, to the same control of another row. */
  const onKeyDown = (event: KeyboardEvent) => {
    const control = event.target as HTMLElement
    const row = Number(control.closest('[role=row]')?.getAttribute('aria-rowindex')) - 1
    const by = stepOf(event.key, inSight() - 2)
    if (by === undefined || !(row >= 0) || event.altKey || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    const target = Math.max(0, Math.min(total() - 1, row + by))
    const px = (target - base()) * ROW_PX
    if (px < scroller.scrollTop) scroller.scrollTop = px
    else if (px + ROW_PX > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = px + ROW_PX - scroller.clientHeight
    onScroll()
    const isBox = control instanceof HTMLInputElement
    const next = scroller.querySelector(`[aria-rowindex="${target + 1}"]`)
    const to = next?.querySelector<HTMLElement>(isBox ? 'input' : '.name > *') ?? next
    if (to instanceof HTMLElement) to.focus({ preventScroll: true })
  }

  return (
    <div
      class="rows"
      ref={scroller}
      hidden={total() === 0}
      role="table"
      aria-label={t('object.list')}
      aria-rowcount={props.listing.hasMore() ? -1 : total()}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <div role="rowgroup" style={{ height: `${bandRows() * ROW_PX}px`, position: 'relative' }}>
        <For each={rows()}>
          {(row) => (
            <div
              class="row"
              role="row"
              tabindex={-1}
              aria-rowindex={row + 1}
              style={{ transform: `translateY(${(row - base()) * ROW_PX}px)` }}
            >
              <Show
                when={props.listing.at(row)}
                fallback={
                  <span role="cell" class="waiting muted">
                    {t('loading')}
                  </span>
                }
              >
                {(entry) => (
                  <Row
                    entry={entry()}
                    bucket={props.bucket}
                    folder={props.folder}
                    isChosen={props.chosen.has(entry().key)}
                    onToggle={() => props.onToggle(entry())}
                    onShow={() => props.onShow(entry())}
                  />
                )}
              </Show>
            </div>
          )}
        </For>
      </div>
    </div>
  )
}

/** By how many rows a key moves. */
function stepOf(key: string, page: number): number | undefined {
  const steps: Record<string, number> = {
    ...{ ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page },
    ...{ Home: Number.NEGATIVE_INFINITY, End: Number.POSITIVE_INFINITY },
  }
  return steps[key]
}

function Row(props: {
  entry: Entry
  bucket: string
  folder: string
  isChosen: boolean
  onToggle: () => void
  onShow: () => void
}) {
  const name = () => visible(props.entry.key.slice(props.folder.length))
  const isFolder = () => props.entry.size === undefined
  return (
    <>
      <span role="cell">
        <Show when={!props.entry.isDeleted}>
          <input
            type="checkbox"
            checked={props.isChosen}
            aria-label={t('object.choose', { name: name() })}
            onChange={() => props.onToggle()}
          />
        </Show>
      </span>
      <span role="cell" class="name" title={name()}>
        <Show
          when={isFolder()}
          fallback={
            <button type="button" class="link" onClick={() => props.onShow()}>
              {name()}
            </button>
          }
        >
          {/* Not the router's own link, which costs more than the rest of the row. */}
          <a href={`/console${folderPlace(props.bucket, props.entry.key)}`}>{name()}</a>
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
