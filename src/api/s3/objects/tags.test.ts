import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseXml } from '../../xml/reader.js'
import type { S3Request } from '../request.js'
import { documentTags, headerTags, OBJECT_TAGS_MAX, tagSetXml } from './tags.js'

const request = (header: string | undefined) => ({ header: () => header }) as unknown as S3Request
const CHARACTERS = 'aZ0 äß漢_.:/=+-@'
const text = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom(...CHARACTERS), minLength: min, maxLength: max })
const tags = fc
  .uniqueArray(fc.tuple(text(1, 128), text(0, 256)), { maxLength: 10, selector: ([key]) => key })
  .map((pairs) => Object.fromEntries(pairs))

test('allowed tags come out of headers and documents as they went in', async () => {
  await fc.assert(
    fc.asyncProperty(tags, async (given) => {
      const header = Object.entries(given)
        .map((pair) => pair.map(encodeURIComponent).join('='))
        .join('&')
      expect(headerTags(request(header)) ?? {}).toEqual(given)
      const document = await parseXml(Buffer.from(`<Tagging>${tagSetXml(given)}</Tagging>`), 'Tagging')
      expect(documentTags(document, OBJECT_TAGS_MAX)).toEqual(given)
    }),
    { numRuns: 50 },
  )
})

test('any header gives tags or an S3 error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (header) => {
      try {
        for (const [key, value] of Object.entries(headerTags(request(header)) ?? {})) {
          expect(typeof key + typeof value).toBe('stringstring')
        }
      } catch (error) {
        expect(error).toMatchObject({ name: 'S3Error', status: 400 })
      }
    }),
  )
})
