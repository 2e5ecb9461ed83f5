import { DOCUMENT_RATE, OBJECT_RATE } from '../../http/least-rate.js'
import { FormError, type FormFile, formBoundary, readForm } from '../../http/multipart-form.js'
import { parseXml } from '../../xml/reader.js'
import { invalidArgument, S3Error } from '../errors.js'
import { bodyError } from '../payload/payload.js'
import type { S3Request } from '../request.js'
import { checkKey } from '../router.js'
import { refuseUnknown, UPLOAD_BYTES_MAX } from '../screen.js'

/** The limit for all fields before the file, in bytes; AWS's is 20 KB. */
const HEAD_BYTES_MAX = 64 * 1024
const FIELDS_MAX = 200

/** A POST Object form up to its file. */
export interface PostForm {
  /** Values by lower-case names; `${filename}` in `key` is replaced. */
  fields: Map<string, string>
  keyTemplate: string
  key: string
  file: FormFile
}

/** Reads the fields of the form that a request carries. @throws S3Error */
export async function readPostForm(request: S3Request): Promise<PostForm> {
  const boundary = formBoundary(request.headers['content-type'])
  if (boundary === undefined) throw new S3Error('MalformedPOSTRequest')
  const { reader } = request
  const next = () => reader.next()
  // Nobody knows yet who is asking.
  reader.rate = DOCUMENT_RATE
  const { fields, file } = await readForm(next, boundary, (name) => name.toLowerCase() === 'file', {
    headBytesMax: HEAD_BYTES_MAX,
    fieldsMax: FIELDS_MAX,
  }).catch((error: unknown) => {
    throw formError(error)
  })
  reader.rate = OBJECT_RATE
  const byName = new Map<string, string>()
  for (const { name, value } of fields) {
    const lower = name.toLowerCase()
    if (byName.has(lower)) throw invalidArgument('Each field of the form may be given once.', name, value)
    // Names and values are sent in headers of answers.
    if (/[^\x21-\x7e]/.test(lower) || (lower !== 'tagging' && /[\x00-\x08\x0a-\x1f\x7f]/.test(value))) {
      if (lower !== 'policy' && lower !== 'key') {
        throw invalidArgument('A field of the form has characters that cannot be stored.', name)
      }
    }
    byName.set(lower, value)
  }
  const keyTemplate = byName.get('key')
  if (keyTemplate === undefined) {
    throw invalidArgument(
      "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
      'key',
      '',
    )
  }
  if (!file) throw invalidArgument('POST requires exactly one file upload per request.', 'file', '0')
  const fileName = file.fileName ?? ''
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the variable of AWS's forms
  const key = keyTemplate.replaceAll('${filename}', () => fileName)
  if (key === '') throw invalidArgument('User key must have a length greater than 0.', 'key', '')
  checkKey(key)
  byName.set('key', key)
  return { fields: byName, keyTemplate, key, file }
}

/** Headers of the request that also apply to the object made from the form. */
const KEPT_HEADERS = ['host', 'user-agent', 'referer', 'origin', 'x-forwarded-for', 'x-forwarded-proto']
/** Fields that are headers of PutObject under the same name. */
const HEADER_FIELDS = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-md5',
  'content-type',
  'expires',
  'if-match',
  'if-none-match',
])
/**
 * Fields that must not become headers: those of the signature, and those that would change the framing of the
 * body.
 */
const NO_HEADER = new Set([
  'x-amz-algorithm',
  'x-amz-content-sha256',
  'x-amz-copy-source',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-decoded-content-length',
  'x-amz-security-token',
  'x-amz-signature',
  'x-amz-trailer',
])

/**
 * The headers of the PutObject that a form means.
 * @throws S3Error MalformedXML (tagging), NotImplemented
 */
export async function putHeaders(request: S3Request, form: PostForm): Promise<Record<string, string>> {
  // The length of the file is unknown before its end.
  const headers: Record<string, string> = { 'transfer-encoding': 'chunked' }
  for (const name of KEPT_HEADERS) {
    const value = request.headers[name]
    if (typeof value === 'string') headers[name] = value
  }
  for (const [name, value] of form.fields) {
    const isHeader = HEADER_FIELDS.has(name) || (name.startsWith('x-amz-') && !NO_HEADER.has(name))
    if (!isHeader) continue
    refuseUnknown(name)
    headers[name] = Buffer.from(value).toString('latin1')
  }
  const acl = form.fields.get('acl')
  if (acl !== undefined) headers['x-amz-acl'] = acl
  const tagging = form.fields.get('tagging')
  if (tagging !== undefined && tagging !== '') headers['x-amz-tagging'] = await taggingHeader(tagging)
  return headers
}

/** Turns the tags of a form, which are XML, into the value of PutObject's header. */
async function taggingHeader(xml: string): Promise<string> {
  const root = await parseXml(Buffer.from(xml), 'Tagging')
  const tags = root
    .need('TagSet')
    .all('Tag')
    .map((tag) => [tag.needText('Key'), tag.needText('Value')])
  return tags.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')
}

/** The file of a form as a body whose length must be in a range. */
export class FormBody {
  started = false
  #received = 0

  constructor(
    private readonly file: FormFile,
    private readonly range: { min: number; max: number },
  ) {}

  /**
   * @throws S3Error EntityTooLarge, EntityTooSmall, MalformedPOSTRequest, and the errors of a connection that
   * ends early
   */
  async next(): Promise<Buffer | undefined> {
    this.started = true
    const { value } = await this.file.body.next().catch((error: unknown) => {
      throw formError(error)
    })
    const { min } = this.range
    const max = Math.min(this.range.max, UPLOAD_BYTES_MAX)
    if (value) {
      this.#received += value.length
      if (this.#received > max) throw this.#outOfRange('EntityTooLarge', 'MaxSizeAllowed', max)
      return value
    }
    if (this.#received < min) throw this.#outOfRange('EntityTooSmall', 'MinSizeAllowed', min)
    return undefined
  }

  async collect(bytesMax: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    for (let piece = await this.next(); piece; piece = await this.next()) {
      pieces.push(piece)
      if (this.#received > bytesMax) throw new S3Error('EntityTooLarge')
    }
    return Buffer.concat(pieces)
  }

  #outOfRange(code: 'EntityTooLarge' | 'EntityTooSmall', limit: string, bytes: number): S3Error {
    return new S3Error(code, undefined, { extra: { ProposedSize: this.#received, [limit]: bytes } })
  }
}

function formError(error: unknown): unknown {
  if (!(error instanceof FormError)) return bodyError(error, 'EntityTooLarge')
  return new S3Error(
    error.code === 'TooLarge' ? 'MaxPostPreDataLengthExceededError' : 'MalformedPOSTRequest',
    undefined,
    { cause: error },
  )
}
