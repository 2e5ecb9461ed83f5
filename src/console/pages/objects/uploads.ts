import { type Accessor, createSignal } from 'solid-js'
import { createUpload, type Upload } from './upload'

const AT_ONCE = 3

export interface ToUpload {
  readonly file: File
  readonly key: string
  /** Of the unfinished upload to go on with. */
  readonly uploadId?: string
}

/** The uploads of a bucket's page, some at a time. `onDone` is called when none is left to send and some are there. */
export function createUploads(bucket: Accessor<string>, onDone: () => void) {
  const [uploads, setUploads] = createSignal<readonly Upload[]>([])
  const waiting: (() => Promise<void>)[] = []
  let running = 0

  const pump = () => {
    while (running < AT_ONCE && waiting.length > 0) {
      running++
      void waiting.shift()!().finally(() => {
        running--
        pump()
        const isAnyDone = uploads().some(({ state }) => state() === 'done')
        if (isAnyDone && running === 0 && waiting.length === 0) onDone()
      })
    }
  }
  const add = (files: readonly ToUpload[]) => {
    const made = files.map((each) =>
      createUpload({ bucket: bucket(), ...each }, (run) => {
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

  return { uploads, add, addDropped, clear: () => setUploads([]) }
}

export type Uploads = ReturnType<typeof createUploads>

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
