import { type Accessor, createSignal } from 'solid-js'
import { ApiError, explain } from '../../net/errors'
import {
  beginUpload,
  completeUpload,
  etagOf,
  listParts,
  listUploads,
  type StoredPart,
} from '../../net/multipart'
import { s3Upload } from '../../net/s3'
import { sessionEnd } from '../../session'

export interface Upload {
  readonly key: string
  /** In bytes, as `sent`. */
  readonly total: number
  readonly sent: Accessor<number>
  readonly state: Accessor<'waiting' | 'checking' | 'sending' | 'paused' | 'done' | 'failed'>
  readonly problem: Accessor<string | undefined>
  /** Of an upload in parts that has begun. */
  readonly uploadId: Accessor<string | undefined>
  /** Whether it broke off since the session was over. */
  readonly isForSession: Accessor<boolean>
  pause(): void
  resume(): void
}

const PART_BYTES = 16 << 20
const PARTS_MAX = 10_000
const PART_BYTES_MIN = 5 << 20

/**
 * One file on its way. A long one goes in parts, which stay when it is paused or breaks off. Parts that the store has
 * already, from another day or another browser, count if their MD5 is that of the file's own part: so the file that goes on
 * is the one that was begun.
 * @param uploadId the unfinished upload to go on with; without it, one of the same key is looked for
 */
export function createUpload(
  { bucket, key, file, uploadId: known }: { bucket: string; key: string; file: File; uploadId?: string },
  queue: (run: () => Promise<void>) => void,
): Upload {
  const [sent, setSent] = createSignal(0)
  const [state, setState] = createSignal<ReturnType<Upload['state']>>('waiting')
  const [problem, setProblem] = createSignal<string>()
  const [isForSession, setForSession] = createSignal(false)
  const [uploadId, setUploadId] = createSignal(known)
  const parts = new Map<number, string>()
  let partBytes = Math.max(PART_BYTES, Math.ceil(file.size / PARTS_MAX))
  let abort = new AbortController()
  const type: Record<string, string> = file.type === '' ? {} : { 'content-type': file.type }

  /** Takes over the parts of an unfinished upload that are parts of this file. */
  const takeOver = async (id: string, signal: AbortSignal) => {
    setState('checking')
    const stored = await listParts(bucket, key, id)
    partBytes = partBytesOf(stored, file.size) ?? partBytes
    for (const { number, etag, size } of stored) {
      const part = partOf(file, number, partBytes)
      if (size !== part.size || (await etagOf(part, signal)) !== etag) continue
      parts.set(number, etag)
      setSent((before) => before + size)
    }
  }
  const sendParts = async (signal: AbortSignal) => {
    if (parts.size === 0) {
      setSent(0)
      const found = uploadId() ?? (await listUploads(bucket, key)).find((each) => each.key === key)?.uploadId
      if (found !== undefined) await takeOver(found, signal)
      setUploadId(found ?? (await beginUpload(bucket, key, type)))
    }
    setState('sending')
    const id = uploadId()!
    const last = Math.ceil(file.size / partBytes)
    let before = 0
    for (const number of parts.keys()) before += partOf(file, number, partBytes).size
    for (let number = 1; number <= last; number++) {
      if (parts.has(number)) continue
      signal.throwIfAborted()
      const body = partOf(file, number, partBytes)
      const query = { partNumber: String(number), uploadId: id }
      const done = before
      const etag = await s3Upload({ bucket, key, query, body, signal }, (bytes) => setSent(done + bytes))
      parts.set(number, etag)
      before += body.size
    }
    await completeUpload(bucket, key, id, parts)
  }
  const run = async () => {
    if (state() !== 'waiting') return
    const { signal } = abort
    setState('sending')
    setProblem(undefined)
    try {
      if (file.size > PART_BYTES) await sendParts(signal)
      else await s3Upload({ bucket, key, body: file, headers: type, signal }, setSent)
      setSent(file.size)
      setState('done')
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof ApiError && error.code === 'NoSuchUpload') {
        // Somebody else gave it up or completed it: the next attempt begins anew.
        parts.clear()
        setUploadId(undefined)
      }
      setProblem(explain(error))
      setForSession(sessionEnd() !== undefined)
      setState('failed')
    }
  }
  queue(run)
  return {
    ...{ key, total: file.size, sent, state, problem, uploadId, isForSession },
    pause() {
      if (state() === 'done') return
      setForSession(false)
      setState('paused')
      abort.abort()
    },
    resume() {
      setForSession(false)
      abort = new AbortController()
      setState('waiting')
      queue(run)
    },
  }
}

function partOf(file: File, number: number, partBytes: number): Blob {
  return file.slice((number - 1) * partBytes, number * partBytes)
}

/** The length of the parts of an upload that another page or program began; undefined if the file cannot go on in such parts. */
export function partBytesOf(stored: readonly StoredPart[], fileBytes: number): number | undefined {
  const longest = Math.max(0, ...stored.map(({ size }) => size))
  return longest >= PART_BYTES_MIN && Math.ceil(fileBytes / longest) <= PARTS_MAX ? longest : undefined
}
