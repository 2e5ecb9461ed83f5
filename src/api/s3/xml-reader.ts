import type { XMLParser, XMLValidator } from 'fast-xml-parser'
import { S3Error, type S3ErrorCode } from './errors.js'

/** Largest XML body of a request: DeleteObjects with 1000 keys of 1 KiB, escaped, fits. */
export const XML_BYTES_MAX = 4 * 1024 * 1024
const DEPTH_MAX = 24

/** What the parser gives in the order of the document. */
type Node = Record<string, unknown>

let library: { parser: XMLParser; validator: typeof XMLValidator } | undefined

async function load() {
  if (library) return library
  const { XMLParser, XMLValidator } = await import('fast-xml-parser')
  library = {
    validator: XMLValidator,
    parser: new XMLParser({
      preserveOrder: true,
      ignoreAttributes: false,
      attributeNamePrefix: '',
      parseTagValue: false,
      parseAttributeValue: false,
      trimValues: false,
      processEntities: false,
      ignoreDeclaration: true,
      ignorePiTags: true,
      cdataPropName: '#cdata',
    }),
  }
  return library
}

/**
 * The root element of a request's XML body. Namespaces and their prefixes do not count. No DTD, no entities but
 * the predefined ones.
 * @throws S3Error `code` (MalformedXML unless told) when it is not well-formed, nested too deep, or its root is
 * not named `root`
 */
export async function parseXml(
  body: Buffer,
  root: string,
  code: S3ErrorCode = 'MalformedXML',
): Promise<XmlElement> {
  const { parser, validator } = await load()
  const fail = () => new S3Error(code)
  if (body.length > XML_BYTES_MAX) throw new S3Error('MaxMessageLengthExceeded')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    throw fail()
  }
  // Attackers' tools, which no S3 client needs; the parser never sees them.
  if (/<!(?!--|\[CDATA\[)/.test(text)) throw fail()
  // The parser drops text around the root.
  const trimmed = text.trim()
  if (!trimmed.startsWith('<') || !trimmed.endsWith('>')) throw fail()
  let nodes: unknown
  try {
    if (validator.validate(text) !== true) throw fail()
    nodes = parser.parse(text)
  } catch {
    throw fail()
  }
  if (!Array.isArray(nodes)) throw fail()
  const elements: XmlElement[] = []
  for (const node of nodes as Node[]) {
    const name = nameOf(node)
    if (name === '#text') {
      if (String(node['#text']).trim() !== '') throw fail()
    } else if (name !== undefined) {
      elements.push(toElement(node, name, 0, code))
    }
  }
  const [first] = elements
  if (first === undefined || elements.length !== 1 || first.name !== root) throw fail()
  return first
}

function nameOf(node: Node): string | undefined {
  for (const name of Object.keys(node)) if (name !== ':@') return name
  return undefined
}

function local(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

function toElement(node: Node, name: string, depth: number, code: S3ErrorCode): XmlElement {
  if (depth > DEPTH_MAX) throw new S3Error(code)
  const children: XmlElement[] = []
  let text = ''
  const content = node[name]
  for (const child of (Array.isArray(content) ? content : []) as Node[]) {
    const childName = nameOf(child)
    if (childName === undefined) continue
    if (childName === '#text') text += decodeEntities(String(child['#text']), code)
    else if (childName === '#cdata') {
      for (const part of child['#cdata'] as Node[]) text += String(part['#text'])
    } else children.push(toElement(child, childName, depth + 1, code))
  }
  const attributes = new Map<string, string>()
  const given = node[':@']
  if (typeof given === 'object' && given !== null) {
    for (const [attribute, value] of Object.entries(given)) {
      attributes.set(local(attribute), decodeEntities(String(value), code))
    }
  }
  return new XmlElement(local(name), attributes, children, text, code)
}

const PREDEFINED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decodeEntities(text: string, code: S3ErrorCode): string {
  if (!text.includes('&')) return text
  return text.replace(/&([^;&]{0,12};?)/g, (_, reference: string) => {
    const name = reference.endsWith(';') ? reference.slice(0, -1) : undefined
    if (name !== undefined && Object.hasOwn(PREDEFINED, name)) return PREDEFINED[name]!
    const number = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name ?? '')
    const point = number ? Number.parseInt(number[1] ?? number[2]!, number[1] ? 16 : 10) : -1
    if (point < 1 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) throw new S3Error(code)
    return String.fromCodePoint(point)
  })
}

/** An element of a request's XML body. Getters that find something else than they are asked for throw. */
export class XmlElement {
  constructor(
    /** Without a namespace prefix. */
    readonly name: string,
    readonly attributes: ReadonlyMap<string, string>,
    readonly children: readonly XmlElement[],
    /** All character data directly in it, as it stands. */
    readonly content: string,
    private readonly code: S3ErrorCode,
  ) {}

  #fail(): S3Error {
    return new S3Error(this.code)
  }

  /** The child of that name; undefined if there is none. @throws S3Error when there are several */
  child(name: string): XmlElement | undefined {
    const found = this.all(name)
    if (found.length > 1) throw this.#fail()
    return found[0]
  }

  /** As `child`. @throws S3Error when there is none */
  need(name: string): XmlElement {
    const found = this.child(name)
    if (!found) throw this.#fail()
    return found
  }

  /** All children of that name. */
  all(name: string): XmlElement[] {
    return this.children.filter((child) => child.name === name)
  }

  /** Text of the child of that name, as it stands; undefined if there is none. @throws S3Error when it has children */
  text(name: string): string | undefined {
    const child = this.child(name)
    if (child && child.children.length > 0) throw this.#fail()
    return child?.content
  }

  /** As `text`. @throws S3Error when there is none */
  needText(name: string): string {
    const text = this.text(name)
    if (text === undefined) throw this.#fail()
    return text
  }

  /** The child's text as a decimal integer. @throws S3Error when it is none */
  integer(name: string): number | undefined {
    const text = this.text(name)?.trim()
    if (text === undefined) return undefined
    if (!/^-?\d{1,15}$/.test(text)) throw this.#fail()
    return Number(text)
  }

  /** The child's text as true or false. @throws S3Error when it is neither */
  boolean(name: string): boolean | undefined {
    const text = this.text(name)?.trim().toLowerCase()
    if (text === undefined) return undefined
    if (text !== 'true' && text !== 'false') throw this.#fail()
    return text === 'true'
  }

  /** The child's text if it is one of `values`. @throws S3Error when it is something else */
  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const text = this.text(name)?.trim()
    if (text === undefined) return undefined
    const found = values.find((value) => value === text)
    if (found === undefined) throw this.#fail()
    return found
  }

  /** Refuses children of other names: for documents whose schema AWS checks. @throws S3Error */
  only(...names: string[]): this {
    for (const child of this.children) if (!names.includes(child.name)) throw this.#fail()
    return this
  }
}
