/**
 * Reads the XML bodies of requests in one pass, in time linear in their length whatever they contain, and in turns of some
 * milliseconds: anybody may send some megabytes, and during a turn, nothing else of this process runs. None of the libraries
 * that were tried does that: bodies made to hurt cost them seconds. S3's documents need only a small part of
 * XML 1.0: no DTD, no entities but the predefined ones.
 */
import { XmlElement } from './element.js'
import { XmlError } from './error.js'

export { XmlElement } from './element.js'
export { XmlError } from './error.js'

/** Largest XML body of a request: DeleteObjects with 1000 keys of 1 KiB, escaped, fits. */
export const XML_BYTES_MAX = 4 * 1024 * 1024
const DEPTH_MAX = 24
/** CompleteMultipartUpload may name 10 000 parts, each with a number, an ETag and checksums. */
const ELEMENTS_MAX = 100_000
const ATTRIBUTES_MAX = 64
/** What is read in one turn of the event loop: some milliseconds. */
const TURN_STEPS = 5000
const TURN_BYTES = 256 * 1024

/**
 * The root element of an XML document. Namespaces and their prefixes do not count.
 * @throws XmlError TooLarge; Malformed when it is not well-formed, nested too deep, has too many elements, or its root
 * is not named `root`
 */
export async function parseXml(body: Buffer, root: string): Promise<XmlElement> {
  if (body.length > XML_BYTES_MAX) throw new XmlError('TooLarge')
  const reading = xmlTurns(body)
  let turn = reading.next()
  while (!turn.done) {
    // This is about other work that waits, and not about time: a clock has no part in it.
    await new Promise((resolve) => setImmediate(resolve))
    turn = reading.next()
  }
  const element = turn.value
  if (element.name !== root) throw new XmlError('Malformed')
  return element
}

/**
 * Reads the root element; stops at the end of each turn. A turn takes TURN_STEPS steps: tags, attributes, references and other markup.
 * @throws XmlError Malformed
 */
export function* xmlTurns(body: Buffer): Generator<void, XmlElement, void> {
  const bytes = yield* withLineFeeds(body)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new XmlError('Malformed', { cause })
  }
  // A document of the usual size is read in the turn in which it came.
  if (body.length > TURN_BYTES) yield
  return yield* new Parser(text).document()
}

interface OpenElement {
  /** With its prefix. */
  readonly tag: string
  readonly attributes: ReadonlyMap<string, string>
  readonly children: XmlElement[]
  content: string
}

const NAME = '[A-Za-z_:\\u0080-\\uffff][-A-Za-z0-9_:.\\u0080-\\uffff]*'
const START_TAG = new RegExp(`<(${NAME})`, 'y')
const ATTRIBUTE = new RegExp(`\\s+(${NAME})\\s*=\\s*(?:"([^"<]*)"|'([^'<]*)')`, 'y')
const TAG_END = /\s*(\/?)>/y
const END_TAG = new RegExp(`</(${NAME})\\s*>`, 'y')
const NO_ATTRIBUTES: ReadonlyMap<string, string> = new Map()

class Parser {
  #at = 0
  #elements = 0
  readonly #open: OpenElement[] = []
  #root: XmlElement | undefined
  #steps = 0

  constructor(private readonly text: string) {}

  /** @throws XmlError Malformed */
  *document(): Generator<void, XmlElement, void> {
    const { text } = this
    while (this.#at < text.length) {
      if (this.#isTurnOver()) yield
      const mark = text.indexOf('<', this.#at)
      const end = mark < 0 ? text.length : mark
      if (end > this.#at) yield* this.#characters(text.slice(this.#at, end))
      this.#at = end
      if (mark < 0) break
      if (text[mark + 1] === '/') this.#endTag()
      else if (text[mark + 1] === '?' || text[mark + 1] === '!') this.#otherMarkup()
      else yield* this.#startTag()
    }
    if (!this.#root || this.#open.length > 0) throw new XmlError('Malformed')
    return this.#root
  }

  /** Counts a step, and tells whether it is the last of its turn. */
  #isTurnOver(): boolean {
    return ++this.#steps % TURN_STEPS === 0
  }

  *#characters(raw: string): Generator<void, void, void> {
    const parent = this.#open.at(-1)
    if (parent) parent.content += raw.includes('&') ? yield* this.#decode(raw) : raw
    else if (raw.trim() !== '') throw new XmlError('Malformed')
  }

  /** Skips a comment or an instruction, or reads a CDATA section. */
  #otherMarkup(): void {
    const { text } = this
    if (text[this.#at + 1] === '?') this.#skip('?>')
    else if (text.startsWith('<!--', this.#at)) this.#skip('-->', 4)
    else {
      const parent = this.#open.at(-1)
      // A DTD is an attacker's tool, which no S3 client needs.
      if (!parent || !text.startsWith('<![CDATA[', this.#at)) throw new XmlError('Malformed')
      parent.content += this.#skip(']]>', 9)
    }
  }

  /**
   * Skips `end` and everything before it.
   * @returns the text before it, without the `start` characters of its opening
   */
  #skip(end: string, start = 2): string {
    const found = this.text.indexOf(end, this.#at + start)
    if (found < 0) throw new XmlError('Malformed')
    const inside = this.text.slice(this.#at + start, found)
    this.#at = found + end.length
    return inside
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.text)
    if (match) this.#at = pattern.lastIndex
    return match
  }

  *#startTag(): Generator<void, void, void> {
    const tag = this.#match(START_TAG)?.[1]
    if (tag === undefined || this.#open.length > DEPTH_MAX || ++this.#elements > ELEMENTS_MAX) {
      throw new XmlError('Malformed')
    }
    const attributes = yield* this.#attributes()
    const end = this.#match(TAG_END)
    if (!end || (this.#root && this.#open.length === 0)) throw new XmlError('Malformed')
    this.#open.push({ tag, attributes, children: [], content: '' })
    if (end[1] === '/') this.#close()
  }

  *#attributes(): Generator<void, ReadonlyMap<string, string>, void> {
    let attributes: Map<string, string> | undefined
    let count = 0
    for (let match = this.#match(ATTRIBUTE); match; match = this.#match(ATTRIBUTE)) {
      if (++count > ATTRIBUTES_MAX) throw new XmlError('Malformed')
      if (this.#isTurnOver()) yield
      attributes ??= new Map()
      // "xmlns:a" and "a" are different attributes; no document of S3 depends on which of them counts.
      const raw = match[2] ?? match[3]!
      attributes.set(local(match[1]!), raw.includes('&') ? yield* this.#decode(raw) : raw)
    }
    return attributes ?? NO_ATTRIBUTES
  }

  #endTag(): void {
    const tag = this.#match(END_TAG)?.[1]
    if (tag === undefined || this.#open.at(-1)?.tag !== tag) throw new XmlError('Malformed')
    this.#close()
  }

  #close(): void {
    const { tag, attributes, children, content } = this.#open.pop()!
    const element = new XmlElement(local(tag), attributes, children, content)
    const parent = this.#open.at(-1)
    if (parent) parent.children.push(element)
    else this.#root = element
  }

  /** Resolves references. @throws XmlError when one is unknown, or stands for no character */
  *#decode(text: string): Generator<void, string, void> {
    let out = ''
    let from = 0
    for (let mark = text.indexOf('&'); mark >= 0; mark = text.indexOf('&', from)) {
      const end = text.indexOf(';', mark)
      if (end < 0 || end - mark > REFERENCE_LENGTH_MAX) throw new XmlError('Malformed')
      out += text.slice(from, mark) + this.#character(text.slice(mark + 1, end))
      from = end + 1
      if (this.#isTurnOver()) yield
    }
    return out + text.slice(from)
  }

  /** The character that a reference stands for. */
  #character(name: string): string {
    if (Object.hasOwn(PREDEFINED, name)) return PREDEFINED[name]!
    const number = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name)
    const point = number ? Number.parseInt(number[1] ?? number[2]!, number[1] ? 16 : 10) : -1
    if (point < 1 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) throw new XmlError('Malformed')
    return String.fromCodePoint(point)
  }
}

const REFERENCE_LENGTH_MAX = 12
const PREDEFINED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

const CR = 13
const LF = 10

/**
 * The document with its line ends as line feeds (XML 1.0, section 2.11), which comes before anything else is read: on
 * bytes, in one pass, since replacing millions of line ends in a string takes seconds.
 */
function* withLineFeeds(body: Buffer): Generator<void, Buffer, void> {
  const first = body.indexOf(CR)
  if (first < 0) return body
  const out = Buffer.allocUnsafe(body.length)
  body.copy(out, 0, 0, first)
  let length = first
  for (let at = first; at < body.length; at++) {
    if (length % TURN_BYTES === 0) yield
    const byte = body[at]!
    if (byte === CR) {
      out[length++] = LF
      if (body[at + 1] === LF) at++
    } else out[length++] = byte
  }
  return out.subarray(0, length)
}

function local(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}
