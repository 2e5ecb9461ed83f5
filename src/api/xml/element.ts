import { S3Error, type S3ErrorCode } from '../s3/errors.js'

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
