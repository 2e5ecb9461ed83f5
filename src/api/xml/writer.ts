/** The namespace of S3's documents. */
export const S3_XMLNS = 'http://s3.amazonaws.com/doc/2006-03-01/'

const NEEDS_ESCAPE = /[&<>"'\u0000-\u001f\u007f-\u009f\u2028\ufffe\uffff]/
const ESCAPE = /[&<>"'\u0000-\u001f\u007f-\u009f\u2028\ufffe\uffff]/g

function escapeOne(char: string): string {
  switch (char) {
    case '&':
      return '&amp;'
    case '<':
      return '&lt;'
    case '>':
      return '&gt;'
    case '"':
      return '&quot;'
    case "'":
      return '&#39;'
    default:
      return `&#x${char.charCodeAt(0).toString(16)};`
  }
}

/**
 * `text` as XML character data or attribute value. Control characters become numeric references, as AWS sends
 * them: line ends survive a parser's normalization that way, and of the others, which XML 1.0 cannot carry at
 * all, a tolerant parser gets the right character (others should ask for `encoding-type=url`).
 */
export function escapeXml(text: string): string {
  return NEEDS_ESCAPE.test(text) ? text.replace(ESCAPE, escapeOne) : text
}

/** `<name>text</name>`; nothing when `text` is undefined. */
export function xmlText(name: string, text: string | number | boolean | undefined): string {
  if (text === undefined) return ''
  return typeof text === 'string' ? `<${name}>${escapeXml(text)}</${name}>` : `<${name}>${text}</${name}>`
}

/** `<name>inner</name>`, where `inner` is XML already. */
export function xmlElement(name: string, inner: string): string {
  return `<${name}>${inner}</${name}>`
}

/** A whole document with S3's namespace; `inner` is XML already. */
export function xmlDocument(root: string, inner: string): string {
  return `${documentStart(root)}${inner}</${root}>`
}

function documentStart(root: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${S3_XMLNS}">`
}

/**
 * The number of characters gathered before they are written: V8 is slow to flatten a string made of thousands
 * of pieces.
 */
const PENDING_CHARACTERS = 4096

/** A long document, written as bytes piece by piece; pieces are XML already. */
export class XmlWriter {
  #buffer: Buffer
  #bytes = 0
  #pending = ''

  /**
   * @param root the document's element, in S3's namespace
   * @param expectedBytes a guess of the length: a buffer that has to grow leaves garbage outside of the heap
   */
  constructor(
    private readonly root: string,
    expectedBytes: number,
  ) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(1024, expectedBytes))
    this.add(documentStart(root))
  }

  add(xml: string): void {
    this.#pending += xml
    if (this.#pending.length >= PENDING_CHARACTERS) this.#flush()
  }

  finish(): Buffer {
    this.add(`</${this.root}>`)
    this.#flush()
    return this.#buffer.subarray(0, this.#bytes)
  }

  #flush(): void {
    // No character of a string takes more than three bytes.
    const needed = this.#bytes + 3 * this.#pending.length
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length))
      this.#buffer.copy(grown, 0, 0, this.#bytes)
      this.#buffer = grown
    }
    this.#bytes += this.#buffer.write(this.#pending, this.#bytes)
    this.#pending = ''
  }
}
