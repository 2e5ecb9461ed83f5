/**
 * Reads multipart/form-data (RFC 7578) piece by piece: the fields before the file in memory, the file as a stream at
 * the reader's own pace. Pull and exceptions instead of events, so that a form that breaks off anywhere is one error at
 * one place.
 */

/** A form that cannot be read. */
export class FormError extends Error {
  override readonly name = 'FormError'
  constructor(readonly code: 'Malformed' | 'TooLarge') {
    super(`form: ${code}`)
  }
}

export interface FormField {
  /** As sent. */
  name: string
  value: string
}

/** The part that holds the file. */
export interface FormFile {
  /** Without its path; undefined if the browser sent none. */
  fileName: string | undefined
  contentType: string | undefined
  /**
   * The file's bytes. It ends after the form's last delimiter was read.
   * @throws FormError when the form breaks off
   */
  body: AsyncGenerator<Buffer, void, undefined>
}

export interface FormLimits {
  /** The limit for everything before the file, in bytes. */
  headBytesMax: number
  fieldsMax: number
}

interface PartHeader {
  name: string
  fileName: string | undefined
  contentType: string | undefined
}

const CRLF = Buffer.from('\r\n')
const HEADER_END = Buffer.from('\r\n\r\n')
const PART_HEADER_BYTES_MAX = 8 * 1024

/** The boundary of a Content-Type header; undefined if it is not of a form. */
export function formBoundary(contentType: string | undefined): string | undefined {
  const m =
    /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))\s*(?:;|$)/i.exec(
      contentType ?? '',
    )
  return m ? (m[1] ?? m[2]) : undefined
}

/**
 * Reads a form up to its file.
 * @param next the next bytes of the body, undefined at its end
 * @param isFile whether a part of that name (as sent) is the file; a form's other parts behind it are thrown away
 * @returns the fields before the file, and the file; undefined if the form has none
 * @throws FormError, and what `next` throws
 */
export async function readForm(
  next: () => Promise<Buffer | undefined>,
  boundary: string,
  isFile: (name: string) => boolean,
  limits: FormLimits,
): Promise<{ fields: FormField[]; file: FormFile | undefined }> {
  const input = new Input(next)
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  const fields: FormField[] = []
  // The first delimiter may stand at the very beginning; any bytes before it are a preamble.
  input.unread(CRLF)
  let left = limits.headBytesMax
  left -= (await input.until(delimiter, left)).length
  while (await afterDelimiter(input)) {
    const text = await input.until(HEADER_END, Math.min(left, PART_HEADER_BYTES_MAX))
    left -= text.length
    const header = parseHeader(text)
    if (isFile(header.name)) {
      const { fileName, contentType } = header
      return { fields, file: { fileName, contentType, body: fileBody(input, delimiter) } }
    }
    if (fields.length >= limits.fieldsMax) throw new FormError('TooLarge')
    const value = await input.until(delimiter, left)
    left -= value.length
    fields.push({ name: header.name, value: utf8Text(value) })
  }
  return { fields, file: undefined }
}

/** Whether another part follows a delimiter; false if it was the last one. */
async function afterDelimiter(input: Input): Promise<boolean> {
  const two = await input.exactly(2)
  if (two.equals(CRLF)) {
    // A part without headers would begin with its empty line.
    input.unread(CRLF)
    return true
  }
  if (two.toString('latin1') === '--') return false
  // White space may follow a delimiter.
  if (/^[ \t]/.test(two.toString('latin1'))) {
    input.unread(two)
    if (/[^ \t]/.test((await input.until(CRLF, 256)).toString('latin1'))) throw new FormError('Malformed')
    input.unread(CRLF)
    return true
  }
  throw new FormError('Malformed')
}

async function* fileBody(input: Input, delimiter: Buffer): AsyncGenerator<Buffer, void, undefined> {
  for await (const piece of input.streamUntil(delimiter)) yield piece
  // Parts after the file are ignored, but the form has to be complete.
  while (await afterDelimiter(input)) for await (const _ of input.streamUntil(delimiter));
}

function parseHeader(bytes: Buffer): PartHeader {
  let name: string | undefined
  let fileName: string | undefined
  let contentType: string | undefined
  for (const line of utf8Text(bytes).split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon < 0) {
      if (line !== '') throw new FormError('Malformed')
      continue
    }
    const value = line.slice(colon + 1).trim()
    switch (line.slice(0, colon).trim().toLowerCase()) {
      case 'content-disposition':
        if (!/^form-data\s*;/i.test(value)) throw new FormError('Malformed')
        name = parameter(value, 'name')
        fileName = parameter(value, 'filename')
        break
      case 'content-type':
        contentType = value
    }
  }
  if (name === undefined || name === '') throw new FormError('Malformed')
  return { name, fileName: fileName?.replace(/^.*[\\/]/s, ''), contentType }
}

/** A parameter of a Content-Disposition. Browsers write `"` as %22 or \", line ends as %0D%0A (WHATWG, RFC 7578). */
function parameter(value: string, name: string): string | undefined {
  const m = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;"]*))`, 'i').exec(value)
  if (!m) return undefined
  const quoted = m[1]
  if (quoted === undefined) return m[2]
  return quoted
    .replace(/\\(["\\])/g, '$1')
    .replace(/%22/g, '"')
    .replace(/%0D/gi, '\r')
    .replace(/%0A/gi, '\n')
}

function utf8Text(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new FormError('Malformed')
  }
}

/** Bytes that come in pieces of any size. */
class Input {
  #rest: Buffer = Buffer.alloc(0)

  constructor(private readonly next: () => Promise<Buffer | undefined>) {}

  unread(bytes: Buffer): void {
    this.#rest = Buffer.concat([bytes, this.#rest])
  }

  /** @throws FormError Malformed at the end of the body */
  async #more(): Promise<void> {
    const chunk = await this.next()
    if (chunk === undefined) throw new FormError('Malformed')
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
  }

  async exactly(bytes: number): Promise<Buffer> {
    while (this.#rest.length < bytes) await this.#more()
    const out = this.#rest.subarray(0, bytes)
    this.#rest = this.#rest.subarray(bytes)
    return out
  }

  /**
   * The bytes before `mark`, which is consumed.
   * @throws FormError TooLarge if they are more than `bytesMax`
   */
  async until(mark: Buffer, bytesMax: number): Promise<Buffer> {
    let from = 0
    while (true) {
      const at = this.#rest.indexOf(mark, from)
      if (at > bytesMax || (at < 0 && this.#rest.length > bytesMax + mark.length)) {
        throw new FormError('TooLarge')
      }
      if (at >= 0) {
        const out = this.#rest.subarray(0, at)
        this.#rest = this.#rest.subarray(at + mark.length)
        return out
      }
      from = Math.max(0, this.#rest.length - mark.length + 1)
      await this.#more()
    }
  }

  /**
   * As `until`, for any length: gives the bytes in pieces as they come, and holds back only a possible
   * beginning of `mark`.
   */
  async *streamUntil(mark: Buffer): AsyncGenerator<Buffer, void, undefined> {
    while (true) {
      const at = this.#rest.indexOf(mark)
      const sure = at >= 0 ? at : possibleStart(this.#rest, mark)
      const piece = this.#rest.subarray(0, sure)
      this.#rest = this.#rest.subarray(at >= 0 ? at + mark.length : sure)
      if (piece.length > 0) yield piece
      if (at >= 0) return
      await this.#more()
    }
  }
}

/**
 * The first place in `bytes` at which a `mark` may begin that is not complete yet; the length if there is
 * none.
 */
function possibleStart(bytes: Buffer, mark: Buffer): number {
  for (let at = Math.max(0, bytes.length - mark.length + 1); at < bytes.length; at++) {
    if (bytes[at] === mark[0] && mark.subarray(0, bytes.length - at).equals(bytes.subarray(at))) return at
  }
  return bytes.length
}
