/**
 * A document could not be read. Malformed: it is not well-formed XML, or not the document that was expected. TooLarge:
 * it has more than XML_BYTES_MAX bytes. Each API maps it to an error of its own.
 */
export class XmlError extends Error {
  override readonly name = 'XmlError'
  constructor(
    readonly code: 'Malformed' | 'TooLarge',
    options?: { cause?: unknown },
  ) {
    super(`XML document: ${code}`, options)
  }
}
