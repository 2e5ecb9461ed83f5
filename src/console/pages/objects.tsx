import { useParams, useSearchParams } from '@solidjs/router'
import { createEffect, createMemo, createSignal, on, onCleanup, Show } from 'solid-js'
import { count, t } from '../texts/texts'
import { ErrorNote } from '../ui/action'
import { Crumbs } from './objects/crumbs'
import { Details, isView } from './objects/details'
import { createListing } from './objects/listing'
import type { ObjectsQuery } from './objects/place'
import type { Asked, Entry } from './objects/read-part'
import { type Chosen, Removal } from './objects/removal'
import { Rows } from './objects/rows'
import { Unfinished, UploadList } from './objects/upload-list'
import { uploadsTo } from './objects/uploads'
import { visible } from './objects/visible'

/** The search is asked when nothing more was typed for so long. */
const TYPING_MS = 250

/** A bucket's folders and objects. */
export default function Objects() {
  const params = useParams()
  const [query, setQuery] = useSearchParams<{ [K in keyof ObjectsQuery]: string }>()
  const bucket = () => params.bucket!
  const folder = () => query.in ?? ''
  const search = () => query.search ?? ''
  const [chosen, setChosen] = createSignal<Chosen>(new Map())
  const [removing, setRemoving] = createSignal<Chosen>()
  const [version, setVersion] = createSignal(0)
  const isContaining = () => query.how === 'contains'
  const asked = (): Asked => ({
    bucket: bucket(),
    folder: folder(),
    search: search(),
    how: isContaining() ? 'contains' : 'begins',
    withDeleted: query.deleted !== undefined,
    after: query.after,
  })
  const listing = createListing(asked)
  const isScan = () => isContaining() && search() !== ''
  createEffect(on([bucket, folder], () => setChosen(new Map()), { defer: true }))
  const reload = () => {
    setChosen(new Map())
    setVersion((before) => before + 1)
    listing.reload()
  }
  const uploads = createMemo(() => uploadsTo(bucket()))
  createEffect(on(() => uploads().batches(), reload, { defer: true }))
  const addFiles = (input: HTMLInputElement) => {
    const files = [...(input.files ?? [])]
    uploads().add(files.map((file) => ({ file, key: folder() + (file.webkitRelativePath || file.name) })))
    input.value = ''
  }
  let typing: ReturnType<typeof setTimeout> | undefined
  onCleanup(() => clearTimeout(typing))
  const onSearch = (text: string) => {
    clearTimeout(typing)
    typing = setTimeout(
      () => setQuery({ search: text || undefined, after: undefined }, { replace: true }),
      TYPING_MS,
    )
  }
  const toggle = ({ key, size }: Entry) =>
    setChosen((before) => {
      const after = new Map(before)
      if (!after.delete(key)) after.set(key, size === undefined ? 'folder' : 'object')
      return after
    })

  return (
    <div
      class="objects"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault()
        if (event.dataTransfer) void uploads().addDropped(event.dataTransfer, folder())
      }}
    >
      <header class="page-head">
        <Crumbs bucket={bucket()} folder={folder()} />
        <Show when={chosen().size > 0}>
          <button type="button" class="button danger" onClick={() => setRemoving(chosen())}>
            {t('object.delete-chosen', { count: chosen().size })}
          </button>
        </Show>
        <span class="search">
          <input
            type="search"
            aria-label={t(isContaining() ? 'object.search-contains' : 'object.search')}
            placeholder={t(isContaining() ? 'object.search-contains' : 'object.search')}
            value={search()}
            onInput={(event) => onSearch(event.currentTarget.value)}
          />
          <select
            aria-label={t('object.search-how')}
            value={isContaining() ? 'contains' : 'begins'}
            onChange={({ currentTarget: { value } }) =>
              setQuery({ how: value === 'contains' ? value : undefined }, { replace: true })
            }
          >
            <option value="begins">{t('object.begins')}</option>
            <option value="contains">{t('object.contains')}</option>
          </select>
        </span>
        <label>
          <input
            type="checkbox"
            checked={query.deleted !== undefined}
            onChange={(event) => setQuery({ deleted: event.currentTarget.checked ? '1' : undefined })}
          />{' '}
          {t('object.with-deleted')}
        </label>
        <label class="button">
          {t('object.upload-folder')}
          <input
            ref={(input) => input.setAttribute('webkitdirectory', '')}
            type="file"
            class="hidden"
            onChange={(event) => addFiles(event.currentTarget)}
          />
        </label>
        <label class="button primary">
          {t('object.upload')}
          <input type="file" multiple class="hidden" onChange={(event) => addFiles(event.currentTarget)} />
        </label>
      </header>
      <UploadList uploads={uploads()} />
      <Unfinished bucket={bucket()} prefix={folder()} uploads={uploads()} version={version()} />
      <ErrorNote text={listing.failure()}>
        <button type="button" class="button" onClick={listing.resume}>
          {t('try-again')}
        </button>
      </ErrorNote>
      <Show when={listing.total() === 0 && !listing.failure() && !isScan()}>
        <p class="empty">
          {listing.hasMore() ? t('loading') : search() ? t('object.not-found') : t('object.none')}
        </p>
      </Show>
      <Show when={isScan()}>
        <p class="inline" role="status">
          <Show when={listing.isLoading()}>
            <progress aria-label={t('object.searching')} />
          </Show>
          <Show when={listing.total() > 0 || listing.hasMore()} fallback={t('object.none-contains')}>
            {t(listing.hasMore() ? 'object.found-so-far' : 'object.found', {
              count: count(listing.total()),
              seen: count(listing.seen()),
            })}
          </Show>
          <Show when={listing.hasMore()}>
            <Show
              when={listing.isStopped()}
              fallback={
                <Show when={listing.isLoading()}>
                  <button type="button" class="button" onClick={listing.stop}>
                    {t('stop')}
                  </button>
                </Show>
              }
            >
              <button type="button" class="button" onClick={listing.resume}>
                {t('object.search-on')}
              </button>
            </Show>
          </Show>
        </p>
      </Show>
      <Show when={query.after}>
        {(after) => (
          <p class="inline">
            {t('object.after', { name: visible(after()) })}
            <button type="button" class="button" onClick={() => setQuery({ after: undefined })}>
              {t('object.from-start')}
            </button>
          </p>
        )}
      </Show>
      <Rows
        bucket={bucket()}
        folder={folder()}
        asked={JSON.stringify(asked())}
        listing={listing}
        chosen={chosen()}
        onToggle={toggle}
        onShow={({ key, isDeleted }) => setQuery({ object: key, view: isDeleted ? 'versions' : undefined })}
      />
      <Show when={listing.total() > 0 && !isScan()}>
        <p class="muted" role="status">
          {t(listing.hasMore() ? 'object.at-least' : 'object.count', { count: count(listing.total()) })}
        </p>
      </Show>
      <Show when={query.object} keyed>
        {(key) => (
          <Details
            bucket={bucket()}
            objectKey={key}
            view={isView(query.view) ? query.view : undefined}
            versionId={query.version}
            onView={(view, version) => setQuery({ view, version })}
            onClose={() => setQuery({ object: undefined, view: undefined, version: undefined })}
            onChange={reload}
          />
        )}
      </Show>
      <Show when={removing()}>
        {(keys) => (
          <Removal
            bucket={bucket()}
            chosen={keys()}
            onClose={(hasDeleted) => {
              setRemoving(undefined)
              if (hasDeleted) reload()
            }}
          />
        )}
      </Show>
    </div>
  )
}
