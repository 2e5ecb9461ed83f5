import { useParams, useSearchParams } from '@solidjs/router'
import { createEffect, createSignal, on, onCleanup, Show } from 'solid-js'
import { count, t } from '../texts/texts'
import { ErrorNote } from '../ui/action'
import { Crumbs } from './objects/crumbs'
import { Details } from './objects/details'
import { createListing, type Entry } from './objects/listing'
import { Removal } from './objects/removal'
import { Rows } from './objects/rows'
import { Unfinished, UploadList } from './objects/upload-list'
import { createUploads } from './objects/uploads'

/** The search is asked when nothing more was typed for so long. */
const TYPING_MS = 250

/** A bucket's folders and objects. */
export default function Objects() {
  const params = useParams()
  const [query, setQuery] = useSearchParams<{ search?: string; deleted?: string }>()
  const bucket = () => params.bucket!
  const folder = () => params.prefix ?? ''
  const search = () => query.search ?? ''
  const [chosen, setChosen] = createSignal<ReadonlySet<string>>(new Set<string>())
  const [shown, setShown] = createSignal<Entry>()
  const [removing, setRemoving] = createSignal<ReadonlySet<string>>()
  const [version, setVersion] = createSignal(0)
  const listing = createListing(() => ({
    bucket: bucket(),
    prefix: folder() + search(),
    withDeleted: query.deleted !== undefined,
  }))
  createEffect(on([bucket, folder], () => setChosen(new Set<string>()), { defer: true }))
  const reload = () => {
    setChosen(new Set<string>())
    setVersion((before) => before + 1)
    listing.reload()
  }
  const uploads = createUploads(bucket, reload)
  const addFiles = (input: HTMLInputElement) => {
    const files = [...(input.files ?? [])]
    uploads.add(files.map((file) => ({ file, key: folder() + (file.webkitRelativePath || file.name) })))
    input.value = ''
  }
  let typing: ReturnType<typeof setTimeout> | undefined
  onCleanup(() => clearTimeout(typing))
  const onSearch = (text: string) => {
    clearTimeout(typing)
    typing = setTimeout(() => setQuery({ search: text || undefined }, { replace: true }), TYPING_MS)
  }
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
        if (event.dataTransfer) void uploads.addDropped(event.dataTransfer, folder())
      }}
    >
      <header class="page-head">
        <Crumbs bucket={bucket()} folder={folder()} />
        <Show when={chosen().size > 0}>
          <button type="button" class="button danger" onClick={() => setRemoving(chosen())}>
            {t('object.delete-chosen', { count: chosen().size })}
          </button>
        </Show>
        <input
          type="search"
          aria-label={t('object.search')}
          placeholder={t('object.search')}
          value={search()}
          onInput={(event) => onSearch(event.currentTarget.value)}
        />
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
      <UploadList uploads={uploads} />
      <Unfinished bucket={bucket()} prefix={folder()} uploads={uploads} version={version()} />
      <ErrorNote text={listing.failure()}>
        <button type="button" class="button" onClick={reload}>
          {t('try-again')}
        </button>
      </ErrorNote>
      <Show when={listing.entries().length === 0 && !listing.failure()}>
        <p class="empty">
          {listing.state() === 'loading' ? t('loading') : search() ? t('object.not-found') : t('object.none')}
        </p>
      </Show>
      <Rows
        bucket={bucket()}
        folder={folder()}
        listing={listing}
        chosen={chosen()}
        onToggle={toggle}
        onShow={setShown}
      />
      <Show when={listing.entries().length > 0}>
        <p class="muted" role="status">
          {t(listing.hasMore() ? 'object.at-least' : 'object.count', {
            count: count(listing.entries().length),
          })}
        </p>
      </Show>
      <Show when={shown()}>
        {(entry) => (
          <Details bucket={bucket()} entry={entry()} onClose={() => setShown(undefined)} onChange={reload} />
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
