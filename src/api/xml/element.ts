import { XmlError } from './error.js'

/** An element of an XML document. A getter that finds something other than it was asked for throws an XmlError. */
export class XmlElement {
  constructor(
    /** Without a namespace prefix. */
    readonly name: string,
    readonly attributes: ReadonlyMap<string, string>,
    readonly children: readonly XmlElement[],
    /** All character data directly in it, as it stands. */
    readonly content: string,
  ) {}

  /** The child of that name; undefined if there is none. @throws XmlError when there are several */
  child(name: string): XmlElement | undefined {
    const found = this.all(name)
    if (found.length > 1) throw new XmlError('Malformed')
    return found[0]
  }

  /** As `child`. @throws XmlError when there is none */
  need(name: string): XmlElement {
    const found = this.child(name)
    if (!found) throw new XmlError('Malformed')
    return found
  }

  /** All children of that name. */
  all(name: string): XmlElement[] {
    return this.children.filter((child) => child.name === name)
  }

  /** Text of the child of that name, as it stands; undefined if there is none. @throws XmlError when it has children */
  text(name: string): string | undefined {
    const child = this.child(name)
    if (child && child.children.length > 0) throw new XmlError('Malformed')
    return child?.content
  }

  /** As `text`. @throws XmlError when there is none */
  needText(name: string): string {
    const text = this.text(name)
    if (text === undefined) throw new XmlError('Malformed')
    return text
  }

  /** The child's text as a decimal integer. @throws XmlError when it is none */
  integer(name: string): number | undefined {
    const text = this.text(name)?.trim()
    if (text === undefined) return undefined
    if (!/^-?\d{1,15}$/.test(text)) throw new XmlError('Malformed')
    return Number(text)
  }

  /** The child's text as true or false. @throws XmlError when it is neither */
  boolean(name: string): boolean | undefined {
    const text = this.text(name)?.trim().toLowerCase()
    if (text === undefined) return undefined
    if (text !== 'true' && text !== 'false') throw new XmlError('Malformed')
    return text === 'true'
  }

  /** The child's text if it is one of `values`. @throws XmlError when it is something else */
  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const text = this.text(name)?.trim()
    if (text === undefined) return undefined
    const found = values.find((value) => value === text)
    if (found === undefined) throw new XmlError('Malformed')
    return found
  }

  /** Refuses children of other names: for documents whose schema AWS checks. @throws XmlError */
  only(...names: string[]): this {
    for (const child of this.children) if (!names.includes(child.name)) throw new XmlError('Malformed')
    return this
  }
}
