import { type Accessor, createEffect, createSignal, on } from 'solid-js'
import { explain } from '../../net/errors'
import { isFolderItself, listObjects, type ObjectEntry } from '../../net/s3'
import { listVersions, type VersionMarker } from '../../net/versions'
import { session } from '../../session'

/** What is listed. */
export interface Asked {
  readonly bucket: string
  /** The folder, and what names in it begin with. */
  readonly prefix: string
  /** Whether deleted objects, of which versions are kept, are listed too. */
  readonly withDeleted: boolean
  /** The key after which it begins; the first one without it. */
  readonly after?: string | undefined
}

/**
 * The most entries of one listing: browsers cannot make an element taller than some 800 000 rows, and a page need not grow
 * without end. Whoever gets so far goes on in a listing that begins there.
 */
const ENTRIES_MAX = 200_000

export interface Entry extends ObjectEntry {
  readonly isDeleted?: boolean
}

type Next = string | VersionMarker | undefined

/** A listing that grows by pages of a thousand as one scrolls. */
export function createListing(asked: Accessor<Asked>) {
  const [entries, setEntries] = createSignal<readonly Entry[]>([])
  const [next, setNext] = createSignal<Next>()
  const [state, setState] = createSignal<'loading' | 'ready'>('loading')
  const [failure, setFailure] = createSignal<string>()
  let turn = 0
  const load = async (from: Next) => {
    const mine = ++turn
    setState('loading')
    setFailure(undefined)
    try {
      const page = await pageOf(asked(), from)
      if (mine !== turn) return
      setEntries((before) => (from === undefined ? page.entries : [...before, ...page.entries]))
      setNext(page.next)
    } catch (error) {
      if (mine === turn) setFailure(explain(error))
    } finally {
      if (mine === turn) setState('ready')
    }
  }
  const reload = () => void load(undefined)
  const key = () => JSON.stringify(asked())
  createEffect(
    on(key, () => {
      setEntries([])
      reload()
    }),
  )
  // Who signed in again goes on where the listing broke off.
  createEffect(on(session, () => failure() !== undefined && void load(next()), { defer: true }))
  const isFull = () => next() !== undefined && entries().length >= ENTRIES_MAX
  const more = () => {
    if (next() !== undefined && !isFull() && state() === 'ready' && failure() === undefined) void load(next())
  }
  return { entries, state, failure, hasMore: () => next() !== undefined, isFull, more, reload }
}

async function pageOf(asked: Asked, from: Next): Promise<{ entries: Entry[]; next: Next }> {
  const { bucket, prefix, withDeleted, after } = asked
  if (!withDeleted) return listObjects(bucket, prefix, { next: from as string | undefined, after })
  const start = after === undefined ? undefined : { key: after, versionId: undefined }
  const marker = (from as VersionMarker | undefined) ?? start
  const page = await listVersions(bucket, prefix, { delimiter: '/', ...(marker && { from: marker }) })
  const objects = page.versions
    .filter(({ isLatest, key }) => isLatest && !isFolderItself(key, prefix))
    .map(({ isDeleteMarker, ...version }) => ({ ...version, isDeleted: isDeleteMarker }))
  return { entries: [...page.folders.map((key) => ({ key })), ...objects], next: page.next }
}
