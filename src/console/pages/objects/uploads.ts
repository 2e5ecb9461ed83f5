import { createEffect, createRoot, createSignal, on, untrack } from 'solid-js'
import { isSignedIn, session } from '../../session'
import { createUpload, type Upload } from './upload'

const AT_ONCE = 3

export interface ToUpload {
  readonly file: File
  readonly key: string
  /** Of the unfinished upload to go on with. */
  readonly uploadId?: string
}

/** The uploads to a bucket, some at a time. They go on while other pages are shown. */
function createUploads(bucket: string) {
  const [uploads, setUploads] = createSignal<readonly Upload[]>([])
  const [batches, setBatches] = createSignal(0)
  const waiting: (() => Promise<void>)[] = []
  let running = 0

  const pump = () => {
    while (running < AT_ONCE && waiting.length > 0) {
      running++
      void waiting.shift()!().finally(() => {
        running--
        pump()
        const isAnyDone = uploads().some(({ state }) => state() === 'done')
        if (isAnyDone && running === 0 && waiting.length === 0) setBatches((before) => before + 1)
      })
    }
  }
  const add = (files: readonly ToUpload[]) => {
    const made = files.map((each) =>
      createUpload({ bucket, ...each }, (run) => {
        waiting.push(run)
        pump()
      }),
    )
    // What is done stays while others of the same batch are under way: the bar shows the whole.
    setUploads((before) => [...(before.every(({ state }) => state() === 'done') ? [] : before), ...made])
  }

  /** Files and folders that were dropped on the page. */
  const addDropped = async (data: DataTransfer, prefix: string) => {
    const roots = [...data.items].flatMap((item) => item.webkitGetAsEntry() ?? [])
    for (const root of roots)
      for await (const files of filesBelow(root))
        add(files.map(({ file, path }) => ({ file, key: prefix + path })))
  }

  return {
    ...{ bucket, uploads, add, addDropped },
    /** How many times no upload was left to send, some of them done. */
    batches,
    clear: () => setUploads([]),
  }
}

export type Uploads = ReturnType<typeof createUploads>

const [lists, setLists] = createSignal<ReadonlyMap<string, Uploads>>(new Map())

/** The uploads to a bucket, for every page that shows them. */
export function uploadsTo(bucket: string): Uploads {
  const known = untrack(lists).get(bucket)
  if (known) return known
  const made = createUploads(bucket)
  setLists((before) => new Map([...before, [bucket, made]]))
  return made
}

/** The uploads under way, by bucket. */
export function uploadsUnderWay(): { bucket: string; count: number }[] {
  return [...lists().values()]
    .map(({ bucket, uploads }) => ({ bucket, count: uploads().filter(isOpen).length }))
    .filter(({ count }) => count > 0)
}

/** Whether an upload is on its way, or will be by itself. */
export function isOpen({ state }: Upload): boolean {
  return state() === 'sending' || state() === 'waiting' || state() === 'checking'
}

/** Ends the uploads of whoever signs out; goes on with those that broke off at the end of a session when there is a new one. */
createRoot(() => {
  createEffect(
    on(
      session,
      () => {
        const all = [...untrack(lists).values()].flatMap(({ uploads }) => uploads())
        if (isSignedIn()) {
          for (const upload of all) if (upload.isForSession()) upload.resume()
        } else {
          for (const upload of all) upload.pause()
          setLists(new Map())
        }
      },
      { defer: true },
    ),
  )
})

// The browser asks before it leaves the page: files have to be chosen anew then.
addEventListener('beforeunload', (event) => {
  if (untrack(uploadsUnderWay).length > 0) event.preventDefault()
})

interface Found {
  readonly file: File
  readonly path: string
}

/** The files below a folder, in the batches in which the browser tells of them. */
async function* filesBelow(entry: FileSystemEntry): AsyncGenerator<Found[]> {
  if (entry.isFile) {
    yield [await fileOf(entry as FileSystemFileEntry)]
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    // Chromium gives a hundred at a time.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    )
    if (some.length === 0) return
    const files = some.filter(({ isFile }) => isFile) as FileSystemFileEntry[]
    yield await Promise.all(files.map(fileOf))
    for (const each of some) if (!each.isFile) yield* filesBelow(each)
  }
}

async function fileOf(entry: FileSystemFileEntry): Promise<Found> {
  const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject))
  return { file, path: entry.fullPath.slice(1) }
}
