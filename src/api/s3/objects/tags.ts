import type { Mutable } from '../../../model/versions/record.js'
import type { XmlElement } from '../../xml/reader.js'
import { escapeXml } from '../../xml/writer.js'
import { S3Error } from '../errors.js'
import type { S3Request } from '../request.js'

/** Tags by key. */
export type Tags = Record<string, string>

export const OBJECT_TAGS_MAX = 10
export const BUCKET_TAGS_MAX = 50
const KEY_CHARACTERS_MAX = 128
const VALUE_CHARACTERS_MAX = 256
/** The characters that AWS allows: letters, white space and numbers of any script, and these signs. */
const ALLOWED = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u

/** @throws S3Error InvalidTag */
export function checkedTags(pairs: readonly (readonly [key: string, value: string])[], max: number): Tags {
  if (pairs.length > max) {
    throw invalidTag(`${max === OBJECT_TAGS_MAX ? 'Object' : 'Bucket'} tags cannot be greater than ${max}`)
  }
  const tags: Tags = {}
  for (const [key, value] of pairs) {
    if (key === '' || characters(key) > KEY_CHARACTERS_MAX || !ALLOWED.test(key)) {
      throw invalidTag('The TagKey you have provided is invalid', key)
    }
    if (characters(value) > VALUE_CHARACTERS_MAX || !ALLOWED.test(value)) {
      throw invalidTag('The TagValue you have provided is invalid', key, value)
    }
    // "__proto__" would be lost when the stored row is decoded.
    if (/^aws:/i.test(key) || key === '__proto__') {
      throw invalidTag('System tags cannot be added/updated by requester', key)
    }
    if (Object.hasOwn(tags, key)) throw invalidTag('Cannot provide multiple Tags with the same key', key)
    tags[key] = value
  }
  return tags
}

function characters(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}

function invalidTag(message: string, key?: string, value?: string): S3Error {
  return new S3Error('InvalidTag', message, { extra: { TagKey: key, TagValue: value } })
}

/**
 * The tags in x-amz-tagging, which is written like a query; undefined if the header is absent or empty.
 * @throws S3Error InvalidArgument, InvalidTag
 */
export function headerTags(request: S3Request): Tags | undefined {
  const header = request.header('x-amz-tagging')
  if (header === undefined || header === '') return undefined
  const pairs = header.split('&').map((pair): [string, string] => {
    const equals = pair.indexOf('=')
    if (equals < 0) return [decode(pair, header), '']
    return [decode(pair.slice(0, equals), header), decode(pair.slice(equals + 1), header)]
  })
  return checkedTags(pairs, OBJECT_TAGS_MAX)
}

/** The tags of a new version. They count as set when the version was made, so any later change wins. */
export function newTags(request: S3Request): Pick<Mutable, 'tags'> {
  const tags = headerTags(request)
  return tags ? { tags: [0, tags] } : {}
}

function decode(text: string, header: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw new S3Error(
      'InvalidArgument',
      "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
      { extra: { ArgumentName: 'x-amz-tagging', ArgumentValue: header } },
    )
  }
}

/** The tags of a Tagging document. @throws S3Error MalformedXML, InvalidTag */
export function documentTags(root: XmlElement, max: number): Tags {
  return listedTags(root.only('TagSet').need('TagSet'), max)
}

/** The tags in an element that lists them. @throws S3Error MalformedXML, InvalidTag */
export function listedTags(list: XmlElement, max: number): Tags {
  const elements = list.only('Tag').all('Tag')
  const pairs = elements.map((tag): [string, string] => {
    tag.only('Key', 'Value')
    return [tag.needText('Key'), tag.needText('Value')]
  })
  return checkedTags(pairs, max)
}

/** The content of a Tagging document. */
export function tagSetXml(tags: Tags): string {
  const sorted = Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))
  const items = sorted.map(
    ([key, value]) => `<Tag><Key>${escapeXml(key)}</Key><Value>${escapeXml(value)}</Value></Tag>`,
  )
  return `<TagSet>${items.join('')}</TagSet>`
}
