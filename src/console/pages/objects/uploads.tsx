import { type Accessor, createSignal, For, Show } from 'solid-js'
import { explain } from '../../net/errors'
import { s3, s3Upload, s3Xml, textOf } from '../../net/s3'
import { bytes, t } from '../../texts/texts'

export interface Upload {
  readonly key: string
  readonly total: number
  readonly sent: Accessor<number>
  readonly state: Accessor<'waiting' | 'sending' | 'paused' | 'done' | 'failed'>
  readonly problem: Accessor<string | undefined>
  pause(): void
  resume(): void
}

const AT_ONCE = 3
const PART_BYTES = 16 << 20
const PARTS_MAX = 10_000

/** Uploads of a bucket, some at a time. Long files go in parts, which stay when an upload is paused or breaks off. */
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
        if (running === 0 && waiting.length === 0) onDone()
      })
    }
  }

  const add = (files: readonly { file: File; key: string }[]) => {
    const made = files.map(({ file, key }) =>
      createUpload(bucket(), key, file, (run) => {
        waiting.push(run)
        pump()
      }),
    )
    setUploads((before) => [...before.filter(({ state }) => state() !== 'done'), ...made])
  }

  /** Files and folders that were dropped on the page. */
  const addDropped = async (data: DataTransfer, prefix: string) => {
    const roots = [...data.items].flatMap((item) => item.webkitGetAsEntry() ?? [])
    for (const root of roots)
      for await (const { file, path } of filesBelow(root)) add([{ file, key: prefix + path }])
  }

  return { uploads, add, addDropped, clear: () => setUploads([]) }
}

async function* filesBelow(entry: FileSystemEntry): AsyncGenerator<{ file: File; path: string }> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    )
    yield { file, path: entry.fullPath.slice(1) }
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    // Chromium gives a hundred at a time.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    )
    if (some.length === 0) return
    for (const each of some) yield* filesBelow(each)
  }
}

function createUpload(
  bucket: string,
  key: string,
  file: File,
  queue: (run: () => Promise<void>) => void,
): Upload {
  const [sent, setSent] = createSignal(0)
  const [state, setState] = createSignal<ReturnType<Upload['state']>>('waiting')
  const [problem, setProblem] = createSignal<string>()
  let abort = new AbortController()
  let uploadId: string | undefined
  const parts = new Map<number, string>()

  const partBytes = Math.max(PART_BYTES, Math.ceil(file.size / PARTS_MAX))
  const sendWhole = () =>
    s3Upload({ bucket, key, body: file, headers: typeOf(file), signal: abort.signal }, setSent)
  const sendParts = async () => {
    uploadId ??= await begin(bucket, key, file)
    const last = Math.ceil(file.size / partBytes)
    for (let number = 1; number <= last; number++) {
      if (parts.has(number)) continue
      const start = (number - 1) * partBytes
      const body = file.slice(start, start + partBytes)
      const query = { partNumber: String(number), uploadId }
      const etag = await s3Upload({ bucket, key, query, body, signal: abort.signal }, (bytes) =>
        setSent(start + bytes),
      )
      parts.set(number, etag)
    }
    await complete(bucket, key, uploadId, parts)
  }
  const run = async () => {
    if (state() === 'paused') return
    setState('sending')
    setProblem(undefined)
    try {
      if (file.size > partBytes) await sendParts()
      else await sendWhole()
      setSent(file.size)
      setState('done')
    } catch (error) {
      if (abort.signal.aborted) return
      setProblem(explain(error))
      setState('failed')
    }
  }
  queue(run)
  return {
    ...{ key, total: file.size, sent, state, problem },
    pause() {
      setState('paused')
      abort.abort()
    },
    resume() {
      abort = new AbortController()
      setState('waiting')
      queue(run)
    },
  }
}

function typeOf(file: File): Record<string, string> {
  return file.type === '' ? {} : { 'content-type': file.type }
}

async function begin(bucket: string, key: string, file: File): Promise<string> {
  const document = await s3Xml({ method: 'POST', bucket, key, query: { uploads: '' }, headers: typeOf(file) })
  return textOf(document.documentElement, 'UploadId')
}

async function complete(bucket: string, key: string, uploadId: string, parts: ReadonlyMap<number, string>) {
  const list = [...parts]
    .sort(([a], [b]) => a - b)
    .map(
      ([number, etag]) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`,
    )
  const body = `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`
  await s3({ method: 'POST', bucket, key, query: { uploadId }, body })
}

export function UploadList(props: { uploads: ReturnType<typeof createUploads> }) {
  return (
    <Show when={props.uploads.uploads().length > 0}>
      <section class="card uploads" aria-label={t('upload.list')}>
        <For each={props.uploads.uploads()}>
          {(upload) => (
            <div class="upload">
              <span class="name">{upload.key}</span>
              <progress
                max={upload.total || 1}
                value={upload.state() === 'done' ? upload.total || 1 : upload.sent()}
                aria-label={upload.key}
              />
              <span class="muted" role="status">
                {t(`upload.${upload.state()}`)} · {bytes(upload.sent())} / {bytes(upload.total)}
              </span>
              <Show when={upload.state() === 'sending' || upload.state() === 'waiting'}>
                <button type="button" class="button" onClick={() => upload.pause()}>
                  {t('upload.pause')}
                </button>
              </Show>
              <Show when={upload.state() === 'paused' || upload.state() === 'failed'}>
                <button type="button" class="button" onClick={() => upload.resume()}>
                  {t('upload.resume')}
                </button>
              </Show>
              <Show when={upload.problem()}>
                <p class="note error">{upload.problem()}</p>
              </Show>
            </div>
          )}
        </For>
        <button type="button" class="button fit" onClick={() => props.uploads.clear()}>
          {t('close')}
        </button>
      </section>
    </Show>
  )
}
